/** The worker that Python runs in, as the page that started it sees it. */

import { Calls } from "./calls.mjs";
import { DiskError, invalidOption, workerFailed } from "./disk-error.mjs";

/**
 * Where the worker and its files are. By default each is next to this module.
 * @typedef {object} DiskWorkerOptions
 * @property {string | URL | undefined} [workerUrl] `worker.mjs`, or a module that imports it
 * @property {string | URL | undefined} [pyodideUrl] the folder of Pyodide's files, ending with `/`
 * @property {string | URL | undefined} [wheelUrl] another wheel than the build's; starting takes longer
 */

/** @typedef {import("./python.mjs").StartFacts} StartFacts */

/** The worker, and the calls that wait for its responses. */
export class DiskWorker {
  #worker;
  /** @type {(facts: StartFacts) => void} */
  #reportStart = () => {};
  /** How Python started, once it has. @type {Promise<StartFacts>} */
  started = new Promise((resolve) => (this.#reportStart = resolve));

  /** @param {DiskWorkerOptions} [options] */
  constructor({ workerUrl, pyodideUrl, wheelUrl } = {}) {
    const start = {
      pyodideUrl: absolute("pyodideUrl", pyodideUrl ?? "./pyodide/"),
      wheelUrl: wheelUrl ? absolute("wheelUrl", wheelUrl) : null,
    };
    this.#worker = startWorker(workerUrl);
    /** @internal Calls to the worker. */
    this.calls = new Calls(this.#worker);
    this.#worker.onmessage = ({ data }) => {
      if (data.started) this.#reportStart(data.started);
      else this.calls.take(data);
    };
    this.#worker.onerror = (event) => this.#fail(event.message || "its script did not load");
    this.#worker.onmessageerror = () => this.#fail("it sent what could not be read");
    this.#worker.postMessage({ start });
  }

  /**
   * Runs an operation of `worker.py`. The worker may call functions among the values until it is over.
   * @param {string} operation
   * @param {Record<string, unknown>} values
   * @param {AbortSignal} [signal] cancels the operation
   * @returns {Promise<any>}
   */
  call(operation, values, signal) {
    return this.calls.call(operation, values, signal);
  }

  /** Ends the worker at once. Calls under way fail; cached blocks stay. */
  terminate() {
    this.#fail("it was ended");
    this.#worker.terminate();
  }

  /** @param {string} reason */
  #fail(reason) {
    this.calls.end(workerFailed(reason));
  }
}

/** @type {DiskWorker | null} */
let shared = null;

/**
 * The worker that all disks of this page share; started at the first call, with that call's options.
 * @param {DiskWorkerOptions} [options]
 */
export function connect(options) {
  shared ??= new DiskWorker(options);
  return shared;
}

/** @param {string | URL} [workerUrl] */
function startWorker(workerUrl) {
  try {
    // In this form bundlers see it, and bring the worker along.
    if (!workerUrl) return new Worker(new URL("./worker.mjs", import.meta.url), { type: "module", name: NAME });
    return new Worker(absolute("workerUrl", workerUrl), { type: "module", name: NAME });
  } catch (error) {
    if (error instanceof DiskError) throw error;
    throw invalidOption("workerUrl", workerUrl ?? import.meta.url, "an address of this page's own origin");
  }
}

const NAME = "aero-browser-disk";

/**
 * @param {string} option
 * @param {string | URL} url
 */
function absolute(option, url) {
  try {
    return new URL(url, import.meta.url).href;
  } catch {
    throw invalidOption(option, url, "a URL");
  }
}
