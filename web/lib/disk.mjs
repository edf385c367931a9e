/** An open disk: what an emulator reads and writes. */

import { bytesOf, lengthOf, MAX_WRITE, offsetOf, optionsOf, signalOf } from "./arguments.mjs";
import { Calls } from "./calls.mjs";
import { DiskError, diskClosed, invalidOption, outOfRange, readOnly, syncUnavailable } from "./disk-error.mjs";
import { DiskWorker } from "./disk-worker.mjs";
import { SharedMemoryClient } from "./shared-client.mjs";
import { BUFFER_BYTES, canWait } from "./shared-protocol.mjs";
import { awaitResult, callMemory } from "./sync-calls.mjs";

const MAX_READ = 2 ** 31;
const READ_PART = 64 << 20; // max. bytes in the worker's memory for one read
const SHORT_RESULT = 64 << 10; // bytes

/** @typedef {number | bigint} Offset */

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
 * @property {number} keptBytes of an older version, which this one has too
 * @property {"opfs" | "memory"} storage
 * @property {string[]} notices
 * @property {number | null} startMs from `openDisk` to the first bytes that `read` returned,
 *   including the start of Python; null until then
 */

/**
 * What a disk gets when it is opened or attached.
 * @typedef {object} Belongings
 * @property {SharedMemoryClient} [client]
 * @property {number | undefined} [sharedMemoryBytes]
 * @property {number} [calledAt] when `openDisk` was called (`performance.now()`)
 * @property {() => void} [whenClosed] called when the disk has closed
 * @property {import("./commit-to-file.mjs").FileOfDisk | undefined} [file] of the user's, if there is a handle of it
 */

/**
 * An open disk. Offsets are numbers or BigInts, in bytes and of any alignment.
 *
 * In a cross-origin isolated page, threads share the blocks in memory: `tryRead` reads from there, and
 * workers can use `readSync` and the other synchronous methods.
 */
export class Disk {
  #calls;
  #number;
  #client;
  #calledAt;
  #whenClosed;
  #file;
  /** @type {Promise<void> | null} */
  #closing = null;
  /** @type {number | null} */
  #startMs = null;

  /**
   * @internal `openDisk` and `attachDisk` make disks.
   * @param {DiskWorker | Calls} worker
   * @param {import("./shared-client.mjs").DiskFacts} facts
   * @param {Belongings} [belongings]
   */
  constructor(worker, { disk, size, version, blockSize, readOnly, sectorSize }, belongings = {}) {
    this.#calls = worker instanceof DiskWorker ? worker.calls : worker;
    this.#number = disk;
    this.#calledAt = belongings.calledAt ?? performance.now();
    this.#whenClosed = belongings.whenClosed ?? (() => {});
    this.#file = belongings.file;
    this.#client =
      belongings.client ?? new SharedMemoryClient(this.#calls, disk, belongings.sharedMemoryBytes);
    /** In bytes. */
    this.size = size;
    /** The version of the image that all reads come from. */
    this.version = version;
    /** In bytes. */
    this.blockSize = blockSize;
    this.readOnly = readOnly;
    /** The sector size for the guest: 512, or 2,048 for a CD. */
    this.sectorSize = sectorSize ?? 512;
  }

  /**
   * Reads `length` bytes at `offset`. The range must be inside the disk, and at most 2 GiB.
   * @param {Offset} offset
   * @param {number} length
   * @param {{ signal?: AbortSignal | undefined }} [options] an aborted signal always rejects, with its reason
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  async read(offset, length, options) {
    const signal = signalOf(options);
    const at = this.#inside(offset, lengthOf(length));
    const blocks = this.#client.blocks;
    const bytes = await (blocks?.canAwait && length <= BUFFER_BYTES
      ? blocks.read(at, length, signal)
      : this.#readLong(at, length, signal));
    signal?.throwIfAborted();
    this.#startMs ??= performance.now() - this.#calledAt;
    return bytes;
  }

  /**
   * Fills `target` at once. If that is not possible, returns false and leaves `target` undefined: use
   * `read`, after which `tryRead` usually succeeds. Always false without isolation.
   * @param {Offset} offset
   * @param {Uint8Array} target
   * @returns {boolean}
   */
  tryRead(offset, target) {
    const at = this.#inside(offset, bytesOf(target, "target").length);
    return this.#client.blocks?.tryRead(at, target) ?? false;
  }

  /**
   * Fills `target`, and blocks the thread until done. Only in workers of isolated pages.
   * @param {Offset} offset
   * @param {Uint8Array | Uint8Array[]} target one view, or several that are filled one after the other
   */
  readSync(offset, target) {
    const views = viewsOf(target, "target");
    const at = this.#inside(offset, lengthOfAll(views));
    const blocks = this.#blocking();
    if (views.length === 1) blocks.readSync(at, /** @type {Uint8Array} */ (views[0]));
    else scatter(views, (bytes) => blocks.readSync(at, bytes));
  }

  /**
   * Writes `data` if that is possible at once; if it returns false, nothing was written. Waits for the
   * worker 0.2 ms at most. Always false without isolation.
   * @param {Offset} offset
   * @param {Uint8Array} data
   * @returns {boolean}
   */
  tryWrite(offset, data) {
    const at = this.#inside(offset, bytesOf(data, "data").length);
    if (this.readOnly) throw readOnly();
    return this.#client.blocks?.tryWrite(at, data) ?? false;
  }

  /**
   * Writes `data`, of at most 256 MiB; blocks the thread as `readSync` does.
   * @param {Offset} offset
   * @param {Uint8Array | Uint8Array[]} data one view, or several that are written one after the other
   */
  writeSync(offset, data) {
    const views = viewsOf(data, "data");
    const at = this.#writable(offset, lengthOfAll(views));
    this.#blocking().writeSync(at, views.length === 1 ? /** @type {Uint8Array} */ (views[0]) : gathered(views));
  }

  /** Returns once everything written is durable; blocks the thread as `readSync` does. */
  flushSync() {
    this.#blocking().flushSync();
  }

  /**
   * Makes a range read as zeros and frees its storage; blocks the thread as `readSync` does.
   * @param {Offset} offset
   * @param {number} length
   */
  discardSync(offset, length) {
    const at = this.#inside(offset, lengthOf(length));
    this.#blocking().discardSync(at, length);
  }

  /**
   * Writes `data`, of at most 256 MiB. Reads see it at once; `flush` makes it durable. Rejects with a
   * `StorageFullError` if there is no space; then none of it was written.
   * @param {Offset} offset
   * @param {Uint8Array} data
   * @returns {Promise<void>}
   */
  async write(offset, data) {
    const at = this.#writable(offset, bytesOf(data, "data").length);
    return this.ask("disk.write", { offset: at, data: alone(data) });
  }

  /**
   * Returns once everything written is durable.
   * @returns {Promise<void>}
   */
  flush() {
    return this.ask("disk.flush");
  }

  /**
   * Makes a range read as zeros and frees its storage.
   * @param {Offset} offset
   * @param {number} length
   * @returns {Promise<void>}
   */
  async discard(offset, length) {
    return this.ask("disk.discard", { offset: this.#inside(offset, lengthOf(length)), length });
  }

  /**
   * Discards all writes to the overlay that this disk was opened with.
   * @returns {Promise<void>}
   */
  resetOverlay() {
    return this.ask("disk.resetOverlay");
  }

  /**
   * Writes what is in the overlay into the file that the disk was opened from, all of it or nothing, and closes the
   * disk; the overlay is empty then. Needs the file's handle, a raw image and one overlay. Stop what writes to the
   * disk first, and call it in a click: the browser asks the user for permission. It copies the file meanwhile.
   * @param {import("./commit-to-file.mjs").CommitToFileOptions} [options]
   * @returns {Promise<void>} rejects with a `SourceError` if the file cannot be written to or has changed, and with
   *   a `HasOverlaysError`; the file is as it was then
   */
  async commitToFile(options = {}) {
    const { commitToFile } = await import("./commit-to-file.mjs");
    return commitToFile(this, this.#file, options);
  }

  /**
   * The name of the disk's content, image and overlay together. A machine's saved state belongs to one. It makes
   * what was written durable.
   * @returns {Promise<string>} SHA-256 in hex; the version of a local image without an overlay
   */
  overlayDigest() {
    return this.ask("disk.overlayDigest");
  }

  /**
   * Sends what changed in the overlay to the server of `saves`, and makes it the save's current generation.
   * Writes go on meanwhile. Rejects with a `SaveConflictError` if another device has pushed.
   * @param {{ onProgress?: ((done: number, total: number | null) => void) | undefined, signal?: AbortSignal | undefined }} [options]
   * @returns {Promise<import("./saves.mjs").Pushed>}
   */
  async push(options) {
    const { onProgress } = optionsOf(options);
    return this.ask("saves.push", { onProgress }, signalOf(options));
  }

  /**
   * A port to this disk for another thread: `postMessage(port, [port])` there, `attachDisk(port)` in
   * it. The port gives full access to this disk, and to no other.
   * @returns {MessagePort}
   */
  port() {
    const { port1, port2 } = new MessageChannel();
    this.#calls.post({ port: port2, disk: this.#number }, [port2]);
    return port1;
  }

  /**
   * Downloads all missing blocks in the background. Continues after a reload.
   * @returns {Promise<void>}
   */
  keepWholeImage() {
    return this.ask("disk.keepWholeImage");
  }

  /** @returns {Promise<void>} */
  pauseKeeping() {
    return this.ask("disk.pauseKeeping");
  }

  /**
   * The blocks read so far, in the order of their first read, as a small file for `openDisk`.
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  bootProfile() {
    return this.ask("disk.bootProfile");
  }

  /**
   * Runs an operation on this disk that has no method here: see `files.mjs`.
   * @param {string} operation
   * @param {Record<string, unknown>} [values]
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  ask(operation, values, signal) {
    return this.#calls.call(operation, { disk: this.#number, ...values }, signal);
  }

  /**
   * Runs an operation as `ask` does; blocks the thread as `readSync` does. It must be one that may run twice.
   * @param {string} operation
   * @param {Record<string, unknown>} values
   * @param {number} [length] of the result in bytes, if it is likely to be long
   * @returns {any}
   */
  askSync(operation, values, length = 0) {
    const blocks = this.#blocking();
    for (let needed = SHORT_RESULT + length; ; ) {
      blocks.checkOpen();
      const memory = callMemory(needed);
      const call = { operation, values: { disk: this.#number, ...values }, functions: {} };
      this.#calls.post({ id: 0, ...call, memory });
      const result = awaitResult(memory, () => blocks.checkOpen());
      if (typeof result === "number") needed = result;
      else if (result.error) throw new DiskError(result.error);
      else return result.value;
    }
  }

  /** @returns {Promise<DiskStats>} */
  async stats() {
    const counts = await this.ask("disk.stats");
    return { ...counts, startMs: this.#startMs };
  }

  /** @returns {Promise<void>} */
  clearCache() {
    return this.ask("disk.clearCache");
  }

  /**
   * Closes the disk; an attached disk closes only its own end. Calls under way reject with a
   * `DiskClosedError`. Closing again does nothing.
   * @returns {Promise<void>}
   */
  close() {
    return (this.#closing ??= this.#close());
  }

  async #close() {
    await this.#client.leave();
    try {
      await this.ask("disk.close");
    } finally {
      this.#whenClosed();
    }
  }

  /**
   * Reads a long range in parts, to limit the worker's memory.
   * @param {number} offset
   * @param {number} length
   * @param {AbortSignal} [signal]
   */
  async #readLong(offset, length, signal) {
    if (length <= READ_PART) return this.ask("disk.read", { offset, length }, signal);
    const bytes = newBytes(length);
    for (let done = 0; done < length; done += READ_PART) {
      const part = { offset: offset + done, length: Math.min(READ_PART, length - done) };
      bytes.set(await this.ask("disk.read", part, signal), done);
    }
    return bytes;
  }

  /**
   * @param {Offset} offset
   * @param {number} length
   * @returns {number} the offset; throws unless the range lies inside the disk
   */
  #inside(offset, length) {
    const at = offsetOf(offset);
    if (Number.isSafeInteger(at) && at >= 0 && at + length <= this.size) return at;
    throw outOfRange(at, length, this.size);
  }

  /**
   * @param {Offset} offset
   * @param {number} length
   */
  #writable(offset, length) {
    if (length > MAX_WRITE) throw invalidOption("length", length, `at most ${MAX_WRITE} at once`);
    return this.#inside(offset, length);
  }

  /** The shared memory, in a thread that may block until the worker has responded. */
  #blocking() {
    const { blocks } = this.#client;
    if (blocks && canWait()) return blocks;
    throw syncUnavailable(blocks ? "a page's main thread must not block" : "no memory is shared here");
  }
}

/**
 * Attaches the disk behind a port that `disk.port()` created in another thread.
 * @param {MessagePort} port
 * @returns {Promise<Disk>}
 */
export async function attachDisk(port) {
  if (!(port instanceof MessagePort)) throw invalidOption("port", port, "a MessagePort that disk.port() made");
  const calls = new Calls(port);
  port.onmessage = ({ data }) => calls.take(data);
  const client = new SharedMemoryClient(calls, 0); // the port knows which disk
  return new Disk(calls, await client.joined, { client, whenClosed: () => calls.end(diskClosed()) });
}

/**
 * Copies bytes of a shared or larger buffer; posting a view would copy the whole buffer.
 * @param {Uint8Array} data
 */
function alone(data) {
  const isAll = data.buffer instanceof ArrayBuffer && data.byteLength === data.buffer.byteLength;
  return isAll ? data : data.slice();
}

/** @param {number} length */
function newBytes(length) {
  try {
    if (length <= MAX_READ) return new Uint8Array(length);
  } catch {
    // a RangeError: there is not enough memory
  }
  throw invalidOption("length", length, "no more than fits into memory, and at most 2 GiB at once");
}

/**
 * @param {Uint8Array | Uint8Array[]} views
 * @param {string} name
 */
function viewsOf(views, name) {
  return Array.isArray(views) ? views.map((view) => bytesOf(view, name)) : [bytesOf(views, name)];
}

/** @param {Uint8Array[]} views */
function lengthOfAll(views) {
  return views.reduce((length, view) => length + view.length, 0);
}

/**
 * Fills several views, one after the other, by a `read` that fills a single one.
 * @param {Uint8Array[]} targets
 * @param {(bytes: Uint8Array) => void} read
 */
function scatter(targets, read) {
  const bytes = newBytes(lengthOfAll(targets));
  read(bytes);
  let at = 0;
  for (const target of targets) {
    target.set(bytes.subarray(at, at + target.length));
    at += target.length;
  }
}

/** @param {Uint8Array[]} chunks */
function gathered(chunks) {
  const bytes = newBytes(lengthOfAll(chunks));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
