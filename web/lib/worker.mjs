/**
 * The worker: starts Python with the package, and passes messages on to `worker.py`.
 *
 * In: `{ start: { pyodideUrl, wheelUrl } }` once, then `{ id, operation, values }`, `{ cancel: id }`.
 * Out: `{ started }` once (see `StartFacts`), `{ id, value }` or `{ id, error: { name, message, fields } }`, in no given order.
 * A function among the values is sent as its number: `{ ask, values, id }` goes out to call it, and
 * `{ answer: id, value }` comes back. `{ port, disk }` has another thread talk in the same way through
 * that port, about that disk only. `{ ring }` stands for the doorbell of `shared-protocol.mjs` where it
 * cannot be heard.
 */

import * as bridge from "./python-bridge.mjs";
import { startPython } from "./python.mjs";
import { answerAll } from "./shared-host.mjs";

/**
 * @typedef {{ name: string, message: string, fields: Record<string, unknown> }} Failure
 * @typedef {{ value?: unknown, error?: Failure }} Answer
 * @typedef {{ start: import("./python.mjs").Places }} Start
 * @typedef {{ id: number, operation: string, values: Record<string, unknown>, functions: Record<string, number> }} Call
 * @typedef {{ cancel: number }} Cancel
 * @typedef {{ answer: number, value: unknown }} PageAnswer
 * @typedef {{ port: MessagePort, disk: number }} Port
 * @typedef {{ ring: number }} Ring
 * @typedef {object} Caller
 * @property {((event: MessageEvent<Start | Call | Cancel | PageAnswer | Port | Ring>) => void) | null} onmessage
 * @property {(message: unknown, transfer: Transferable[]) => void} postMessage
 * @typedef {{ call: (caller: Caller, call: Call) => Promise<Answer>, cancel: (id: number) => void }} Python
 */

/** @type {Map<number, (value: unknown) => void>} */
const asked = new Map();
let lastAsk = 0;

/** @type {(settings: Start["start"]) => void} */
let start = () => {};

/** @type {Promise<Python>} */
const python = new Promise((resolve, reject) => {
  start = (places) => connectPython(places).then(resolve, reject);
});
python.catch(() => {}); // each call tells of it

let callers = 0;

/**
 * Hears a caller: the page, or whoever has a port to one disk.
 * @param {Caller} caller
 * @param {number} [only] the disk that it may call
 */
function listen(caller, only) {
  const calls = callers++ * 2 ** 32; // so that their numbers differ from those of other callers
  caller.onmessage = async ({ data }) => {
    if ("start" in data) start(data.start);
    else if ("answer" in data) takeAnswer(data);
    else if ("port" in data) listen(data.port, only ?? data.disk);
    else if ("ring" in data) answerAll();
    else if ("cancel" in data) (await python.catch(() => null))?.cancel(calls + data.cancel);
    else {
      const refusal = only === undefined ? null : narrow(data, only);
      const call = { ...data, id: calls + data.id };
      reply(caller, data.id, refusal ? { error: refusal } : await answerOf(caller, call));
    }
  };
}

/**
 * Makes a call be about one disk; says what is wrong if it cannot be.
 * @param {Call} call
 * @param {number} disk
 * @returns {Failure | null}
 */
function narrow(call, disk) {
  call.values.disk = disk;
  if (call.operation === "disk.close") call.operation = "shared.detach"; // its own end only
  if (/^(disk|shared|files)\./.test(call.operation) && call.operation !== "disk.open") return null;
  const message = `A port to a disk does not lead to ${call.operation}.`;
  return { name: "InvalidOptionError", message, fields: { option: "operation" } };
}

/**
 * @param {Caller} caller
 * @param {Call} call
 * @returns {Promise<Answer>}
 */
async function answerOf(caller, call) {
  let running;
  try {
    running = await python;
  } catch (error) {
    return failure("StartError", `Python did not start: ${messageOf(error)}`);
  }
  try {
    return await running.call(caller, call);
  } catch (error) {
    // Python's operations answer with their errors: this is about the values, on their way in or out.
    const isTooMuch = error instanceof RangeError || /MemoryError/.test(messageOf(error));
    const name = isTooMuch ? "InvalidOptionError" : "InternalError";
    const what = isTooMuch ? "more than fits into the worker's memory" : "values that cannot be passed on";
    return failure(name, `The operation ${call.operation} has ${what}: ${messageOf(error)}`);
  }
}

/**
 * @param {string} name
 * @param {string} message
 * @returns {Answer}
 */
function failure(name, message) {
  return { error: { name, message, fields: {} } };
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}

// Before anything is awaited: a message that finds no listener is lost.
listen(/** @type {Caller} */ (/** @type {unknown} */ (self)));

/** @param {Start["start"]} places */
async function connectPython(places) {
  const { pyodide, facts } = await startPython(places);
  self.postMessage({ started: facts });
  pyodide.registerJsModule("aero_browser_disk_bridge", bridge);
  const { Worker } = pyodide.pyimport("aero_browser_disk.worker.worker");
  const worker = Worker();
  const toObjects = { dict_converter: Object.fromEntries, create_pyproxies: false };
  /**
   * @param {Caller} caller
   * @param {Call} call
   */
  const call = async (caller, { id, operation, values, functions }) => {
    const sent = pyodide.toPy(values);
    for (const [name, number] of Object.entries(functions)) {
      sent.set(name, async (/** @type {unknown[]} */ ...values) =>
        pyodide.toPy(await ask(caller, number, values)),
      );
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

/** @param {PageAnswer} message */
function takeAnswer({ answer, value }) {
  asked.get(answer)?.(value);
  asked.delete(answer);
}

/**
 * Calls a function of the caller.
 * @param {Caller} caller
 * @param {number} number
 * @param {unknown[]} values plain ones
 */
function ask(caller, number, values) {
  return new Promise((resolve) => {
    const id = ++lastAsk;
    asked.set(id, resolve);
    caller.postMessage({ ask: number, values, id }, []);
  });
}

/**
 * @param {Caller} caller
 * @param {number} id
 * @param {Answer} answer
 */
function reply(caller, id, answer) {
  const bytes = bytesIn(answer.value);
  caller.postMessage({ id, ...answer }, bytes ? [bytes.buffer] : []);
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
