/**
 * Mounts a disk in the file system of an Emscripten program that runs in a worker:
 *
 *     import { attachDisk } from "./aero-disk.mjs";
 *     import { mountDisk } from "./emscripten.mjs";
 *     const disk = await attachDisk(port); // `disk.port()` of the page
 *     mountDisk(Module.FS, disk, "/disk", { files: true });
 *
 * `/disk/disk.img` is the whole disk. The program reads and writes it as a file; the thread blocks until
 * the bytes are there. With `files`, `/disk/files/1/` has the files of the first volume, read-only.
 *
 * The program gets the disk's bytes or an error: `EIO`, `ENOSPC` when a write finds no space or reaches
 * the end of the disk, `EROFS` for a write to a read-only disk. The disk keeps its size: truncating is `EPERM`.
 *
 * A write is on the disk when it returns, so other threads see it. It is durable after `fsync`, after
 * `flush()`, and at the latest when the program next uses the disk five seconds later, or yields to its
 * event loop.
 *
 * @module emscripten.mjs
 */

import { fileMount } from "./emscripten-files.mjs";
import { ERRNO, errnoOf, FILE, FOLDER, llseek, mapCopy, statOf, viewOf } from "./emscripten-nodes.mjs";
import { SyncFile } from "./sync-file.mjs";

/**
 * @typedef {import("./emscripten-nodes.mjs").EmscriptenFS} EmscriptenFS
 * @typedef {import("./emscripten-nodes.mjs").MountNode} MountNode
 * @typedef {import("./emscripten-nodes.mjs").MountStream} MountStream
 * @typedef {import("./sync-file.mjs").SyncBlockDisk} SyncBlockDisk
 */

/**
 * @typedef {object} MountOptions
 * @property {string | undefined} [name] of the file; "disk.img" by default
 * @property {boolean | undefined} [files] whether the volumes' files are there too; the disk must be a `Disk`
 * @property {((error: Error) => void) | undefined} [onError] gets what was behind an `EIO` or `ENOSPC`
 */

const MAP_PRIVATE = 2;

/**
 * Mounts a disk at a folder, which is made if it does not exist.
 * @param {EmscriptenFS} FS of the program, once its runtime is initialized
 * @param {SyncBlockDisk} disk
 * @param {string} folder
 * @param {MountOptions} [options]
 * @returns {DiskMount}
 */
export function mountDisk(FS, disk, folder, options) {
  return new DiskMount(FS, disk, folder, options);
}

/** A mounted disk. */
export class DiskMount {
  #FS;
  #file;
  #folder;
  #onError;

  /**
   * @param {EmscriptenFS} FS
   * @param {SyncBlockDisk} disk
   * @param {string} folder
   * @param {MountOptions} [options]
   */
  constructor(FS, disk, folder, { name = "disk.img", files = false, onError = () => {} } = {}) {
    this.#FS = FS;
    this.#file = new SyncFile(disk, onError);
    this.#folder = folder;
    this.#onError = onError;
    /** The path of the file that is the disk. */
    this.path = `${folder}/${name}`;
    if (!FS.analyzePath(folder).exists) FS.mkdirTree(folder);
    const tree = files ? fileMount(FS, disk, `${folder}/files`, (error) => this.#raise(error)) : null;
    FS.mount(this.#type(name, tree), {}, folder);
  }

  /** Returns once everything written is durable. Throws as the disk does. */
  flush() {
    this.#file.flush();
  }

  /** Makes all writes durable and removes the mount; the disk stays open. */
  unmount() {
    this.#file.close();
    this.#FS.unmount(this.#folder);
  }

  /**
   * The type of file system that Emscripten mounts.
   * @param {string} name
   * @param {ReturnType<typeof fileMount> | null} tree
   */
  #type(name, tree) {
    const FS = this.#FS;
    const failing = (/** @type {number} */ errno) => () => {
      throw new FS.ErrnoError(errno);
    };
    const children = [name, ...(tree ? ["files"] : [])];
    return {
      mount: () => {
        const root = FS.createNode(null, "/", FOLDER | 0o777, 0);
        const refuse = failing(ERRNO.EROFS);
        root.node_ops = {
          getattr: (/** @type {MountNode} */ node) => statOf(node, FOLDER | 0o555, 0),
          setattr: refuse,
          lookup: (/** @type {MountNode} */ parent, /** @type {string} */ wanted) => {
            if (wanted === name) return this.#makeFile(parent, name);
            if (tree && wanted === "files") return tree.root(parent);
            throw new FS.ErrnoError(ERRNO.ENOENT);
          },
          readdir: () => [".", "..", ...children],
          mknod: refuse,
          symlink: refuse,
          rename: refuse,
          unlink: refuse,
          rmdir: refuse,
        };
        root.stream_ops = { llseek: llseek(FS, () => 0) };
        return root;
      },
      syncfs: (/** @type {unknown} */ _mount, /** @type {boolean} */ populate, /** @type {(error: unknown) => void} */ done) => {
        try {
          if (!populate) this.#flushForProgram();
          done(null);
        } catch (error) {
          done(error);
        }
      },
    };
  }

  /**
   * @param {MountNode} parent
   * @param {string} name
   */
  #makeFile(parent, name) {
    const FS = this.#FS;
    const { size, canWrite } = this.#file;
    // The permissions are checked in `open`, which has the right error for a read-only disk.
    const node = FS.createNode(parent, name, FILE | 0o777, 0);
    const mode = FILE | (canWrite ? 0o666 : 0o444);
    /** @type {{ atime?: number, mtime?: number, ctime?: number }} */
    const times = {};
    node.node_ops = {
      getattr: (/** @type {MountNode} */ of) => statOf(of, mode, size, times),
      setattr: (/** @type {MountNode} */ _, /** @type {Record<string, any>} */ attributes) => {
        if (attributes.size !== undefined && attributes.size !== size) {
          throw new FS.ErrnoError(canWrite ? ERRNO.EPERM : ERRNO.EROFS);
        }
        if (attributes.mode !== undefined) throw new FS.ErrnoError(ERRNO.EPERM);
        for (const time of /** @type {const} */ (["atime", "mtime", "ctime"])) {
          if (attributes[time]) times[time] = Number(attributes[time]);
        }
      },
    };
    node.stream_ops = {
      open: (/** @type {MountStream} */ { flags }) => {
        if (flags & 3 && !canWrite) throw new FS.ErrnoError(ERRNO.EROFS);
      },
      close: () => {},
      llseek: llseek(FS, () => size),
      read: this.#readStream.bind(this),
      write: this.#writeStream.bind(this),
      fsync: () => {
        this.#flushForProgram();
        return 0;
      },
      mmap: this.#map.bind(this),
      msync: (
        /** @type {MountStream} */ stream,
        /** @type {ArrayBufferView} */ buffer,
        /** @type {number} */ position,
        /** @type {number} */ length,
        /** @type {number} */ flags,
      ) => {
        // Emscripten passes the mapped bytes as `buffer`, and maps in whole pages.
        const inside = Math.min(length, size - position);
        if (!(flags & MAP_PRIVATE) && inside > 0) this.#writeStream(stream, buffer, 0, inside, position);
        return 0;
      },
    };
    return node;
  }

  /**
   * @param {MountStream} _stream
   * @param {ArrayBufferView} buffer the program's memory
   * @param {number} offset in it
   * @param {number} length
   * @param {number} position on the disk
   * @returns {number} the bytes read; fewer at the end of the disk
   */
  #readStream(_stream, buffer, offset, length, position) {
    const count = Math.min(length, this.#file.size - position);
    if (count <= 0) return 0;
    this.#guard(() => this.#file.read(position, viewOf(buffer, offset, count)));
    return count;
  }

  /**
   * @param {MountStream} _stream
   * @param {ArrayBufferView} buffer the program's memory
   * @param {number} offset in it
   * @param {number} length
   * @param {number} position on the disk
   * @returns {number} the bytes written; fewer at the end of the disk
   */
  #writeStream(_stream, buffer, offset, length, position) {
    const { size, canWrite } = this.#file;
    if (!canWrite) throw new this.#FS.ErrnoError(ERRNO.EROFS);
    const count = Math.min(length, size - position);
    if (length === 0) return 0;
    if (count <= 0) throw new this.#FS.ErrnoError(ERRNO.ENOSPC);
    this.#guard(() => this.#file.write(position, viewOf(buffer, offset, count)));
    return count;
  }

  /**
   * @param {MountStream} stream
   * @param {number} length
   * @param {number} position
   * @param {number} protection
   * @param {number} flags
   */
  #map(stream, length, position, protection, flags) {
    const read = (/** @type {Uint8Array} */ target) => {
      this.#readStream(stream, target, 0, target.length, position);
    };
    const inside = Math.min(length, this.#file.size - position);
    return mapCopy(this.#FS, length, inside, read, protection, flags);
  }

  /** An `fsync`: the program gets the error of an earlier flush too. */
  #flushForProgram() {
    this.#guard(() => this.flush());
  }

  /**
   * @template T
   * @param {() => T} work
   * @returns {T}
   */
  #guard(work) {
    try {
      return work();
    } catch (error) {
      return this.#raise(error);
    }
  }

  /**
   * Any other exception than an `ErrnoError` would end the program.
   * @param {unknown} error
   * @returns {never}
   */
  #raise(error) {
    if (error instanceof this.#FS.ErrnoError) throw error;
    this.#onError(/** @type {Error} */ (error));
    throw new this.#FS.ErrnoError(errnoOf(error));
  }
}
