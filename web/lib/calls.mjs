/**
 * Calls to the disk worker, from the page that started it or over a port that was handed on: the
 * messages that `worker.mjs` describes, and who waits for their answers.
 */

import { DiskError } from "./disk-error.mjs";

/** @typedef {{ postMessage: (message: any, transfer: Transferable[]) => void }} Endpoint */

export class Calls {
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  #waiting = new Map();
  /** @type {Map<number, (...values: any[]) => unknown>} */
  #functions = new Map();
  #lastId = 0;
  #endpoint;
  /** @type {DiskError | null} */
  #end = null;
  /** @type {(() => void)[]} */
  #whenEnded = [];

  /** @param {Endpoint} endpoint */
  constructor(endpoint) {
    this.#endpoint = endpoint;
  }

  /**
   * Has the worker do an operation of `worker.py`. Functions among the values can be called there.
   * @param {string} operation
   * @param {Record<string, unknown>} values
   * @param {AbortSignal} [signal] gives the operation up
   * @returns {Promise<any>}
   */
  call(operation, values, signal) {
    if (this.#end) return Promise.reject(this.#end);
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      const abort = () => {
        this.post({ cancel: id });
        this.#waiting.delete(id);
        reject(signal?.reason);
      };
      const done = () => signal?.removeEventListener("abort", abort);
      this.#waiting.set(id, {
        resolve: (value) => (done(), resolve(value)),
        reject: (error) => (done(), reject(error)),
      });
      signal?.addEventListener("abort", abort, { once: true });
      this.post({ id, operation, ...this.#sendable(values) });
    });
  }

  /**
   * @param {unknown} message
   * @param {Transferable[]} [transfer]
   */
  post(message, transfer = []) {
    this.#endpoint.postMessage(message, transfer);
  }

  /**
   * Takes a message of the worker that is about a call.
   * @param {{ ask?: number, values?: unknown[], id: number, value?: unknown, error?: ConstructorParameters<typeof DiskError>[0] }} message
   */
  take({ ask, values, id, value, error }) {
    if (ask) {
      this.#answer(ask, values ?? [], id);
      return;
    }
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.reject(new DiskError(error));
    else waiting?.resolve(value);
  }

  /**
   * Fails whatever waits and is asked from now on.
   * @param {DiskError} error
   */
  end(error) {
    this.#end ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#end);
    this.#waiting.clear();
    for (const tell of this.#whenEnded) tell();
  }

  /** @param {() => void} tell called when nothing is answered any more */
  whenEnded(tell) {
    this.#whenEnded.push(tell);
  }

  /**
   * What can be posted of `values`: functions by number, nothing that is undefined.
   * @param {Record<string, unknown>} values
   */
  #sendable(values) {
    /** @type {Record<string, number>} */
    const functions = {};
    /** @type {Record<string, unknown>} */
    const plain = {};
    for (const [name, value] of Object.entries(values)) {
      if (typeof value === "function") {
        functions[name] = this.#functions.size + 1;
        this.#functions.set(functions[name], /** @type {() => unknown} */ (value));
      } else if (value !== undefined) plain[name] = value;
    }
    return { values: plain, functions };
  }

  /**
   * @param {number} number of the function that the worker calls
   * @param {unknown[]} values
   * @param {number} id of the call
   */
  async #answer(number, values, id) {
    let value;
    try {
      value = await this.#functions.get(number)?.(...values);
    } catch (error) {
      value = { error: error instanceof Error ? error.message : String(error) };
    }
    this.post({ answer: id, value });
  }
}
