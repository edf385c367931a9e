/**
 * The files on an open disk: its volumes, folders, and single files out of it.
 *
 *     import { Files } from "./files.mjs";
 *     const files = new Files(disk);
 *     for (const { name, description } of (await files.list("/")).entries) console.log(name, description);
 *     const blob = await files.blob("/1/etc/hostname");
 *
 * A path begins with the number of a volume: `/` has the volumes, `/1/` is the root of the first
 * partition. Only the blocks that are read are downloaded. Names come from the image: show them
 * as text, never as markup.
 *
 * @module files.mjs
 */

import { lengthOf, offsetOf, signalOf } from "./arguments.mjs";
import { DiskError, syncUnavailable } from "./disk-error.mjs";

const CHUNK = 2 << 20;
const MAX_REQUESTED = 2; // chunks: one is fetched while the previous one is used

/**
 * @typedef {object} Entry
 * @property {string} name
 * @property {"volume" | "folder" | "file" | "link" | "other"} kind
 * @property {number | null} size in bytes
 * @property {number | null} modified in seconds since the epoch
 * @property {string | null} target where a link leads
 * @property {string} label a volume's own name
 * @property {string} description what a volume contains, in words
 * @property {number | null} offset where a volume begins on the disk, in bytes
 * @property {string | null} cannot why a volume's files cannot be shown, in words
 * @property {number | null} accessed in seconds since the epoch, as the other times
 * @property {number | null} changed when the metadata changed (`st_ctime`)
 * @property {number | null} created
 * @property {number | null} mode type and permissions, as `st_mode` has them
 * @property {number | null} uid on file systems of Unix
 * @property {number | null} gid
 */

/** @typedef {{ entries: Entry[], complete: boolean }} Listing */
/** @typedef {{ offset: number, length: number, diskOffset: number | null }} Extent */
/** @typedef {{ volume: string | null, kind: string, path: string | null }} DiskLocation */
/** @typedef {Pick<import("./disk.mjs").Disk, "ask"> & Partial<Pick<import("./disk.mjs").Disk, "askSync">>} Asked */
/** @typedef {{ signal?: AbortSignal | undefined, onProgress?: (done: number, size: number) => void }} Options */

export class Files {
  #disk;

  /** @param {Asked} disk */
  constructor(disk) {
    this.#disk = disk;
  }

  /**
   * Lists a folder, in the order of the disk; `complete` is false if there is more.
   * @param {string} path
   * @param {{ signal?: AbortSignal | undefined }} [options]
   * @returns {Promise<Listing>}
   */
  async list(path, options) {
    return this.#disk.ask("files.list", { path }, signalOf(options));
  }

  /**
   * The entry at a path; follows links.
   * @param {string} path
   * @param {{ signal?: AbortSignal | undefined }} [options]
   * @returns {Promise<Entry>}
   */
  async stat(path, options) {
    return this.#disk.ask("files.stat", { path }, signalOf(options));
  }

  /**
   * Reads `length` bytes at `offset` of a file, at most 16 MiB; fewer at its end.
   * @param {string} path
   * @param {number} offset
   * @param {number} length
   * @param {{ signal?: AbortSignal | undefined }} [options]
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  async read(path, offset, length, options) {
    const signal = signalOf(options);
    const range = { offset: offsetOf(offset), length: lengthOf(length) };
    return this.#disk.ask("files.read", { path, ...range }, signal);
  }

  /**
   * As `list`; blocks the thread, as `disk.readSync` does.
   * @param {string} path
   * @returns {Listing}
   */
  listSync(path) {
    return this.#askSync("files.list", { path });
  }

  /**
   * As `stat`; blocks the thread, as `disk.readSync` does.
   * @param {string} path
   * @param {{ followLinks?: boolean }} [options] false: of a link at the end of the path, the link itself
   * @returns {Entry}
   */
  statSync(path, { followLinks = true } = {}) {
    return this.#askSync(followLinks ? "files.stat" : "files.lstat", { path });
  }

  /**
   * As `read`; blocks the thread, as `disk.readSync` does.
   * @param {string} path
   * @param {number} offset
   * @param {number} length
   * @returns {Uint8Array<ArrayBuffer>}
   */
  readSync(path, offset, length) {
    const range = { offset: offsetOf(offset), length: lengthOf(length) };
    return this.#askSync("files.read", { path, ...range }, length);
  }

  /**
   * Where the bytes of a file are on the disk, in bytes. `diskOffset` is null for zeros and small files.
   * @param {string} path
   * @returns {Promise<Extent[]>}
   */
  extents(path) {
    return this.#disk.ask("files.extents", { path });
  }

  /**
   * What is at an offset of the disk. It names a file only after the file was listed (ext with extents,
   * ISO 9660) or its extents were requested. It searches nothing, so it may be called while a pointer moves.
   * @param {number} offset
   * @returns {Promise<DiskLocation>}
   */
  where(offset) {
    return this.#disk.ask("files.where", { offset });
  }

  /**
   * A file as a stream, read on demand.
   * @param {string} path
   * @param {Options} [options]
   * @returns {ReadableStream<Uint8Array<ArrayBuffer>>}
   */
  stream(path, options) {
    const chunks = this.#chunks(path, options);
    return new ReadableStream(
      {
        async pull(controller) {
          const { value, done } = await chunks.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
        async cancel() {
          await chunks.return();
        },
      },
      { highWaterMark: 0 },
    );
  }

  /**
   * A file as a Blob, which the browser stores on disk if it is large.
   * @param {string} path
   * @param {Options} [options]
   * @returns {Promise<Blob>}
   */
  async blob(path, options) {
    /** @type {Blob[]} */
    const parts = [];
    // Each chunk becomes a Blob, so that the browser can move it out of memory.
    for await (const chunk of this.#chunks(path, options)) parts.push(new Blob([chunk]));
    return new Blob(parts, { type: "application/octet-stream" });
  }

  /**
   * @param {string} operation
   * @param {Record<string, unknown>} values
   * @param {number} [length] of a long result
   */
  #askSync(operation, values, length) {
    if (!this.#disk.askSync) throw syncUnavailable("this disk has no askSync");
    return this.#disk.askSync(operation, values, length);
  }

  /**
   * @param {string} path
   * @param {Options} [options]
   * @returns {AsyncGenerator<Uint8Array<ArrayBuffer>, void, void>}
   */
  async *#chunks(path, options) {
    const signal = signalOf(options);
    const size = (await this.stat(path, { signal })).size ?? 0;
    /** @type {Promise<Uint8Array<ArrayBuffer>>[]} */
    const requested = [];
    let next = 0;
    for (let done = 0; done < size; ) {
      while (next < size && requested.length < MAX_REQUESTED) {
        const chunk = this.read(path, next, Math.min(CHUNK, size - next), { signal });
        chunk.catch(() => {}); // reported when the chunk is awaited, which may never happen
        requested.push(chunk);
        next += CHUNK;
      }
      const chunk = await requested.shift();
      if (!chunk?.length) throw fileShrank(path);
      done += chunk.length;
      yield chunk;
      options?.onProgress?.(done, size);
    }
  }
}

/** @param {string} path */
function fileShrank(path) {
  const reason = "it became shorter while it was read";
  const message = `${path} cannot be read: ${reason}.`;
  return new DiskError({ name: "UnreadableFileError", message, fields: { path, reason } });
}
