// Pyodide with this project's wheel, as its own worker has it, driven by a Python file of the bench.

/**
 * Starts it. What is returned makes an operation of a method of the file's class `Client`.
 * @param {string} script
 * @returns {(name: string) => (values: object) => Promise<any>}
 */
export function startPython(script) {
  const started = load(script);
  return (name) => async (values) => {
    const { pyodide, client } = await started;
    const toObjects = { dict_converter: Object.fromEntries, create_pyproxies: false };
    const sent = Object.fromEntries(
      Object.entries(values ?? {}).map(([key, value]) => [key, pyodide.toPy(value)]),
    );
    const result = await client[name].callKwargs(sent);
    return result?.toJs ? result.toJs(toObjects) : result;
  };
}

async function load(/** @type {string} */ script) {
  const site = new URL("../", import.meta.url);
  const { loadPyodide } = await import(new URL("pyodide/pyodide.mjs", site).href);
  const indexURL = new URL("pyodide/", site).href;
  const pyodide = await loadPyodide({ indexURL, packages: ["micropip"] });
  const { wheel } = await (await fetch(new URL("wheels/index.json", site))).json();
  const bridge = await import(new URL("python-bridge.mjs", site).href);
  pyodide.registerJsModule("aero_browser_disk_bridge", bridge);
  const micropip = pyodide.pyimport("micropip");
  await micropip.install(new URL(`wheels/${wheel}`, site).href);
  pyodide.runPython(await (await fetch(new URL(script, import.meta.url))).text());
  return { pyodide, client: pyodide.runPython("Client()") };
}
