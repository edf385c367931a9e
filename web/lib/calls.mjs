/**
 * Calls to the disk worker, from the page that started it or over a port: sends the messages that
 * `worker.mjs` describes and matches the responses to the callers.
 */

import { DiskError, invalidOption } from "./disk-error.mjs";

/** @typedef {{ postMessage: (message: any, transfer: Transferable[]) => void, close?: () => void }} Endpoint */
/** @typedef {(...values: any[]) => unknown} Callback */

export class Calls {
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  #waiting = new Map();
  /** Functions that the worker may call, by number. @type {Map<number, Callback>} */
  #functions = new Map();
  #lastId = 0;
  #lastFunction = 0;
  #endpoint;
  /** @type {DiskError | null} */
  #end = null;
  /** @type {Set<() => void>} */
  #endListeners = new Set();

  /** @param {Endpoint} endpoint */
  constructor(endpoint) {
    this.#endpoint = endpoint;
  }

  /**
   * Runs an operation of `worker.py`. The worker may call functions among the values until it is over.
   * @param {string} operation
   * @param {Record<string, unknown>} values
   * @param {AbortSignal} [signal] cancels the operation
   * @returns {Promise<any>}
   */
  async call(operation, values, signal) {
    const lent = this.lend(values);
    try {
      return await this.#send(operation, lent, signal);
    } finally {
      lent.takeBack();
    }
  }

  /**
   * Runs an operation with lent values, whose functions stay callable afterwards.
   * @param {string} operation
   * @param {ReturnType<Calls["lend"]>} lent
   * @param {AbortSignal} [signal] cancels the operation
   * @returns {Promise<any>}
   */
  callWith(operation, lent, signal) {
    return this.#send(operation, lent, signal);
  }

  /**
   * A copy of `values` that can be posted. Functions become numbers, which the worker may call until
   * they are released; undefined values are left out.
   * @param {Record<string, unknown>} values
   */
  lend(values) {
    /** @type {Record<string, number>} */
    const functions = {};
    /** @type {Record<string, unknown>} */
    const plain = {};
    for (const [name, value] of Object.entries(values)) {
      if (typeof value === "function") {
        functions[name] = ++this.#lastFunction;
        this.#functions.set(functions[name], /** @type {Callback} */ (value));
      } else if (value !== undefined) plain[name] = value;
    }
    const takeBack = () => {
      for (const number of Object.values(functions)) this.#functions.delete(number);
    };
    return { values: plain, functions, takeBack };
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
   * @param {{ ask?: number, values?: unknown[], id: number, value?: unknown, error?: import("./disk-error.mjs").Failure }} message
   */
  take({ ask, values, id, value, error }) {
    if (ask) {
      this.#respond(ask, values ?? [], id);
      return;
    }
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.reject(new DiskError(error));
    else waiting?.resolve(value);
  }

  /**
   * Fails all calls that wait and all later ones, and closes the port that this goes over.
   * @param {DiskError} error
   */
  end(error) {
    this.#end ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#end);
    this.#waiting.clear();
    this.#functions.clear();
    for (const notify of this.#endListeners) notify();
    this.#endListeners.clear();
    this.#endpoint.close?.();
  }

  /**
   * @param {() => void} notify called when calls no longer get a response
   * @returns {() => void} removes `notify`
   */
  onEnd(notify) {
    this.#endListeners.add(notify);
    return () => this.#endListeners.delete(notify);
  }

  /**
   * @param {string} operation
   * @param {{ values: Record<string, unknown>, functions: Record<string, number> }} sent
   * @param {AbortSignal} [signal]
   */
  async #send(operation, { values, functions }, signal) {
    signal?.throwIfAborted();
    if (this.#end) throw this.#end;
    const id = ++this.#lastId;
    try {
      this.post({ id, operation, values, functions });
    } catch {
      throw notSendable(values);
    }
    let abort = () => {};
    try {
      return await new Promise((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject });
        abort = () => {
          this.post({ cancel: id });
          this.#waiting.delete(id);
          reject(signal?.reason);
        };
        signal?.addEventListener("abort", abort);
      });
    } finally {
      signal?.removeEventListener("abort", abort);
      signal?.throwIfAborted();
    }
  }

  /**
   * @param {number} number of the function that the worker calls
   * @param {unknown[]} values
   * @param {number} id of the call
   */
  async #respond(number, values, id) {
    let value;
    try {
      const called = this.#functions.get(number);
      if (!called) throw new Error("the call that this function was passed to is over");
      value = await called(...values);
    } catch (error) {
      value = { error: error instanceof Error ? error.message : String(error) };
    }
    try {
      this.post({ response: id, value });
    } catch {
      this.post({ response: id, value: { error: "a function returned what cannot be sent to a worker" } });
    }
  }
}

/**
 * Names the value that could not be posted.
 * @param {Record<string, unknown>} values
 */
function notSendable(values) {
  const expected = "something that can be sent to a worker";
  for (const [name, value] of Object.entries(values)) {
    try {
      structuredClone(value);
    } catch {
      return invalidOption(name, value, expected);
    }
  }
  return invalidOption("values", values, expected);
}
