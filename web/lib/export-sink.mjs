/**
 * Where an export goes: a stream, a file that the user chose, a download, or a Blob.
 */

/**
 * A stream, a file, or a way to deliver the result: "picker" asks the user for a file, "download" downloads
 * it, "blob" returns it.
 * @typedef {WritableStream<Uint8Array> | FileSystemFileHandle | "picker" | "download" | "blob"} Target
 */

/**
 * @typedef {object} Sink
 * @property {number} written bytes so far
 * @property {(bytes: Uint8Array<ArrayBuffer>) => Promise<void>} write
 * @property {(length: number) => Promise<void>} skip writes zeros, as a hole if possible
 * @property {(fileName: string) => Promise<Blob | null>} close
 * @property {(reason: unknown) => Promise<void>} abort
 */

const ZEROS = 1 << 20;

/** @type {any} */
const page = globalThis;

/**
 * @param {Target | undefined} to
 * @param {string} suggestedName
 * @returns {Promise<Sink>}
 */
export async function openSink(to, suggestedName) {
  const target = to ?? (canAsk() ? "picker" : "download");
  if (target === "picker") {
    const handle = await page.showSaveFilePicker({ suggestedName });
    return new StreamSink(await handle.createWritable());
  }
  if (target === "download" || target === "blob") return new BlobSink(target === "download");
  if (target instanceof WritableStream) return new StreamSink(target);
  return new StreamSink(await target.createWritable());
}

/** Whether a file picker can be shown: the browser has one, and the user has just done something. */
function canAsk() {
  return "showSaveFilePicker" in page && page.navigator.userActivation?.isActive;
}

/** Writes to a stream; a file's stream skips zeros. */
class StreamSink {
  written = 0;
  #writer;
  #isFile;

  /** @param {WritableStream<any>} stream */
  constructor(stream) {
    this.#isFile = "seek" in stream && "truncate" in stream;
    this.#writer = stream.getWriter();
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes */
  async write(bytes) {
    await this.#writer.ready;
    await this.#writer.write(bytes);
    this.written += bytes.length;
  }

  /** @param {number} length */
  async skip(length) {
    if (this.#isFile) {
      this.written += length;
      await this.#writer.write({ type: "truncate", size: this.written });
      await this.#writer.write({ type: "seek", position: this.written });
      return;
    }
    for (let left = length; left > 0; left -= ZEROS) {
      await this.write(new Uint8Array(Math.min(left, ZEROS)));
    }
  }

  async close() {
    await this.#writer.close();
    return null;
  }

  /** @param {unknown} reason */
  async abort(reason) {
    await this.#writer.abort(reason).catch(() => {}); // the stream has already failed
  }
}

/** Collects a Blob. The browser may store its bytes on disk; zeros are stored once. */
class BlobSink {
  written = 0;
  /** @type {Blob[]} */
  #parts = [];
  #zeros = new Blob([new Uint8Array(ZEROS)]);
  #isDownload;

  /** @param {boolean} isDownload */
  constructor(isDownload) {
    this.#isDownload = isDownload;
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes */
  async write(bytes) {
    this.#parts.push(new Blob([bytes]));
    this.written += bytes.length;
  }

  /** @param {number} length */
  async skip(length) {
    this.#parts.push(this.#zeros.slice(0, length % ZEROS));
    let zeros = this.#zeros; // doubled each time, so that a hole of any size takes few parts
    for (let count = Math.floor(length / ZEROS); count > 0; count = Math.floor(count / 2)) {
      if (count % 2) this.#parts.push(zeros);
      zeros = new Blob([zeros, zeros]);
    }
    this.written += length;
  }

  /** @param {string} fileName */
  async close(fileName) {
    const blob = new Blob(this.#parts, { type: "application/octet-stream" });
    this.#parts = [];
    if (!this.#isDownload) return blob;
    const link = page.document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = fileName;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the download has begun by then
    return null;
  }

  async abort() {
    this.#parts = [];
  }
}
