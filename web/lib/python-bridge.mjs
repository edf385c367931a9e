/**
 * Fast paths between JavaScript and Python: moves bytes between a file or a response and Python's memory
 * without an extra copy. `worker.mjs` registers it as the Python module `aero_browser_disk_bridge`;
 * without it the package works too, but slower.
 *
 * An `address` points into Python's memory. It is only valid during the call, since that memory moves
 * when it grows. Pyodide's own access to a buffer takes as long as reading 64 KiB.
 */

import { fetchOrTake } from "./early-requests.mjs";

export { fetchOrTake };
export { SharedHost } from "./shared-host.mjs";

/** @typedef {(bytes: Uint8Array, options: { at: number }) => number} Transfer */
/** @typedef {{ read: Transfer, write: Transfer }} SyncFile a FileSystemSyncAccessHandle */

const options = { at: 0 };

/** @type {{ HEAPU8: Uint8Array } | null} */
let python = null;

/**
 * Sets the module whose memory addresses refer to. Returns whether that memory is accessible.
 * @param {{ HEAPU8?: Uint8Array } | undefined} module Pyodide's Emscripten module
 */
export function useMemory(module) {
  const isThere = module?.HEAPU8 instanceof Uint8Array;
  python = isThere ? /** @type {{ HEAPU8: Uint8Array }} */ (module) : null;
  return isThere;
}

/**
 * @param {number} address
 * @param {number} length
 */
function bytesAt(address, length) {
  return /** @type {{ HEAPU8: Uint8Array }} */ (python).HEAPU8.subarray(address, address + length);
}

// Processors copy several times more slowly if, in the lowest 12 bits, the target address is less than
// 32 bytes after the source address: a load then seems to depend on the store just before it. Files and
// JavaScript's buffers begin on a page boundary, large buffers of Python 16 bytes after one.
const PAGE = 4096;
const NEAR = 32;
const ASIDE = 1 << 20;

/**
 * A buffer that begins in the middle of a page, far from where others begin.
 * @type {Uint8Array | undefined}
 */
let aside;

/**
 * Returns a function that reads a file to an address, up to the file's end, and returns the bytes read.
 * @param {SyncFile} file
 * @returns {(at: number, address: number, length: number) => number}
 */
export function readerOf(file) {
  const from = { at: 0 };
  return (at, address, length) => {
    from.at = at;
    const apart = (address - at) & (PAGE - 1);
    const target = bytesAt(address, length);
    return apart > 0 && apart < NEAR ? readAside(file, from, target) : file.read(target, from);
  };
}

/**
 * @param {SyncFile} file
 * @param {{ at: number }} from
 * @param {Uint8Array} target
 */
function readAside(file, from, target) {
  aside ??= new Uint8Array(new ArrayBuffer(ASIDE + PAGE), PAGE / 2, ASIDE);
  let done = 0;
  for (;;) {
    const part = aside.subarray(0, target.length - done);
    const got = file.read(part, from);
    target.set(got < part.length ? part.subarray(0, got) : part, done);
    done += got;
    from.at += got;
    if (got < part.length || done === target.length) return done;
  }
}

/**
 * Returns a function that writes bytes at an address to a file and returns the bytes written, which the
 * browser may report as fewer.
 * @param {SyncFile} file
 * @returns {(at: number, address: number, length: number) => number}
 */
export function writerOf(file) {
  const to = { at: 0 };
  return (at, address, length) => {
    to.at = at;
    return file.write(bytesAt(address, length), to);
  };
}

/**
 * Reads bytes of a file into new memory; undefined if the file is too short.
 * @param {SyncFile} file
 * @param {number} at offset in the file
 * @param {number} length
 */
export function readNew(file, at, length) {
  const bytes = new Uint8Array(length);
  options.at = at;
  return file.read(bytes, options) === length ? bytes : undefined;
}

/** Bytes that stay in JavaScript's memory until Python decides where they go. */
export class ForeignBytes {
  #bytes;

  /** @param {Uint8Array} bytes all of a buffer */
  constructor(bytes) {
    this.#bytes = bytes;
    this.length = bytes.length;
  }

  /**
   * @param {number} start
   * @param {number} stop
   */
  copy(start, stop) {
    return this.#bytes.subarray(start, stop); // Python copies it out
  }

  /**
   * Writes some of them to a file.
   * @param {SyncFile} file
   * @param {number} start
   * @param {number} stop
   * @param {number} at offset in the file
   * @returns {number} bytes written, which the browser may report as fewer
   */
  write(file, start, stop, at) {
    options.at = at;
    return file.write(this.#bytes.subarray(start, stop), options);
  }

  /**
   * The ranges of cells that are not all zeros, from `start` on: start and stop alternate. The rest after
   * the last whole cell counts as a cell.
   * @param {number} start
   * @param {number} cell bytes, a multiple of 4
   */
  dataRuns(start, cell) {
    const words = new Int32Array(this.#bytes.buffer, 0, this.length >> 2);
    const ends = [];
    let inRun = false;
    for (let at = start; at < this.length; at += cell) {
      const isData = at + cell <= this.length ? anyOf(words, at >> 2, (at + cell) >> 2) : this.#rest(at);
      if (isData !== inRun) ends.push(at);
      inRun = isData;
    }
    if (inRun) ends.push(this.length);
    return ends;
  }

  /** @param {number} start */
  #rest(start) {
    return this.#bytes.subarray(start).some((byte) => byte !== 0);
  }
}

/**
 * Whether any of the words is not 0.
 * @param {Int32Array} words
 * @param {number} start
 * @param {number} stop
 */
function anyOf(words, start, stop) {
  for (let at = start; at < stop; at++) if (words[at]) return true;
  return false;
}

/**
 * Reads a part of a Blob.
 * @param {Blob} blob
 * @param {number} offset
 * @param {number} length
 */
export async function holdBlob(blob, offset, length) {
  return new ForeignBytes(new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer()));
}

const MAX_WAITING = 1 << 20; // bytes of a body that wait for Python, approximately

/**
 * Receives a response's body while Python is busy with earlier bytes. Chunks that arrive meanwhile are
 * handed over as one.
 */
export class ResponseBody {
  /** @type {Uint8Array[]} */
  #chunks = [];
  #ended = false;
  /** @type {unknown} */
  #failure = null;
  /** @type {(() => void) | null} */
  #wakeReader = null;
  /** @type {(() => void) | null} */
  #wakePump = null;

  /** @param {ReadableStream<Uint8Array>} stream */
  constructor(stream) {
    /** How many bytes wait. */
    this.length = 0;
    this.#pump(stream.getReader());
  }

  /**
   * Resolves when there are bytes to take, or at the end. Rejects if the body broke off, after the bytes
   * before that were taken.
   */
  async wait() {
    if (!this.length && !this.#ended) await new Promise((wake) => (this.#wakeReader = () => wake(0)));
    if (!this.length && this.#failure) throw this.#failure;
  }

  /**
   * Moves all waiting bytes to an address with space for `length` bytes.
   * @param {number} address
   */
  take(address) {
    const target = bytesAt(address, this.length);
    let at = 0;
    for (const chunk of this.#chunks) {
      target.set(chunk, at);
      at += chunk.length;
    }
    this.#chunks = [];
    this.length = 0;
    this.#wakePump?.();
  }

  /** @param {ReadableStreamDefaultReader<Uint8Array>} reader */
  async #pump(reader) {
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        if (!value.length) continue;
        this.#chunks.push(value);
        this.length += value.length;
        this.#wakeReader?.();
        if (this.length >= MAX_WAITING) await new Promise((wake) => (this.#wakePump = () => wake(0)));
      }
    } catch (error) {
      this.#failure = error;
    }
    this.#ended = true;
    this.#wakeReader?.();
  }
}

const HEAD = 0;
const CHUNK = 1;
const END = 2;
const ABORTS_AFTER_MS = 30; // Firefox ignores an abort that comes together with the response's headers

/**
 * Reports the progress of a download to Python, in a plain call. HEAD: the status, and the headers as
 * lines, alternating name and value. CHUNK: how many bytes wait. END: 0, and why it ended early. Returns
 * whether to continue.
 * @typedef {(id: number, what: number, number: number, text: string) => boolean} OnDownload
 */

/**
 * A GET whose response is pushed to Python. Python awaits nothing: each await goes through two event
 * loops. Bypasses the browser's cache, which adds and splits range requests.
 */
export class Download {
  #controller = new AbortController();
  #hasResponse = false;
  #isGivenUp = false;
  #hasStalled = false;
  #movedAt = performance.now();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {Uint8Array | null} */
  #chunk = null;

  /**
   * @param {OnDownload} report
   * @param {number} id
   * @param {string} url
   * @param {RequestCredentials} credentials
   * @param {number} timeoutMs max. time without data
   * @param {...string} headers alternating name and value
   */
  constructor(report, id, url, credentials, timeoutMs, ...headers) {
    const sent = /** @type {Record<string, string>} */ ({});
    for (let at = 0; at < headers.length; at += 2) sent[`${headers[at]}`] = `${headers[at + 1]}`;
    this.#watch(timeoutMs);
    const { signal } = this.#controller;
    const options = /** @type {RequestInit} */ ({
      headers: sent,
      credentials,
      signal,
      cache: "no-store",
      referrerPolicy: "no-referrer", // the server only learns this page's origin, which CORS needs
    });
    this.#run(fetchOrTake(url, options), (what, number, text) => report(id, what, number, text));
  }

  /** Aborts the download; nothing is reported after that. */
  abort() {
    this.#isGivenUp = true;
    clearTimeout(this.#timer);
    if (this.#hasResponse) setTimeout(() => this.#controller.abort(), ABORTS_AFTER_MS);
    else this.#controller.abort();
  }

  /**
   * Copies the chunk that was just reported to an address with space for it.
   * @param {number} address
   */
  take(address) {
    const chunk = this.#chunk;
    if (chunk) bytesAt(address, chunk.length).set(chunk);
  }

  /**
   * @param {Promise<import("./early-requests.mjs").PlainResponse>} responding
   * @param {(what: number, number: number, text: string) => boolean} report
   */
  async #run(responding, report) {
    let why = "no response";
    try {
      const response = await responding;
      this.#hasResponse = true;
      this.#movedAt = performance.now();
      why = "broken off";
      if (!report(HEAD, response.status, [...response.headers].flat().join("\n"))) return this.abort();
      const reader = response.body?.getReader();
      while (reader) {
        const { done, value } = await reader.read();
        if (done) break;
        if (!value.length) continue;
        this.#movedAt = performance.now();
        this.#chunk = value;
        if (this.#isGivenUp) return;
        if (!report(CHUNK, value.length, "")) return this.abort();
      }
      why = "";
    } catch {
      if (this.#hasStalled) why = "stalled";
    }
    if (this.#isGivenUp) return;
    clearTimeout(this.#timer);
    report(END, 0, why);
  }

  /** One timer for the whole download, which checks when data last came. */
  #watch(/** @type {number} */ timeoutMs) {
    const look = () => {
      const left = this.#movedAt + timeoutMs - performance.now();
      if (left > 0) {
        this.#timer = setTimeout(look, left);
      } else {
        this.#hasStalled = true;
        this.#controller.abort();
      }
    };
    this.#timer = setTimeout(look, timeoutMs);
  }
}
