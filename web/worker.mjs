/**
 * The worker: starts Pyodide and the package, and passes messages on to `worker.py`.
 *
 * In: `{ start: { pyodideUrl, wheelUrl } }` once, then `{ id, operation, values }`.
 * Out: `{ id, value }` or `{ id, error: { name, message, fields } }`, in no given order.
 */

/**
 * @typedef {{ name: string, message: string, fields: Record<string, unknown> }} Failure
 * @typedef {{ value?: unknown, error?: Failure }} Answer
 * @typedef {{ start: { pyodideUrl: string, wheelUrl: string } }} Start
 * @typedef {{ id: number, operation: string, values: Record<string, unknown> }} Call
 */

/** @type {(settings: Start["start"]) => void} */
let start = () => {};

/** @type {Promise<(operation: string, values: Record<string, unknown>) => Promise<Answer>>} */
const python = new Promise((resolve, reject) => {
  start = (settings) => startPython(settings).then(resolve, reject);
});
python.catch(() => {}); // each call tells of it

// Set before anything is awaited: a message that finds no listener is lost.
self.onmessage = async (/** @type {MessageEvent<Start | Call>} */ { data }) => {
  if ("start" in data) return start(data.start);
  const { id, operation, values } = data;
  try {
    reply(id, await (await python)(operation, values));
  } catch (error) {
    const message = `Python did not start: ${error instanceof Error ? error.message : error}`;
    reply(id, { error: { name: "StartError", message, fields: {} } });
  }
};

/** @param {Start["start"]} settings */
async function startPython({ pyodideUrl, wheelUrl }) {
  const { loadPyodide } = await import(new URL("pyodide.mjs", pyodideUrl).href);
  const pyodide = await loadPyodide({ indexURL: pyodideUrl, packages: ["micropip"] });
  const micropip = pyodide.pyimport("micropip");
  await micropip.install(wheelUrl);
  const { Worker } = pyodide.pyimport("aero_browser_disk.worker");
  const worker = Worker();
  const toObjects = { dict_converter: Object.fromEntries, create_pyproxies: false };
  return async (/** @type {string} */ operation, /** @type {Record<string, unknown>} */ values) => {
    const sent = pyodide.toPy(values);
    const answer = await worker.call(operation, sent);
    try {
      return answer.toJs(toObjects);
    } finally {
      answer.destroy();
      sent.destroy();
    }
  };
}

/**
 * @param {number} id
 * @param {Answer} answer
 */
function reply(id, answer) {
  const bytes = bytesIn(answer.value);
  self.postMessage({ id, ...answer }, { transfer: bytes ? [bytes.buffer] : [] });
}

/**
 * The one run of bytes in an answer, which is handed over instead of copied.
 * @param {unknown} value
 */
function bytesIn(value) {
  if (value instanceof Uint8Array) return value;
  const bytes = value && /** @type {{ bytes?: unknown }} */ (value).bytes;
  return bytes instanceof Uint8Array ? bytes : null;
}
