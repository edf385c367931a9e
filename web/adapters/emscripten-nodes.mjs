/** What the nodes of an Emscripten file system have in common. */

export const FOLDER = 0o040000;
export const FILE = 0o100000;
export const LINK = 0o120000;
export const SOCKET = 0o140000;

/** Emscripten's numbers, which are those of WASI. */
export const ERRNO = Object.freeze({
  EINVAL: 28,
  EIO: 29,
  ENOENT: 44,
  ENOMEM: 48,
  ENOSPC: 51,
  EPERM: 63,
  EROFS: 69,
  ESTALE: 72,
});

/**
 * A node of Emscripten's file system, as far as a mount uses it.
 * @typedef {object} MountNode
 * @property {number} id
 * @property {number} mode
 * @property {string} name
 * @property {Record<string, Function>} node_ops
 * @property {Record<string, Function>} stream_ops
 */

/** @typedef {{ node: MountNode, position: number, flags: number }} MountStream */

/**
 * The `FS` of an Emscripten program, as far as a mount uses it.
 * @typedef {object} EmscriptenFS
 * @property {new (errno: number) => Error} ErrnoError
 * @property {any} filesystems
 * @property {(parent: any, name: string, mode: number, device: number) => any} createNode
 * @property {(path: string) => { exists: boolean }} analyzePath
 * @property {(path: string) => unknown} mkdirTree
 * @property {(type: any, options: any, folder: string) => unknown} mount
 * @property {(folder: string) => unknown} unmount
 */

/**
 * The errno for an error of the disk.
 * @param {unknown} error
 */
export function errnoOf(error) {
  switch (/** @type {Error | undefined} */ (error)?.name) {
    case "StorageFullError":
      return ERRNO.ENOSPC;
    case "ReadOnlyError":
      return ERRNO.EROFS;
    case "NoSuchFileError":
      return ERRNO.ENOENT;
    default:
      return ERRNO.EIO;
  }
}

/**
 * @param {MountNode} node
 * @param {number} mode
 * @param {number} size
 * @param {{ atime?: number | null, mtime?: number | null, ctime?: number | null, uid?: number | null, gid?: number | null }} [facts]
 *   times in milliseconds since the epoch
 */
export function statOf(node, mode, size, { atime, mtime, ctime, uid, gid } = {}) {
  return {
    dev: 1,
    ino: node.id,
    mode,
    nlink: 1,
    uid: uid ?? 0,
    gid: gid ?? 0,
    rdev: 0,
    size,
    atime: new Date(atime ?? mtime ?? 0),
    mtime: new Date(mtime ?? 0),
    ctime: new Date(ctime ?? mtime ?? 0),
    blksize: 4096,
    blocks: Math.ceil(size / 512),
  };
}

/**
 * The operation `llseek` of streams.
 * @param {EmscriptenFS} FS
 * @param {(node: MountNode) => number} sizeOf
 */
export function llseek(FS, sizeOf) {
  return (/** @type {MountStream} */ stream, /** @type {number} */ offset, /** @type {number} */ whence) => {
    const base = whence === 1 ? stream.position : whence === 2 ? sizeOf(stream.node) : 0;
    if (base + offset < 0) throw new FS.ErrnoError(ERRNO.EINVAL);
    return base + offset;
  };
}

/**
 * Maps a copy: WebAssembly has no page faults. The memory comes from Emscripten's own file system, which
 * is the only way to it from outside.
 * @param {EmscriptenFS} FS
 * @param {number} length
 * @param {number} inside how many of these bytes are in the file; the others are zeros
 * @param {(target: Uint8Array) => void} read
 * @param {number} protection
 * @param {number} flags
 */
export function mapCopy(FS, length, inside, read, protection, flags) {
  const contents = newBytes(FS, length);
  if (inside > 0) read(contents.subarray(0, inside));
  const node = { mode: FILE, contents, usedBytes: length };
  return FS.filesystems.MEMFS.stream_ops.mmap({ node }, length, 0, protection, flags);
}

/**
 * @param {EmscriptenFS} FS
 * @param {number} length
 */
function newBytes(FS, length) {
  try {
    return new Uint8Array(length);
  } catch {
    throw new FS.ErrnoError(ERRNO.ENOMEM);
  }
}

/**
 * A part of the program's memory; Emscripten's heap is an Int8Array.
 * @param {ArrayBufferView} buffer
 * @param {number} offset
 * @param {number} length
 */
export function viewOf(buffer, offset, length) {
  return new Uint8Array(buffer.buffer, buffer.byteOffset + offset, length);
}
