/**
 * Counts what is downloaded while Python starts. A site's server may compress its files: each file counts
 * by what its server says that it sends, or else by its length in the build.
 */

/** @typedef {(loaded: number, total: number) => void} OnStartProgress bytes, of all files together */

/** Progress is reported at each hundredth. */
const STEPS = 100;

/**
 * @typedef {object} Counted
 * @property {number} size of the file
 * @property {number} total bytes that cross the network
 * @property {number} loaded of those
 */

export class StartProgress {
  #sizes;
  #report;
  /** Paths of files that are waited for. @type {Set<string>} */
  #expected = new Set();
  /** @type {Map<string, Counted>} */
  #files = new Map();
  /** @type {Set<ReadableStreamDefaultReader<Uint8Array>>} */
  #readers = new Set();
  #hasBegun = false;
  #isOver = false;
  #reported = -1;

  /**
   * @param {Record<string, number>} sizes of the build's files in bytes, by path
   * @param {OnStartProgress} report
   */
  constructor(sizes, report) {
    this.#sizes = sizes;
    this.#report = report;
  }

  /** Adds a file to the total. @param {string} path in the build */
  expect(path) {
    this.#expected.add(path);
  }

  /** Reports from now on, with what was counted before: it is known now that there is a download. */
  begin() {
    this.#hasBegun = true;
    this.#update();
  }

  /**
   * Counts the body of a response, which is not changed: Chromium only keeps compiled WebAssembly of
   * responses of its own. Call it before the body is read.
   * @param {string} path of the file in the build
   * @param {Response} response
   */
  count(path, response) {
    const size = this.#sizes[path];
    if (this.#isOver || !size || !response.ok || !response.body) return;
    const total = Number(response.headers.get("Content-Length")) || size;
    const file = { size, total, loaded: 0 };
    this.#files.set(path, file);
    this.#update();
    void this.#read(/** @type {ReadableStream<Uint8Array>} */ (response.clone().body), file);
  }

  /** Reports that all is there, if anything was downloaded, and ends. */
  finish() {
    const { total } = this.#sum();
    if (total && this.#hasBegun && !this.#isOver && this.#reported < STEPS) this.#report(total, total);
    this.end();
  }

  /** Reports and counts nothing any more. */
  end() {
    this.#isOver = true;
    for (const reader of this.#readers) reader.cancel().catch(() => {});
  }

  /**
   * @param {ReadableStream<Uint8Array>} body
   * @param {Counted} file
   */
  async #read(body, file) {
    const reader = body.getReader();
    this.#readers.add(reader);
    try {
      let bytes = 0;
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        bytes += next.value.length;
        file.loaded = Math.min(Math.round((bytes / file.size) * file.total), file.total);
        this.#update();
      }
      file.loaded = file.total;
      this.#update();
    } catch {
      // Whoever reads the response reports it.
    } finally {
      this.#readers.delete(reader);
    }
  }

  #update() {
    if (this.#isOver || !this.#hasBegun) return;
    const { loaded, total } = this.#sum();
    const step = Math.floor((loaded / total) * STEPS);
    if (!total || step <= this.#reported) return;
    this.#reported = step;
    this.#report(loaded, total);
  }

  #sum() {
    let loaded = 0;
    let total = 0;
    for (const path of this.#expected) {
      const size = this.#sizes[path] ?? 0;
      const file = this.#files.get(path) ?? { total: size, loaded: 0 };
      loaded += file.loaded;
      total += file.total;
    }
    return { loaded, total };
  }
}
