/**
 * Disks for emulators in the browser. The work is done by Python in a worker; this is its door.
 *
 *     import { openDisk } from "./aero-disk.mjs";
 *     const disk = await openDisk({ url, allowRemote: true });
 *     const sector = await disk.read(0, 512);
 */

/**
 * Where the worker and what it needs are; each is found beside this module unless given.
 * @typedef {object} Location
 * @property {string | URL} [workerUrl] `worker.mjs`, or a module that imports it
 * @property {string | URL} [pyodideUrl] the folder of Pyodide's files, ending with `/`
 * @property {string | URL} [wheelUrl] this package's wheel
 */

/**
 * @typedef {object} DiskOptions
 * @property {string | URL} url the raw image; it may hold secrets, which stay in memory
 * @property {boolean} [allowRemote] the user's consent: without it nothing is asked of the network
 * @property {number} [cacheLimitBytes] how much of this image is kept, at most
 * @property {number} [blockSize] the unit of caching in bytes: a power of two, 64 KiB by default
 * @property {string} [cacheKey] names the image where its address changes, as a signed one does
 * @property {Record<string, string>} [headers] sent with every request, never stored
 * @property {"omit" | "same-origin" | "include"} [credentials] as `fetch` has it
 * @property {() => Promise<Grant> | Grant} [renew] another address when this one expires or is refused
 * @property {Date | number} [expiresAt] when the address expires, if that is known
 * @property {number} [timeoutS] how long the host may stay silent, in seconds
 * @property {{ tries?: number, baseS?: number, capS?: number, totalS?: number }} [retry]
 * @property {number} [concurrency] requests at once, 6 by default
 * @property {number} [maxRequestBytes] the longest range to ask for
 * @property {boolean} [readAhead] whether to fetch what is likely to be read next; on by default
 * @property {Uint8Array | "auto" | null} [bootProfile] what `bootProfile()` gave; "auto" by default
 * @property {Uint8Array} [digests] a digest list: every byte is checked against it
 * @property {string} [digestsSha256] what that list must hash to, in hex
 * @property {boolean} [persist] asks the browser not to clear this site's storage by itself
 */

/**
 * Renewed access. `expiresAt` is a Date or milliseconds since the epoch.
 * @typedef {{ url: string | URL, headers?: Record<string, string>, expiresAt?: Date | number }} Grant
 */

/**
 * @typedef {object} DiskStats
 * @property {number} requests
 * @property {number} requestsInFlight
 * @property {number} bytesDownloaded
 * @property {number} blocksDownloaded
 * @property {number} bytesRead
 * @property {number} hits
 * @property {number} misses
 * @property {number} cachedBytes
 * @property {number} cachedBlocks
 * @property {number} cacheLimitBytes
 * @property {"opfs" | "memory"} storage
 * @property {string[]} notices
 */

/** What went wrong: `name` is the Python class, and the error's fields are its properties. */
export class DiskError extends Error {
  /** @param {{ name: string, message: string, fields: Record<string, unknown> }} failure */
  constructor({ name, message, fields }) {
    super(message);
    Object.assign(this, fields);
    this.name = name;
  }
}

/** The worker, and who waits for its answers. */
export class DiskWorker {
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  #waiting = new Map();
  /** @type {Map<number, (...values: any[]) => unknown>} */
  #functions = new Map();
  #lastId = 0;
  #worker;
  /** @type {DiskError | null} */
  #death = null;

  /** @param {Location} [location] */
  constructor({ workerUrl, pyodideUrl, wheelUrl } = {}) {
    this.#worker = new Worker(absolute(workerUrl ?? "./worker.mjs"), {
      type: "module",
      name: "aero-browser-disk",
    });
    this.#worker.onmessage = ({ data: { ask, id, value, error } }) => {
      if (ask) {
        this.#answer(ask, id);
        return;
      }
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) waiting?.reject(new DiskError(error));
      else waiting?.resolve(value);
    };
    this.#worker.onerror = (event) => this.#die(event.message || "its script did not load");
    this.#worker.onmessageerror = () => this.#die("it sent what could not be read");
    this.#start(pyodideUrl, wheelUrl);
  }

  /**
   * Has the worker do an operation of `worker.py`. Functions among the values can be called there.
   * @param {string} operation
   * @param {Record<string, unknown>} values
   * @param {AbortSignal} [signal] gives the operation up
   * @returns {Promise<any>}
   */
  call(operation, values, signal) {
    if (this.#death) return Promise.reject(this.#death);
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      const abort = () => {
        this.#worker.postMessage({ cancel: id });
        this.#waiting.delete(id);
        reject(signal?.reason);
      };
      const done = () => signal?.removeEventListener("abort", abort);
      this.#waiting.set(id, {
        resolve: (value) => (done(), resolve(value)),
        reject: (error) => (done(), reject(error)),
      });
      signal?.addEventListener("abort", abort, { once: true });
      this.#worker.postMessage({ id, operation, ...this.#sendable(values) });
    });
  }

  /** Ends the worker at once. Whatever is under way fails; what was cached stays. */
  terminate() {
    this.#die("it was ended");
    this.#worker.terminate();
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
   * @param {number} id of the call
   */
  async #answer(number, id) {
    let value;
    try {
      value = await this.#functions.get(number)?.();
    } catch (error) {
      value = { error: error instanceof Error ? error.message : String(error) };
    }
    this.#worker.postMessage({ answer: id, value });
  }

  /**
   * @param {string | URL} [pyodideUrl]
   * @param {string | URL} [wheelUrl]
   */
  async #start(pyodideUrl, wheelUrl) {
    try {
      const start = {
        pyodideUrl: absolute(pyodideUrl ?? "./pyodide/"),
        wheelUrl: wheelUrl ? absolute(wheelUrl) : await builtWheel(),
      };
      this.#worker.postMessage({ start });
    } catch (error) {
      this.#die(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {string} reason */
  #die(reason) {
    const message = `The disk worker does not run: ${reason}. Reload the page to start it again.`;
    this.#death ??= new DiskError({ name: "WorkerError", message, fields: { reason } });
    for (const { reject } of this.#waiting.values()) reject(this.#death);
    this.#waiting.clear();
  }
}

/** An open disk. */
export class Disk {
  #worker;
  #number;

  /**
   * @param {DiskWorker} worker
   * @param {{ disk: number, size: number, version: string, blockSize: number, readOnly: boolean }} facts
   */
  constructor(worker, { disk, size, version, blockSize, readOnly }) {
    this.#worker = worker;
    this.#number = disk;
    /** In bytes. */
    this.size = size;
    /** Names the one state of the image that every read is of. */
    this.version = version;
    /** In bytes. */
    this.blockSize = blockSize;
    this.readOnly = readOnly;
  }

  /**
   * The `length` bytes at `offset`; any that lie inside the disk.
   * @param {number} offset
   * @param {number} length
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  read(offset, length, { signal } = {}) {
    return this.#worker.call("disk.read", { disk: this.#number, offset, length }, signal);
  }

  /**
   * Downloads all that is missing, behind everything else; goes on where it was after a reload.
   * @returns {Promise<void>}
   */
  keepWholeImage() {
    return this.#worker.call("disk.keepWholeImage", { disk: this.#number });
  }

  /** @returns {Promise<void>} */
  pauseKeeping() {
    return this.#worker.call("disk.pauseKeeping", { disk: this.#number });
  }

  /**
   * The blocks read so far, in the order of their first read: a small file for `openDisk`.
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  bootProfile() {
    return this.#worker.call("disk.bootProfile", { disk: this.#number });
  }

  /** @returns {Promise<DiskStats>} */
  stats() {
    return this.#worker.call("disk.stats", { disk: this.#number });
  }

  /** @returns {Promise<void>} */
  clearCache() {
    return this.#worker.call("disk.clearCache", { disk: this.#number });
  }

  /** @returns {Promise<void>} */
  close() {
    return this.#worker.call("disk.close", { disk: this.#number });
  }
}

/** @type {DiskWorker | null} */
let shared = null;

/**
 * The worker that all disks of this page share; started at the first call, with that call's location.
 * @param {Location} [location]
 */
export function connect(location) {
  shared ??= new DiskWorker(location);
  return shared;
}

/**
 * Opens a raw disk image.
 * @param {DiskOptions & Location} options
 * @returns {Promise<Disk>} rejects with a `DiskError` whose `name` says what was wrong
 */
export async function openDisk({ workerUrl, pyodideUrl, wheelUrl, persist, ...options }) {
  const worker = connect({ workerUrl, pyodideUrl, wheelUrl });
  const { url, renew, expiresAt, bootProfile, ...plain } = options;
  if (persist) await navigator.storage?.persist?.();
  const values = {
    ...plain,
    url: String(url),
    bootProfile: bootProfile === null ? "none" : bootProfile,
    expiresAt: seconds(expiresAt),
    renew: renew && (async () => {
      const grant = await renew();
      return { ...grant, url: String(grant.url), expiresAt: seconds(grant.expiresAt) };
    }),
  };
  return new Disk(worker, await worker.call("disk.open", values));
}

/**
 * Seconds since the epoch.
 * @param {Date | number | undefined} time a Date, or milliseconds since the epoch
 */
function seconds(time) {
  return time === undefined ? undefined : Number(time) / 1000;
}

/** @param {string | URL} url */
function absolute(url) {
  return new URL(url, import.meta.url).href;
}

/** The wheel that `scripts/build` put beside this module. */
async function builtWheel() {
  const index = absolute("./wheels/index.json");
  const response = await fetch(index);
  if (!response.ok) throw new Error(`${index} answered with status ${response.status}`);
  return new URL((await response.json()).wheel, index).href;
}
