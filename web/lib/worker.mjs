/**
 * The worker: starts Python with the package, and passes messages to `aero_browser_disk.worker`.
 *
 * In: `{ start: { pyodideUrl, wheelUrl } }` once (see `Urls`), then `{ id, operation, values }`, `{ cancel: id }`.
 * Out: `{ progress: [loaded, total] }` while it downloads Python, then `{ started }` (see `StartFacts`) or
 * `{ notStarted }`; `{ id, value }` or `{ id, error: { name, message, fields } }`, in any order.
 * A function among the values is sent as its number: `{ ask, values, id }` goes out to call it, and
 * `{ response: id, value }` comes back. A call with `memory` gets its result there: see `sync-calls.mjs`.
 * `{ port, disk }` lets another thread use the same messages over
 * that port, for that disk only. `{ ring }` replaces the doorbell of `shared-protocol.mjs` in browsers
 * without `Atomics.waitAsync`.
 */

import { EarlyRequests } from "./early-requests.mjs";
import * as bridge from "./python-bridge.mjs";
import { startPython } from "./python.mjs";
import { respondToAll } from "./shared-host.mjs";
import { putResult } from "./sync-calls.mjs";

/**
 * @typedef {{ name: string, message: string, fields: Record<string, unknown> }} Failure
 * @typedef {{ value?: unknown, error?: Failure }} CallResponse
 * @typedef {{ start: import("./python.mjs").Urls }} Start
 * @typedef {{ id: number, operation: string, values: Record<string, unknown>, functions: Record<string, number>,
 *   memory?: SharedArrayBuffer }} Call
 * @typedef {{ cancel: number }} Cancel
 * @typedef {{ response: number, value: unknown }} PageResponse
 * @typedef {{ port: MessagePort, disk: number }} Port
 * @typedef {{ ring: number }} Ring
 * @typedef {object} Caller
 * @property {((event: MessageEvent<Start | Call | Cancel | PageResponse | Port | Ring>) => void) | null} onmessage
 * @property {(message: unknown, transfer: Transferable[]) => void} postMessage
 * @typedef {{ call: (caller: Caller, call: Call) => Promise<CallResponse>, cancel: (id: number) => void }} Python
 */

/** @type {Map<number, (value: unknown) => void>} */
const asked = new Map();
let lastAsk = 0;

/** @type {(settings: Start["start"]) => void} */
let start = () => {};

/** @type {Promise<Python>} */
const python = new Promise((resolve, reject) => {
  start = (urls) => connectPython(urls).then(resolve, reject);
});
// Each call reports the reason. This comes before: who sees a call fail can start another worker at once.
python.catch(() => self.postMessage({ notStarted: true }));
let hasStarted = false;
python.then(() => (hasStarted = true), () => {});

/** The requests that were sent before Python had started, by the call's number. @type {Map<number, EarlyRequests>} */
const earlyOfCalls = new Map();
/** The same once the disk is open, by its number. @type {Map<unknown, EarlyRequests>} */
const earlyOfDisks = new Map();

let callers = 0;

/**
 * Listens to a caller: the page, or a thread with a port to one disk.
 * @param {Caller} caller
 * @param {number} [only] the disk that it may call
 */
function listen(caller, only) {
  const calls = callers++ * 2 ** 32; // so that their numbers differ from those of other callers
  caller.onmessage = async ({ data }) => {
    if ("start" in data) start(data.start);
    else if ("response" in data) takeResponse(data);
    else if ("port" in data) listen(data.port, only ?? data.disk);
    else if ("ring" in data) respondToAll();
    else if ("cancel" in data) {
      earlyOfCalls.get(calls + data.cancel)?.end();
      (await python.catch(() => null))?.cancel(calls + data.cancel);
    } else {
      const refusal = only === undefined ? null : narrow(data, only);
      const call = { ...data, id: calls + data.id };
      const response = refusal ? { error: refusal } : await respond(caller, call);
      if (data.memory) putResult(data.memory, response);
      else reply(caller, data.id, response);
    }
  };
}

/**
 * Restricts a call to one disk; returns a failure if the operation is not allowed.
 * @param {Call} call
 * @param {number} disk
 * @returns {Failure | null}
 */
function narrow(call, disk) {
  call.values.disk = disk;
  if (call.operation === "disk.close") call.operation = "shared.detach"; // closes its own end only
  if (/^(disk|shared|files)\./.test(call.operation) && call.operation !== "disk.open") return null;
  const message = `A port to a disk does not lead to ${call.operation}.`;
  return { name: "InvalidOptionError", message, fields: { option: "operation" } };
}

/**
 * @param {Caller} caller
 * @param {Call} call
 * @returns {Promise<CallResponse>}
 */
async function respond(caller, call) {
  if (call.operation === "disk.close") {
    earlyOfDisks.get(call.values.disk)?.end();
    earlyOfDisks.delete(call.values.disk);
  }
  const requests = hasStarted ? null : EarlyRequests.of(call);
  if (!requests) return run(caller, call);
  earlyOfCalls.set(call.id, requests);
  const response = await run(caller, call);
  earlyOfCalls.delete(call.id);
  if (response.error) requests.end();
  else earlyOfDisks.set(/** @type {{ disk: number }} */ (response.value).disk, requests);
  return response;
}

/**
 * @param {Caller} caller
 * @param {Call} call
 * @returns {Promise<CallResponse>}
 */
async function run(caller, call) {
  let running;
  try {
    running = await python;
  } catch (error) {
    return failure("StartError", `Python did not start: ${messageOf(error)}`);
  }
  earlyOfCalls.get(call.id)?.pythonBegins();
  try {
    return await running.call(caller, call);
  } catch (error) {
    // Operations return their errors. An exception here means that a value could not be converted.
    const isTooMuch = error instanceof RangeError || /MemoryError/.test(messageOf(error));
    const name = isTooMuch ? "InvalidOptionError" : "InternalError";
    const what = isTooMuch ? "more than fits into the worker's memory" : "values that cannot be passed on";
    return failure(name, `The operation ${call.operation} has ${what}: ${messageOf(error)}`);
  }
}

/**
 * @param {string} name
 * @param {string} message
 * @returns {CallResponse}
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

/** @param {Start["start"]} urls */
async function connectPython(urls) {
  const report = (/** @type {number[]} */ ...progress) => self.postMessage({ progress });
  const { pyodide, facts } = await startPython(urls, report);
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
    const response = await worker.call(operation, sent, id);
    try {
      return response.toJs(toObjects);
    } finally {
      response.destroy();
      sent.destroy();
    }
  };
  return { call, cancel: (/** @type {number} */ id) => worker.cancel(id) };
}

/** @param {PageResponse} message */
function takeResponse({ response, value }) {
  asked.get(response)?.(value);
  asked.delete(response);
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
 * @param {CallResponse} response
 */
function reply(caller, id, response) {
  const bytes = bytesIn(response.value);
  caller.postMessage({ id, ...response }, bytes ? [bytes.buffer] : []);
}

/**
 * The bytes in a response, which are transferred instead of copied.
 * @param {unknown} value
 */
function bytesIn(value) {
  if (value instanceof Uint8Array) return value;
  const bytes = value && /** @type {{ bytes?: unknown }} */ (value).bytes;
  return bytes instanceof Uint8Array ? bytes : null;
}
