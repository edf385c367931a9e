/**
 * What Python asks of JavaScript where a plain call through Pyodide would cost too much: bytes that
 * go between a file or a response and Python's memory without a copy on the way. `worker.mjs` makes
 * it Python's module `aero_browser_disk_bridge`; without it the package does the same, slower.
 *
 * An `address` is where bytes lie in Python's memory; it is only used for the time of the call, since
 * that memory moves when it grows. Pyodide's own way to a buffer takes as long as reading 64 KiB.
 */

export { SharedHost } from "./shared-host.mjs";

/** @typedef {(bytes: Uint8Array, options: { at: number }) => number} Transfer */
/** @typedef {{ read: Transfer, write: Transfer }} SyncFile a FileSystemSyncAccessHandle */

const place = { at: 0 };

/** @type {{ HEAPU8: Uint8Array } | null} */
let python = null;

/**
 * Says whose memory addresses are of; answers whether it can be reached.
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

// Processors copy several times more slowly to a place that lies less than 32 bytes behind the one
// they copy from, as the lowest 12 bits of both have it: what they load seems to be what they stored
// just before. Files and JavaScript's buffers begin with a page, large ones of Python 16 bytes in.
const PAGE = 4096;
const NEAR = 32;
const ASIDE = 1 << 20;

/**
 * A buffer that begins in the middle of a page, far from where others begin.
 * @type {Uint8Array | undefined}
 */
let aside;

/**
 * A function that reads a file to an address, as far as the file goes, and answers how many bytes.
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
 * A function that writes to a file what lies at an address, and answers how many bytes were written,
 * if the browser says so: it may be fewer.
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
 * Bytes of a file in new memory; undefined when it has not all of them.
 * @param {SyncFile} file
 * @param {number} at where in the file, in bytes
 * @param {number} length
 */
export function readNew(file, at, length) {
  const bytes = new Uint8Array(length);
  place.at = at;
  return file.read(bytes, place) === length ? bytes : undefined;
}

/** Bytes that stay in JavaScript's memory, while Python decides where they go. */
export class HeldBytes {
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
   * @param {number} at where in the file, in bytes
   * @returns {number} bytes written, if the browser says so: it may be fewer
   */
  write(file, start, stop, at) {
    place.at = at;
    return file.write(this.#bytes.subarray(start, stop), place);
  }

  /**
   * Where they are not all zeros from `start` on, by cells: starts and stops by turns. What is left
   * behind the last whole cell is a cell too.
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
 * Whether one of them is not 0.
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
  return new HeldBytes(new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer()));
}

const MOST_WAITING = 1 << 20; // bytes of a body that wait for Python, about

/**
 * The body of a response, taken in while Python is busy with what came before: pieces that have
 * come in meanwhile are handed over as one.
 */
export class ResponseBody {
  /** @type {Uint8Array[]} */
  #pieces = [];
  #ended = false;
  /** @type {unknown} */
  #failure = null;
  /** @type {(() => void) | null} */
  #wakeReader = null;
  /** @type {(() => void) | null} */
  #wakePump = null;

  /** @param {ReadableStream<Uint8Array>} stream */
  constructor(stream) {
    /** Bytes that wait. */
    this.length = 0;
    this.#pump(stream.getReader());
  }

  /**
   * Resolves when there are bytes to take, or at the end. Rejects when the body broke off, once what
   * came before was taken.
   */
  async wait() {
    if (!this.length && !this.#ended) await new Promise((wake) => (this.#wakeReader = () => wake(0)));
    if (!this.length && this.#failure) throw this.#failure;
  }

  /**
   * Moves all that waits to an address with room for `length` bytes.
   * @param {number} address
   */
  take(address) {
    const target = bytesAt(address, this.length);
    let at = 0;
    for (const piece of this.#pieces) {
      target.set(piece, at);
      at += piece.length;
    }
    this.#pieces = [];
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
        this.#pieces.push(value);
        this.length += value.length;
        this.#wakeReader?.();
        if (this.length >= MOST_WAITING) await new Promise((wake) => (this.#wakePump = () => wake(0)));
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
const ABORTS_AFTER_MS = 30; // Firefox loses an abort that comes together with the response's head

/**
 * What Python is told of a download, in a plain call. HEAD: the status, and the headers as lines,
 * names and values by turns. CHUNK: how many bytes wait to be taken. END: 0, and why it ended early.
 * Answers whether to go on.
 * @typedef {(id: number, what: number, number: number, text: string) => boolean} Tell
 */

/**
 * A GET whose response is pushed to Python: no await of Python's, each of which goes through two event
 * loops. Past the browser's own cache, which adds and splits range requests of its own accord.
 */
export class Download {
  #controller = new AbortController();
  #isAnswered = false;
  #isGivenUp = false;
  #hasStalled = false;
  #movedAt = performance.now();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {Uint8Array | null} */
  #piece = null;

  /**
   * @param {Tell} tell
   * @param {number} id
   * @param {string} url
   * @param {RequestCredentials} credentials
   * @param {number} timeoutMs how long nothing may come
   * @param {...string} headers names and values by turns
   */
  constructor(tell, id, url, credentials, timeoutMs, ...headers) {
    const sent = /** @type {Record<string, string>} */ ({});
    for (let at = 0; at < headers.length; at += 2) sent[`${headers[at]}`] = `${headers[at + 1]}`;
    this.#watch(timeoutMs);
    const { signal } = this.#controller;
    const options = /** @type {RequestInit} */ ({
      headers: sent,
      credentials,
      signal,
      cache: "no-store",
      referrerPolicy: "no-referrer", // the server learns this page's origin, which CORS needs, only
    });
    this.#run(fetch(url, options), (what, number, text) => tell(id, what, number, text));
  }

  /** Gives it up; nothing is told any more. */
  abort() {
    this.#isGivenUp = true;
    clearTimeout(this.#timer);
    if (this.#isAnswered) setTimeout(() => this.#controller.abort(), ABORTS_AFTER_MS);
    else this.#controller.abort();
  }

  /**
   * Copies the piece that was just told to an address with room for it.
   * @param {number} address
   */
  take(address) {
    const piece = this.#piece;
    if (piece) bytesAt(address, piece.length).set(piece);
  }

  /**
   * @param {Promise<Response>} answer
   * @param {(what: number, number: number, text: string) => boolean} tell
   */
  async #run(answer, tell) {
    let why = "no answer";
    try {
      const response = await answer;
      this.#isAnswered = true;
      this.#movedAt = performance.now();
      why = "broken off";
      if (!tell(HEAD, response.status, [...response.headers].flat().join("\n"))) return this.abort();
      const reader = response.body?.getReader();
      while (reader) {
        const { done, value } = await reader.read();
        if (done) break;
        if (!value.length) continue;
        this.#movedAt = performance.now();
        this.#piece = value;
        if (this.#isGivenUp) return;
        if (!tell(CHUNK, value.length, "")) return this.abort();
      }
      why = "";
    } catch {
      if (this.#hasStalled) why = "stalled";
    }
    if (this.#isGivenUp) return;
    clearTimeout(this.#timer);
    tell(END, 0, why);
  }

  /** One timer for all of it, which looks when something came last. */
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
