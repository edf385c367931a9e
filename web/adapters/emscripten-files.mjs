/** The files of a disk's volumes as read-only nodes of an Emscripten file system. */

import { Files } from "../lib/files.mjs";
import { ERRNO, FILE, FOLDER, LINK, llseek, mapCopy, SOCKET, statOf, viewOf } from "./emscripten-nodes.mjs";

const BLOCK = 64 * 1024;
const MAX_BLOCKS = 32;
const MAX_LONG_READ = 1 << 20;

/**
 * @typedef {import("../lib/files.mjs").Entry} Entry
 * @typedef {import("./emscripten-nodes.mjs").EmscriptenFS} EmscriptenFS
 * @typedef {import("./emscripten-nodes.mjs").MountNode & { path: string, entry: Entry, children: Set<string> }} FileNode
 * @typedef {import("./emscripten-nodes.mjs").MountStream & { node: FileNode }} FileStream
 */

const TYPES = { volume: FOLDER, folder: FOLDER, file: FILE, link: LINK, other: SOCKET };

/**
 * @param {EmscriptenFS} FS
 * @param {object} disk a `Disk` that can be read synchronously
 * @param {string} folder where the files will be
 * @param {(error: unknown) => never} raise turns an error of the disk into one of Emscripten's
 */
export function fileMount(FS, disk, folder, raise) {
  const files = new Files(/** @type {import("../lib/files.mjs").Asked} */ (disk));
  const isConstant = Boolean(/** @type {{ readOnly?: boolean }} */ (disk).readOnly);
  const blocks = new BlockCache(isConstant ? MAX_BLOCKS : 0);

  /** @template T @param {() => T} work @returns {T} */
  const guard = (work) => {
    try {
      return work();
    } catch (error) {
      return raise(error);
    }
  };
  const refuse = () => {
    throw new FS.ErrnoError(ERRNO.EROFS);
  };
  const sizeOf = (/** @type {{ entry: Entry }} */ { entry }) => (entry.kind === "file" ? (entry.size ?? 0) : 0);

  /** Looks again where the disk may have changed. @param {FileNode} node */
  const refresh = (node) => {
    if (isConstant || !node.path) return;
    const entry = guard(() => files.statSync(node.path, { followLinks: false }));
    if (TYPES[entry.kind] !== (node.mode & 0o170000)) throw new FS.ErrnoError(ERRNO.ESTALE);
    node.entry = entry;
  };

  /** @param {FileNode} node @param {number} position @param {Uint8Array} target */
  const read = (node, position, target) => {
    for (let done = 0; done < target.length; ) {
      const at = position + done;
      const left = target.length - done;
      const isShort = isConstant && left < BLOCK;
      const start = isShort ? at - (at % BLOCK) : at;
      const length = Math.min(isShort ? BLOCK : Math.min(left, MAX_LONG_READ), sizeOf(node) - start);
      const load = () => exactly(files.readSync(node.path, start, length), length);
      const bytes = isShort ? blocks.get(`${start} ${node.path}`, load) : load();
      const found = bytes.subarray(at - start, at - start + left);
      target.set(found, done);
      done += found.length;
    }
  };

  const nodeOps = {
    getattr(/** @type {FileNode} */ node) {
      refresh(node);
      const { entry } = node;
      const permissions = (entry.mode ?? ((node.mode & 0o170000) === FILE ? 0o444 : 0o555)) & 0o7777;
      const size = entry.kind === "link" ? targetOf(node, folder).length : sizeOf(node);
      return statOf(node, (node.mode & 0o170000) | permissions, size, {
        atime: milliseconds(entry.accessed),
        mtime: milliseconds(entry.modified),
        ctime: milliseconds(entry.changed),
        uid: entry.uid,
        gid: entry.gid,
      });
    },
    lookup(/** @type {FileNode} */ parent, /** @type {string} */ name) {
      const path = `${parent.path}/${name}`;
      const entry = guard(() => files.statSync(path, { followLinks: false }));
      return make(parent, name, path, entry);
    },
    readdir(/** @type {FileNode} */ node) {
      const { entries, complete } = guard(() => files.listSync(node.path || "/"));
      if (!complete) raise(new Error(`${node.path} has more than ${entries.length} entries.`));
      for (const entry of entries) {
        if (!node.children.has(entry.name)) make(node, entry.name, `${node.path}/${entry.name}`, entry);
      }
      return [".", "..", ...entries.map(({ name }) => name)];
    },
    readlink: (/** @type {FileNode} */ node) => targetOf(node, folder),
    setattr: refuse,
    mknod: refuse,
    symlink: refuse,
    rename: refuse,
    unlink: refuse,
    rmdir: refuse,
  };
  const seek = llseek(FS, (node) => sizeOf(/** @type {FileNode} */ (node)));
  const streamOps = {
    open(/** @type {FileStream} */ { node, flags }) {
      if (flags & 3) refuse();
      refresh(node);
      if ((node.entry.size ?? null) === null) raise(new Error(`${node.path} has no size that can be read.`));
    },
    close() {},
    llseek: seek,
    read(
      /** @type {FileStream} */ { node },
      /** @type {ArrayBufferView} */ buffer,
      /** @type {number} */ offset,
      /** @type {number} */ length,
      /** @type {number} */ position,
    ) {
      const count = Math.max(0, Math.min(length, sizeOf(node) - position));
      guard(() => read(node, position, viewOf(buffer, offset, count)));
      return count;
    },
    write: refuse,
    mmap(
      /** @type {FileStream} */ { node },
      /** @type {number} */ length,
      /** @type {number} */ position,
      /** @type {number} */ protection,
      /** @type {number} */ flags,
    ) {
      const fill = (/** @type {Uint8Array} */ target) => guard(() => read(node, position, target));
      return mapCopy(FS, length, Math.min(length, sizeOf(node) - position), fill, protection, flags);
    },
    msync: () => 0,
  };

  /**
   * @param {Partial<FileNode>} parent
   * @param {string} name
   * @param {string} path
   * @param {Entry} entry
   */
  const make = (parent, name, path, entry) => {
    parent.children?.add(name); // so that it is made once
    const type = TYPES[entry.kind];
    // Everything may be read; what writes is refused with the right error by the operations.
    const node = FS.createNode(parent, name, type | 0o777, 0);
    Object.assign(node, { path, entry, node_ops: nodeOps, children: new Set() });
    node.stream_ops = type === FILE ? streamOps : { llseek: seek };
    return node;
  };
  return {
    /** @param {Partial<FileNode>} parent */
    root: (parent) => make(parent, "files", "", guard(() => files.statSync("/"))),
  };
}

/** Blocks of files, the least recently used of which are dropped. */
class BlockCache {
  /** @type {Map<string, Uint8Array>} */
  #blocks = new Map();
  #max;

  /** @param {number} max */
  constructor(max) {
    this.#max = max;
  }

  /**
   * @param {string} key
   * @param {() => Uint8Array} load
   */
  get(key, load) {
    const bytes = this.#blocks.get(key) ?? load();
    this.#blocks.delete(key);
    this.#blocks.set(key, bytes);
    for (const eldest of this.#blocks.keys()) {
      if (this.#blocks.size <= this.#max) break;
      this.#blocks.delete(eldest);
    }
    return bytes;
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {number} length
 */
function exactly(bytes, length) {
  if (bytes.length === length) return bytes;
  throw new Error(`A file became shorter while it was read: ${bytes.length} bytes instead of ${length}.`);
}

/**
 * Where a link leads in the program's file system. The volume is the root of its links.
 * @param {FileNode} node
 * @param {string} folder
 */
function targetOf({ path, entry }, folder) {
  const [, volume, ...parents] = path.split("/");
  const parts = (entry.target ?? "").split("/");
  const isAbsolute = !parts[0] || parts[0].endsWith(":");
  const walked = isAbsolute ? [] : parents.slice(0, -1);
  for (const part of isAbsolute ? parts.slice(1) : parts) {
    if (part === "..") walked.pop();
    else if (part && part !== ".") walked.push(part);
  }
  return [folder, volume, ...walked].join("/");
}

/** @param {number | null | undefined} seconds */
function milliseconds(seconds) {
  return (seconds ?? null) === null ? null : Number(seconds) * 1000;
}
