// This project: its wheel in Pyodide, as its own worker has it, driven by ours.py.
import { serve } from "./client.mjs";
import { startPython } from "./python.mjs";

const operation = startPython("ours.py");

/** A file as large as the disk's own, read by a bare loop in this worker. */
let bareFile = null;

serve({
  ...Object.fromEntries(
    [
      "open",
      "replay",
      "check",
      "profile",
      "stats",
      "index_bytes",
      "cached_reads",
      "unpacking",
      "close",
    ].map((name) => [name, operation(name)]),
  ),

  async make_bare({ size }) {
    const root = await navigator.storage.getDirectory();
    const handle = await root.getFileHandle("bare-micro", { create: true });
    bareFile = await handle.createSyncAccessHandle();
    const chunk = new Uint8Array(1 << 20).fill(7);
    for (let at = 0; at < size; at += chunk.length) bareFile.write(chunk, { at });
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
