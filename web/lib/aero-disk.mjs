/**
 * Disks for emulators in the browser. The work is done by Python in a worker; this is its door.
 *
 *     import { openDisk } from "./aero-disk.mjs";
 *     const disk = await openDisk({ url, allowRemote: true });
 *     const sector = await disk.read(0, 512);
 */

import { Calls } from "./calls.mjs";
import { DiskError } from "./disk-error.mjs";
import { canWait, ROOM as LONGEST_SHARED } from "./shared-blocks.mjs";
import { Membership } from "./shared-membership.mjs";

export { DiskError };
export { diagnose } from "./doctor.mjs";
export { Library, library } from "./library.mjs";

/** @typedef {number | bigint} Offset */

/**
 * Where the worker and what it needs are; each is found beside this module unless given.
 * @typedef {object} Location
 * @property {string | URL} [workerUrl] `worker.mjs`, or a module that imports it
 * @property {string | URL} [pyodideUrl] the folder of Pyodide's files, ending with `/`
 * @property {string | URL} [wheelUrl] another wheel of this package than the build's, which takes longer
 */

/**
 * Either `url` or `image`, with or without `overlay`; all else is for a `url`.
 * @typedef {object} DiskOptions
 * @property {string | URL} [url] the raw image; it may hold secrets, which stay in memory
 * @property {string} [image] a local image of the library, by name or id
 * @property {string | string[]} [overlay] takes the writes, and is made when it is not there yet;
 *   several lie over one another, the last takes the writes
 * @property {boolean} [writeBase] lets an image take writes that make its overlays useless
 * @property {boolean} [allowRemote] the user's consent: without it nothing is asked of the network
 * @property {number} [cacheLimitBytes] how much of this image is kept, at most
 * @property {number} [blockSize] the unit of caching in bytes: a power of two, 16 KiB by default
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
 * @property {string} [digestsKey] the Ed25519 public key that it must be signed by, in hex
 * @property {number} [sharedMemoryBytes] of blocks in memory that all threads read; 64 MiB by default
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
 * @property {number | null} startMs from `openDisk` to the first bytes that `read` gave, Python's start
 *   included; null until then
 */

/** @typedef {import("./python.mjs").StartFacts} StartFacts */

/** The worker, and who waits for its answers. */
export class DiskWorker {
  #worker;
  /** @type {(facts: StartFacts) => void} */
  #tellStarted = () => {};
  /** How Python came up, once it has. @type {Promise<StartFacts>} */
  started = new Promise((resolve) => (this.#tellStarted = resolve));

  /** @param {Location} [location] */
  constructor({ workerUrl, pyodideUrl, wheelUrl } = {}) {
    this.#worker = new Worker(absolute(workerUrl ?? "./worker.mjs"), {
      type: "module",
      name: "aero-browser-disk",
    });
    /** What goes to the worker and comes back. */
    this.calls = new Calls(this.#worker);
    this.#worker.onmessage = ({ data }) => {
      if (data.started) this.#tellStarted(data.started);
      else this.calls.take(data);
    };
    this.#worker.onerror = (event) => this.#die(event.message || "its script did not load");
    this.#worker.onmessageerror = () => this.#die("it sent what could not be read");
    const start = {
      pyodideUrl: absolute(pyodideUrl ?? "./pyodide/"),
      wheelUrl: wheelUrl ? absolute(wheelUrl) : null,
    };
    this.#worker.postMessage({ start });
  }

  /**
   * Has the worker do an operation of `worker.py`. Functions among the values can be called there.
   * @param {string} operation
   * @param {Record<string, unknown>} values
   * @param {AbortSignal} [signal] gives the operation up
   * @returns {Promise<any>}
   */
  call(operation, values, signal) {
    return this.calls.call(operation, values, signal);
  }

  /** Ends the worker at once. Whatever is under way fails; what was cached stays. */
  terminate() {
    this.#die("it was ended");
    this.#worker.terminate();
  }

  /** @param {string} reason */
  #die(reason) {
    const message = `The disk worker does not run: ${reason}. Reload the page to start it again.`;
    this.calls.end(new DiskError({ name: "WorkerError", message, fields: { reason } }));
  }
}

/**
 * An open disk. Offsets are numbers or BigInts, in bytes and of any alignment.
 *
 * What another thread reads too is shared with it where the page is cross-origin isolated: then
 * `tryRead` answers from memory, and `readSync` and its kin are to be had in workers.
 */
export class Disk {
  #worker;
  #number;
  #membership;
  #calledAt;
  /** @type {number | null} */
  #startMs = null;

  /**
   * @param {DiskWorker | Calls} worker
   * @param {import("./shared-membership.mjs").DiskFacts} facts
   * @param {{ membership?: Membership, sharedMemoryBytes?: number, calledAt?: number }} [sharing]
   */
  constructor(worker, { disk, size, version, blockSize, readOnly, sectorSize }, sharing = {}) {
    this.#worker = worker instanceof DiskWorker ? worker.calls : worker;
    this.#number = disk;
    this.#calledAt = sharing.calledAt ?? performance.now();
    this.#membership =
      sharing.membership ?? new Membership(this.#worker, disk, sharing.sharedMemoryBytes);
    /** In bytes. */
    this.size = size;
    /** Names the one state of the image that every read is of. */
    this.version = version;
    /** In bytes. */
    this.blockSize = blockSize;
    this.readOnly = readOnly;
    /** What a guest must be told: 512, or 2,048 for a CD. */
    this.sectorSize = sectorSize ?? 512;
  }

  /**
   * The `length` bytes at `offset`; any that lie inside the disk.
   * @param {Offset} offset
   * @param {number} length
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  async read(offset, length, { signal } = {}) {
    const blocks = this.#membership.blocks;
    const at = Number(offset);
    const bytes = await (blocks?.canAwait && length <= LONGEST_SHARED
      ? blocks.read(at, length, signal)
      : this.#worker.call("disk.read", { disk: this.#number, offset: at, length }, signal));
    this.#startMs ??= performance.now() - this.#calledAt;
    return bytes;
  }

  /**
   * Fills `target` at once, or says false and leaves it undefined: then `read` brings the bytes, and
   * the next try finds them unless they have made way for others. Always false without isolation.
   * @param {Offset} offset
   * @param {Uint8Array} target
   * @returns {boolean}
   */
  tryRead(offset, target) {
    return this.#membership.blocks?.tryRead(Number(offset), target) ?? false;
  }

  /**
   * Fills `target`; the thread stands still until that is done. In workers of isolated pages only.
   * @param {Offset} offset
   * @param {Uint8Array | Uint8Array[]} target one view, or several that are filled one after the other
   */
  readSync(offset, target) {
    this.#still().readSync(Number(offset), target);
  }

  /**
   * Writes `data` if that can be done at once; when it says false, nothing was written. Waits for the
   * worker a fifth of a millisecond at most. Always false without isolation.
   * @param {Offset} offset
   * @param {Uint8Array} data
   * @returns {boolean}
   */
  tryWrite(offset, data) {
    if (this.readOnly) throw new DiskError(READ_ONLY);
    return this.#membership.blocks?.tryWrite(Number(offset), data) ?? false;
  }

  /**
   * Writes `data`; as `readSync` has it.
   * @param {Offset} offset
   * @param {Uint8Array | Uint8Array[]} data one view, or several that are written one after the other
   */
  writeSync(offset, data) {
    this.#still().writeSync(Number(offset), data);
  }

  /** Returns once everything written is durable; as `readSync` has it. */
  flushSync() {
    this.#still().flushSync();
  }

  /**
   * Has a range read as zeros and gives its room back; as `readSync` has it.
   * @param {Offset} offset
   * @param {number} length
   */
  discardSync(offset, length) {
    this.#still().discardSync(Number(offset), length);
  }

  /**
   * Writes `data`; reads see it at once, `flush` makes it last. Rejects with a `StorageFullError` when
   * there is no room: then nothing of it is written.
   * @param {Offset} offset
   * @param {Uint8Array} data
   * @returns {Promise<void>}
   */
  write(offset, data) {
    return this.ask("disk.write", { offset: Number(offset), data: alone(data) });
  }

  /**
   * Returns once everything written is durable.
   * @returns {Promise<void>}
   */
  flush() {
    return this.ask("disk.flush");
  }

  /**
   * Has a range read as zeros and gives its room back.
   * @param {Offset} offset
   * @param {number} length
   * @returns {Promise<void>}
   */
  discard(offset, length) {
    return this.ask("disk.discard", { offset: Number(offset), length });
  }

  /**
   * Gives up all that was written to the overlay that this disk was opened with.
   * @returns {Promise<void>}
   */
  resetOverlay() {
    return this.ask("disk.resetOverlay");
  }

  /**
   * Names what the overlay makes of its image: the same digest, the same disk. A machine's saved
   * state belongs to one digest.
   * @returns {Promise<string>} SHA-256 in hex
   */
  overlayDigest() {
    return this.ask("disk.overlayDigest");
  }

  /**
   * A port to this disk for another thread: `postMessage(port, [port])` there, `attachDisk(port)` in
   * it. Whoever has it can do with this disk, and with no other, what can be done here.
   * @returns {MessagePort}
   */
  port() {
    const { port1, port2 } = new MessageChannel();
    this.#worker.post({ port: port2, disk: this.#number }, [port2]);
    return port1;
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

  /**
   * Has the worker do an operation on this disk that has no method here: see `files.mjs`.
   * @param {string} operation
   * @param {Record<string, unknown>} [values]
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  ask(operation, values, signal) {
    return this.#worker.call(operation, { disk: this.#number, ...values }, signal);
  }

  /** @returns {Promise<DiskStats>} */
  async stats() {
    const counts = await this.#worker.call("disk.stats", { disk: this.#number });
    return { ...counts, startMs: this.#startMs };
  }

  /** @returns {Promise<void>} */
  clearCache() {
    return this.#worker.call("disk.clearCache", { disk: this.#number });
  }

  /**
   * Closes the disk; of an attached one only this end.
   * @returns {Promise<void>}
   */
  async close() {
    await this.#membership.leave();
    await this.#worker.call("disk.close", { disk: this.#number });
  }

  /** What lets this thread stand still until the worker has answered. */
  #still() {
    const { blocks } = this.#membership;
    if (blocks && canWait()) return blocks;
    const reason = blocks ? "the thread of a page must not stand still" : "no memory is shared here";
    throw new DiskError({
      name: "SyncUnavailableError",
      message:
        `This cannot be done synchronously: ${reason}. Use await, or a worker of a page that is ` +
        "cross-origin isolated.",
      fields: { reason },
    });
  }
}

const READ_ONLY = {
  name: "ReadOnlyError",
  message: "This disk is read-only. Put an overlay over it to write.",
  fields: {},
};

/**
 * The disk that a port leads to: `disk.port()` made it, and it was posted to this thread.
 * @param {MessagePort} port
 * @returns {Promise<Disk>}
 */
export async function attachDisk(port) {
  const calls = new Calls(port);
  port.onmessage = ({ data }) => calls.take(data);
  const membership = new Membership(calls, 0); // the port knows which disk
  return new Disk(calls, await membership.joined, { membership });
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
 * Opens a raw disk image: from a host, or from the library.
 * @param {DiskOptions & Location} options
 * @returns {Promise<Disk>} rejects with a `DiskError` whose `name` says what was wrong
 */
export async function openDisk(
  { workerUrl, pyodideUrl, wheelUrl, persist, sharedMemoryBytes, ...options },
) {
  const calledAt = performance.now();
  const worker = connect({ workerUrl, pyodideUrl, wheelUrl });
  const { url, renew, expiresAt, bootProfile, ...plain } = options;
  if (persist) await navigator.storage?.persist?.();
  const values = {
    ...plain,
    url: url && String(url),
    bootProfile: bootProfile === null ? "none" : bootProfile,
    expiresAt: seconds(expiresAt),
    renew: renew && (async () => {
      const grant = await renew();
      return { ...grant, url: String(grant.url), expiresAt: seconds(grant.expiresAt) };
    }),
  };
  const facts = await worker.call("disk.open", values);
  const membership = new Membership(worker.calls, facts.disk, sharedMemoryBytes);
  await membership.joined;
  return new Disk(worker, facts, { membership, calledAt });
}

/**
 * Bytes that are no part of a larger buffer, all of which would be copied with them, nor shared.
 * @param {Uint8Array} data
 */
function alone(data) {
  const isAll = data.buffer instanceof ArrayBuffer && data.byteLength === data.buffer.byteLength;
  return isAll ? data : data.slice();
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
