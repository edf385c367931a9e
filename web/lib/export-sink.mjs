/**
 * Where an export goes: a stream, a file that the user chose, a download, or a Blob.
 */

/**
 * A stream to write to, a file to be written, or what becomes of it otherwise: "picker" asks the user,
 * "download" puts it among the downloads, "blob" gives it back.
 * @typedef {WritableStream<Uint8Array> | FileSystemFileHandle | "picker" | "download" | "blob"} Target
 */

/**
 * @typedef {object} Sink
 * @property {number} written bytes so far
 * @property {(bytes: Uint8Array<ArrayBuffer>) => Promise<void>} write
 * @property {(length: number) => Promise<void>} skip writes zeros, as a hole where that can be
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

/** Whether the user can be asked for a file: the browser can, and they have just done something. */
function canAsk() {
  return "showSaveFilePicker" in page && page.navigator.userActivation?.isActive;
}

/** Writes to a stream; where it is that of a file, zeros are left out. */
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
    await this.#writer.abort(reason).catch(() => {}); // the stream failed by itself
  }
}

/** Gathers a Blob, whose bytes the browser may put on disk, and in which zeros are there once. */
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
    let zeros = this.#zeros; // of twice the size each time, so that a hole of any size takes few parts
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
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // by then it has begun
    return null;
  }

  async abort() {
    this.#parts = [];
  }
}
