// This project: its wheel in Pyodide, as its own worker has it, driven by ours.py.
import { serve } from "./client.mjs";

const started = startPython();

async function startPython() {
  const site = new URL("../", import.meta.url);
  const { loadPyodide } = await import(new URL("pyodide/pyodide.mjs", site).href);
  const indexURL = new URL("pyodide/", site).href;
  const pyodide = await loadPyodide({ indexURL, packages: ["micropip"] });
  const { wheel } = await (await fetch(new URL("wheels/index.json", site))).json();
  pyodide.registerJsModule("aero_browser_disk_bridge", await import(new URL("python-bridge.mjs", site).href));
  const micropip = pyodide.pyimport("micropip");
  await micropip.install(new URL(`wheels/${wheel}`, site).href);
  pyodide.runPython(await (await fetch(new URL("ours.py", import.meta.url))).text());
  return { pyodide, client: pyodide.runPython("Client()") };
}

const operation = (/** @type {string} */ name) => async (/** @type {object} */ values) => {
  const { pyodide, client } = await started;
  const toObjects = { dict_converter: Object.fromEntries, create_pyproxies: false };
  const sent = Object.fromEntries(
    Object.entries(values ?? {}).map(([key, value]) => [key, pyodide.toPy(value)]),
  );
  const answer = await client[name].callKwargs(sent);
  return answer?.toJs ? answer.toJs(toObjects) : answer;
};

/** A file of the same size beside the disk's own, read by a bare loop in this worker. */
let bareFile = null;

serve({
  ...Object.fromEntries(
    ["open", "replay", "check", "profile", "stats", "index_bytes", "cached_reads", "close"].map(
      (name) => [name, operation(name)],
    ),
  ),

  async make_bare({ size }) {
    const root = await navigator.storage.getDirectory();
    const handle = await root.getFileHandle("bare-micro", { create: true });
    bareFile = await handle.createSyncAccessHandle();
    const piece = new Uint8Array(1 << 20).fill(7);
    for (let at = 0; at < size; at += piece.length) bareFile.write(piece, { at });
    bareFile.flush();
  },

  bare_reads({ offsets, length }) {
    const target = new Uint8Array(length);
    const start = performance.now();
    for (const at of offsets) bareFile.read(target, { at });
    return ((performance.now() - start) / offsets.length) * 1000;
  },

  async end_bare() {
    bareFile.close();
    const root = await navigator.storage.getDirectory();
    await root.removeEntry("bare-micro");
  },
});
