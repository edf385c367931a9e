/**
 * The worker: starts Pyodide and the package, and passes messages on to `worker.py`.
 *
 * In: `{ start: { pyodideUrl, wheelUrl } }` once, then `{ id, operation, values }`, `{ cancel: id }`.
 * Out: `{ id, value }` or `{ id, error: { name, message, fields } }`, in no given order.
 * A function among the values is sent as its number: `{ ask, id }` goes out to call it, and
 * `{ answer: id, value }` comes back.
 */

/**
 * @typedef {{ name: string, message: string, fields: Record<string, unknown> }} Failure
 * @typedef {{ value?: unknown, error?: Failure }} Answer
 * @typedef {{ start: { pyodideUrl: string, wheelUrl: string } }} Start
 * @typedef {{ id: number, operation: string, values: Record<string, unknown>, functions: Record<string, number> }} Call
 * @typedef {{ cancel: number }} Cancel
 * @typedef {{ answer: number, value: unknown }} PageAnswer
 * @typedef {{ call: (call: Call) => Promise<Answer>, cancel: (id: number) => void }} Python
 */

/** @type {Map<number, (value: unknown) => void>} */
const asked = new Map();
let lastAsk = 0;

/** @type {(settings: Start["start"]) => void} */
let start = () => {};

/** @type {Promise<Python>} */
const python = new Promise((resolve, reject) => {
  start = (settings) => startPython(settings).then(resolve, reject);
});
python.catch(() => {}); // each call tells of it

// Set before anything is awaited: a message that finds no listener is lost.
self.onmessage = async (/** @type {MessageEvent<Start | Call | Cancel | PageAnswer>} */ { data }) => {
  if ("start" in data) return start(data.start);
  if ("answer" in data) {
    asked.get(data.answer)?.(data.value);
    asked.delete(data.answer);
    return;
  }
  if ("cancel" in data) return (await python.catch(() => null))?.cancel(data.cancel);
  try {
    reply(data.id, await (await python).call(data));
  } catch (error) {
    const message = `Python did not start: ${error instanceof Error ? error.message : error}`;
    reply(data.id, { error: { name: "StartError", message, fields: {} } });
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
  /** @param {Call} call */
  const call = async ({ id, operation, values, functions }) => {
    const sent = pyodide.toPy(values);
    for (const [name, number] of Object.entries(functions)) {
      sent.set(name, async () => pyodide.toPy(await ask(number)));
    }
    const answer = await worker.call(operation, sent, id);
    try {
      return answer.toJs(toObjects);
    } finally {
      answer.destroy();
      sent.destroy();
    }
  };
  return { call, cancel: (/** @type {number} */ id) => worker.cancel(id) };
}

/**
 * Calls a function of the page.
 * @param {number} number
 */
function ask(number) {
  return new Promise((resolve) => {
    const id = ++lastAsk;
    asked.set(id, resolve);
    self.postMessage({ ask: number, id });
  });
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
