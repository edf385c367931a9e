/** The worker that Python runs in, as the page that started it sees it. */

import { optionsOf } from "./arguments.mjs";
import { Calls } from "./calls.mjs";
import { REMEDY } from "./build-files.mjs";
import { invalidOption, workerFailed } from "./disk-error.mjs";
import { baseOfPage, startAt, startBundled } from "./start-worker.mjs";

/**
 * Where the worker and its files are. By default they are where this module is, or where a bundler put
 * them. Relative URLs are relative to the page. Another origin must allow the page by CORS.
 * @typedef {object} DiskWorkerOptions
 * @property {string | URL | undefined} [baseUrl] the folder of this package's files, ending with `/`: the
 *   worker and all that it needs are loaded from there
 * @property {string | URL | undefined} [workerUrl] `worker.mjs`, or a module that imports it
 * @property {string | URL | undefined} [pyodideUrl] the folder of Pyodide's files, ending with `/`
 * @property {string | URL | undefined} [wheelUrl] another wheel than the build's; starting takes longer
 * @property {OnStartProgress | undefined} [onStartProgress] called with the bytes downloaded and their sum
 *   while Python is downloaded, which is at a first visit
 */

/**
 * @typedef {import("./python.mjs").StartFacts} StartFacts
 * @typedef {import("./start-progress.mjs").OnStartProgress} OnStartProgress
 */

/**
 * The worker, and the calls that wait for its responses. While Python is downloaded, it dispatches
 * "progress" with the bytes of all files: `loaded` and `total`.
 */
export class DiskWorker extends /** @type {import("./typed-events.mjs").TypedEvents<{ progress: ProgressEvent }>} */ (EventTarget) {
  #worker;
  /** @type {(facts: StartFacts) => void} */
  #reportStart = () => {};
  #starting = new AbortController(); // aborted when Python has started
  #hasFailed = false;
  /** How Python started, once it has. @type {Promise<StartFacts>} */
  started = new Promise((resolve) => (this.#reportStart = resolve));

  /** @param {DiskWorkerOptions} [options] */
  constructor({ baseUrl, workerUrl, pyodideUrl, wheelUrl } = {}) {
    super();
    const start = {
      pyodideUrl: pyodideUrl ? absolute("pyodideUrl", pyodideUrl) : null,
      wheelUrl: wheelUrl ? absolute("wheelUrl", wheelUrl) : null,
    };
    this.#worker = startWorker(baseUrl, workerUrl);
    /** @internal Calls to the worker. */
    this.calls = new Calls(this.#worker);
    this.#worker.onmessage = ({ data }) => {
      if (data.started) this.#hasStarted(data.started);
      else if (data.progress) this.#reportProgress(data.progress);
      else if (data.notStarted) this.#hasFailed = true;
      else this.calls.take(data);
    };
    // Without a message the script did not load: browsers do not say more.
    this.#worker.onerror = ({ message }) => (message ? this.#fail(message) : this.#fail("its script did not load", REMEDY));
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

  /** @internal Calls a function with the progress, until Python has started. @param {OnStartProgress} listener */
  watchStart(listener) {
    const { signal } = this.#starting;
    this.addEventListener("progress", ({ loaded, total }) => listener(loaded, total), { signal });
  }

  /** @param {StartFacts} facts */
  #hasStarted(facts) {
    this.#starting.abort();
    this.#reportStart(facts);
  }

  /** @param {[number, number]} progress */
  #reportProgress([loaded, total]) {
    this.dispatchEvent(new ProgressEvent("progress", { lengthComputable: true, loaded, total }));
  }

  /** @internal Whether the worker failed before Python had started: another one may not. */
  get didNotStart() {
    return this.#hasFailed && !this.#starting.signal.aborted;
  }

  /** @param {string} reason @param {string} [remedy] */
  #fail(reason, remedy) {
    this.#hasFailed = true;
    this.calls.end(workerFailed(reason, remedy));
  }
}

/** @type {DiskWorker | null} */
let shared = null;

/**
 * The worker that all disks of this page share; started at the first call, with that call's options. If it
 * did not start, as without a network, the next call starts another.
 * @param {DiskWorkerOptions} [options]
 */
export function connect(options) {
  const { onStartProgress } = /** @type {DiskWorkerOptions} */ (optionsOf(options));
  if (onStartProgress !== undefined && typeof onStartProgress !== "function") {
    throw invalidOption("onStartProgress", onStartProgress, "a function");
  }
  if (shared?.didNotStart) {
    shared.terminate();
    shared = null;
  }
  shared ??= new DiskWorker(options);
  if (onStartProgress) shared.watchStart(onStartProgress);
  return shared;
}

/**
 * Starts Python ahead of the first `openDisk`, for example when the pointer is over a button that opens a
 * disk. It downloads what Python needs, and asks no server of an image for anything. Further calls do
 * nothing. A failure is not reported: `openDisk` tries again.
 * @param {DiskWorkerOptions} [options] those that `openDisk` gets
 */
export function preload(options) {
  connect(options);
}

/**
 * @param {string | URL} [baseUrl]
 * @param {string | URL} [workerUrl]
 */
function startWorker(baseUrl, workerUrl) {
  if (!baseUrl && !workerUrl) return startNext();
  const folder = baseUrl && absolute("baseUrl", baseUrl);
  if (folder && !new URL(folder).pathname.endsWith("/")) {
    throw invalidOption("baseUrl", baseUrl, "the URL of a folder, which ends with /");
  }
  const url = workerUrl ? absolute("workerUrl", workerUrl) : new URL("worker.mjs", folder).href;
  try {
    return startAt(url, NAME);
  } catch {
    throw invalidOption(workerUrl ? "workerUrl" : "baseUrl", workerUrl ?? baseUrl, START);
  }
}

const START = "the URL of a module that this page may load, from a server that allows it by CORS";

/** The worker next to this module. */
function startNext() {
  const make = () => new Worker(new URL("./worker.mjs", import.meta.url), { type: "module", name: "aero-browser-disk" });
  try {
    return startBundled(make, NAME);
  } catch {
    throw workerFailed("its script cannot be loaded from there", REMEDY);
  }
}

const NAME = "aero-browser-disk";

/**
 * @param {string} option
 * @param {string | URL} url
 */
function absolute(option, url) {
  try {
    return new URL(url, baseOfPage()).href;
  } catch {
    throw invalidOption(option, url, "a URL");
  }
}
