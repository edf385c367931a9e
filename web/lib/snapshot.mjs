/**
 * The memory snapshot that Python starts from: fetched once, then stored in this origin's private files.
 *
 * Every snapshot is checked against the checksum in `build.mjs` before Python runs, so a torn file, a
 * changed one and one of another build all count as missing. A snapshot leaves out zeros and WebAssembly's
 * initial data (see `scripts/building/make_snapshot.mjs`). It is compressed by zstd, which not every browser
 * can decompress; Pyodide includes it.
 */

import { urlOfFile } from "./build-files.mjs";

/**
 * @typedef {import("./build.mjs").SnapshotFacts} SnapshotFacts
 * @typedef {import("./start-progress.mjs").StartProgress} StartProgress
 */

/**
 * An open snapshot.
 * @typedef {object} Snapshot
 * @property {boolean} kept whether it came from the private files
 * @property {Uint8Array<ArrayBuffer> | null} compressed all of it, if it was just downloaded
 * @property {(target: Uint8Array, at: number) => boolean} read fills `target` with bytes from `at`
 *   on, of the snapshot before it was compressed; false if some are missing
 * @property {() => void} close
 */

/** Next to the package's `cache/`, `images/` and `overlays/`; clearing those leaves it alone. */
const FOLDER = ["aero-browser-disk", "quick-start"];
const DAMAGED = "the snapshot is damaged";
const CHUNK = 1 << 20; // bytes written before the worker handles messages again

/**
 * Opens the snapshot of a build, from the private files or else from the site.
 * @param {SnapshotFacts} facts
 * @param {StartProgress} progress of the download, if it is not in the private files
 * @returns {Promise<Snapshot>} rejects if it is in neither
 */
export async function openSnapshot(facts, progress) {
  const kept = await openKept(facts);
  if (!kept) return download(facts, progress);
  progress.end(); // little is downloaded, if anything
  return kept;
}

/**
 * The snapshot's head alone, which Pyodide accepts as a snapshot. `restoreMemory` restores the memory.
 * @param {SnapshotFacts} facts
 */
export function headOf({ head }) {
  return Uint8Array.from(atob(head), (letter) => letter.charCodeAt(0));
}

/**
 * Restores the memory directly in the module; Pyodide would copy it twice, with all zeros. Throws if the
 * snapshot is not the one that was built.
 * @param {SnapshotFacts} facts
 * @param {Snapshot} snapshot
 * @param {any} module Emscripten's module, before Python has run
 * @param {Uint8Array} data WebAssembly's initial data
 * @returns {Uint8Array<ArrayBuffer> | null} the decompressed snapshot, if it was downloaded
 */
export function restoreMemory(facts, snapshot, module, data) {
  const { memory, runs, check } = facts;
  const unpacked = snapshot.compressed && decompress(facts, snapshot.compressed, module, data);
  const read = unpacked ? readerOf(unpacked) : snapshot.read;
  if (memory > module.HEAPU8.length) module.growMemory(memory);
  const target = module.HEAPU8;
  let at = 0;
  let end = 0; // of the previous run
  let found = 0n;
  for (const [start, length, isStored] of runs) {
    target.fill(0, end, start);
    end = start + length;
    if (isStored) {
      if (!read(target.subarray(start, end), at)) throw new Error(DAMAGED);
      at += length;
    } else target.set(data.subarray(start, end), start);
    found = checksum(module, start, length, found);
  }
  target.fill(0, end);
  if (BigInt.asUintN(64, found).toString(16) !== check) throw new Error(DAMAGED);
  return unpacked;
}

/**
 * Decompresses a snapshot by zstd in the module's memory, above the part that will be restored.
 * @param {SnapshotFacts} facts
 * @param {Uint8Array} compressed
 * @param {any} module Emscripten's module, before Python has run
 * @param {Uint8Array} prefix
 * @returns {Uint8Array<ArrayBuffer>}
 */
function decompress({ memory, bytes }, compressed, module, prefix) {
  const contextLength = module._ZSTD_estimateDCtxSize();
  const contextAt = Math.max(memory, module.HEAPU8.length);
  const prefixAt = contextAt + contextLength;
  const source = prefixAt + prefix.length;
  const target = source + compressed.length;
  module.growMemory(target + bytes);
  module.HEAPU8.set(prefix, prefixAt);
  module.HEAPU8.set(compressed, source);
  const context = module._ZSTD_initStaticDCtx(contextAt, contextLength);
  module._ZSTD_DCtx_refPrefix(context, prefixAt, prefix.length);
  const length = module._ZSTD_decompressDCtx(context, target, bytes, source, compressed.length);
  if (length !== bytes) throw new Error(DAMAGED);
  return module.HEAPU8.slice(target, target + bytes);
}

/**
 * The checksum of a run in the module's memory, continued from the previous run: zstd's XXH64, which
 * Pyodide includes. (SHA-256 takes ten times as long, including the copy that it needs.)
 * @param {any} module
 * @param {number} at
 * @param {number} length
 * @param {bigint} seed
 * @returns {bigint}
 */
export function checksum(module, at, length, seed) {
  // XXH64 treats address 0 as a null pointer.
  const first = new DataView(module.HEAPU8.buffer, at, 8).getBigInt64(0, true);
  return module._ZSTD_XXH64(at + 8, length - 8, seed ^ first);
}

/**
 * Stores a snapshot for the next visit and removes those of other builds. If that fails, the next visit
 * fetches it again.
 * @param {SnapshotFacts} facts
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
export async function keepSnapshot(facts, bytes) {
  try {
    const folder = await openFolder({ create: true });
    const name = nameOf(facts);
    for await (const other of folder.keys()) {
      if (other !== name) await folder.removeEntry(other).catch(() => {}); // another tab reads it
    }
    if (!(await write(folder, name, bytes))) await folder.removeEntry(name);
  } catch {
    // A private window, a full disk, or another tab that is writing it now.
  }
}

/**
 * Removes a damaged snapshot.
 * @param {SnapshotFacts} facts
 */
export async function forgetSnapshot(facts) {
  try {
    await (await openFolder()).removeEntry(nameOf(facts));
  } catch {
    // There is no such file.
  }
}

/** @param {SnapshotFacts} facts */
function nameOf({ path }) {
  return path.slice(path.lastIndexOf("/") + 1).replace(/\.zst$/, "");
}

/** @param {FileSystemGetDirectoryOptions} [options] */
async function openFolder(options) {
  let folder = await navigator.storage.getDirectory();
  for (const name of FOLDER) folder = await folder.getDirectoryHandle(name, options);
  return folder;
}

/**
 * @param {SnapshotFacts} facts
 * @returns {Promise<Snapshot | null>} null unless a file of the right length exists
 */
async function openKept(facts) {
  try {
    const file = await (await openFolder()).getFileHandle(nameOf(facts));
    return (await openAtOnce(file, facts.bytes)) ?? (await readShared(file, facts.bytes));
  } catch {
    return null;
  }
}

/**
 * @param {FileSystemFileHandle} file
 * @param {number} bytes
 * @returns {Promise<Snapshot | null>} null while another tab has the file
 */
async function openAtOnce(file, bytes) {
  let handle;
  try {
    handle = await openHandle(file, { mode: "read-only" }); // Firefox ignores the mode
  } catch {
    return null;
  }
  const close = () => handle.close();
  if (handle.getSize() !== bytes) {
    close();
    throw new Error("torn");
  }
  const read = (/** @type {Uint8Array} */ target, /** @type {number} */ at) =>
    handle.read(target, { at }) === target.length;
  return { kept: true, compressed: null, read, close };
}

/**
 * @param {Uint8Array} bytes
 * @returns {Snapshot["read"]}
 */
function readerOf(bytes) {
  return (target, at) => {
    if (at + target.length > bytes.length) return false;
    target.set(bytes.subarray(at, at + target.length));
    return true;
  };
}

/**
 * TypeScript has these handles only in its worker types, which exclude the page's.
 * @typedef {object} SyncHandle
 * @property {() => number} getSize
 * @property {(bytes: Uint8Array, options: { at: number }) => number} read
 * @property {(bytes: Uint8Array, options: { at: number }) => number} write
 * @property {(size: number) => void} truncate
 * @property {() => void} flush
 * @property {() => void} close
 */

/**
 * @param {FileSystemFileHandle} file
 * @param {{ mode?: "read-only" }} [options]
 * @returns {Promise<SyncHandle>}
 */
function openHandle(file, options) {
  return /** @type {any} */ (file).createSyncAccessHandle(options);
}

/**
 * @param {FileSystemFileHandle} file
 * @param {number} bytes
 */
async function readShared(file, bytes) {
  const found = await file.getFile();
  if (found.size !== bytes) return null;
  const read = readerOf(new Uint8Array(await found.arrayBuffer()));
  return { kept: true, compressed: null, read, close() {} };
}

/**
 * @param {FileSystemDirectoryHandle} folder
 * @param {string} name
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<boolean>} whether all of it was written
 */
async function write(folder, name, bytes) {
  const file = await folder.getFileHandle(name, { create: true });
  const handle = await openHandle(file);
  try {
    handle.truncate(0);
    for (let at = 0; at < bytes.length; at += CHUNK) {
      const chunk = bytes.subarray(at, at + CHUNK);
      if (handle.write(chunk, { at }) !== chunk.length) return false;
      await new Promise((resolve) => setTimeout(resolve));
    }
    handle.flush();
    return true;
  } finally {
    handle.close();
  }
}

/**
 * @param {SnapshotFacts} facts
 * @param {StartProgress} progress
 * @returns {Promise<Snapshot>}
 */
async function download({ path }, progress) {
  const url = urlOfFile(path);
  progress.expect(path);
  progress.begin();
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} returned status ${response.status}`);
  progress.count(path, response);
  const compressed = new Uint8Array(await response.arrayBuffer());
  return { kept: false, compressed, read: () => false, close() {} };
}
