/**
 * What Python asks of JavaScript where a plain call through Pyodide would cost too much: bytes that
 * go between a file or a response and Python's memory without a copy on the way. `worker.mjs` makes
 * it Python's module `aero_browser_disk_bridge`; without it the package does the same, slower.
 *
 * A `target` or `source` is a Python object with the buffer protocol; it is only used for the time
 * of the call, since Python's memory moves when it grows.
 */

export { SharedHost } from "./shared-host.mjs";

/** @typedef {(bytes: Uint8Array, options: { at: number }) => number} Transfer */
/** @typedef {{ read: Transfer, write: Transfer }} SyncFile a FileSystemSyncAccessHandle */
/** @typedef {{ getBuffer: (type: string) => { data: Uint8Array, release: () => void } }} PythonBuffer */

const place = { at: 0 };

/**
 * Fills all of `target` from a file, as far as the file goes.
 * @param {SyncFile} file
 * @param {PythonBuffer} target
 * @param {number} at where in the file, in bytes
 * @returns {number} bytes read
 */
export function readFile(file, target, at) {
  const buffer = target.getBuffer("u8");
  try {
    place.at = at;
    return file.read(buffer.data, place);
  } finally {
    buffer.release();
  }
}

/**
 * Writes all of `source` to a file.
 * @param {SyncFile} file
 * @param {PythonBuffer} source
 * @param {number} at where in the file, in bytes
 * @returns {number} bytes written, if the browser says so: it may be fewer
 */
export function writeFile(file, source, at) {
  const buffer = source.getBuffer("u8");
  try {
    place.at = at;
    return file.write(buffer.data, place);
  } finally {
    buffer.release();
  }
}

const MOST_WAITING = 1 << 20; // bytes of a body that wait for Python, about

/**
 * The body of a response, taken in while Python is busy with what came before: pieces that have
 * come in meanwhile are handed over as one.
 */
export class Body {
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
   * Moves all that waits into `target`, which has `length` bytes.
   * @param {PythonBuffer} target
   */
  take(target) {
    const buffer = target.getBuffer("u8");
    try {
      let at = 0;
      for (const piece of this.#pieces) {
        buffer.data.set(piece, at);
        at += piece.length;
      }
    } finally {
      buffer.release();
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
