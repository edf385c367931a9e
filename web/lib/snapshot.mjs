/**
 * The memory snapshot that Python starts from: fetched once, then stored in this origin's private files.
 *
 * Every snapshot is checked against the checksum in `build.mjs` before Python runs, so a torn file, a
 * changed one and one of another build all count as missing. It leaves out zeros, half of
 * Pyodide's memory (see `scripts/building/make_snapshot.mjs`).
 */

import { urlOfFile } from "./build-files.mjs";

/** @typedef {import("./build.mjs").SnapshotFacts} SnapshotFacts */

/**
 * An open snapshot.
 * @typedef {object} Snapshot
 * @property {boolean} kept whether it came from the private files
 * @property {Uint8Array<ArrayBuffer> | null} bytes all of it, if it is in memory
 * @property {(target: Uint8Array, at: number) => boolean} read fills `target` with bytes from `at`
 *   on; false if some are missing
 * @property {() => void} close
 */

/** Next to the package's `cache/`, `images/` and `overlays/`; clearing those leaves it alone. */
const FOLDER = ["aero-browser-disk", "quick-start"];
const DAMAGED = "the snapshot is damaged";
const CHUNK = 1 << 20; // bytes written before the worker handles messages again

/**
 * Opens the snapshot of a build, from the private files or else from the site.
 * @param {SnapshotFacts} facts
 * @returns {Promise<Snapshot>} rejects if it is in neither
 */
export async function openSnapshot(facts) {
  return (await openKept(facts)) ?? inMemory(await download(facts), false);
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
 */
export function restoreMemory({ memory, runs, check }, snapshot, module) {
  if (memory > module.HEAPU8.length) module.growMemory(memory);
  const target = module.HEAPU8;
  let at = 0;
  let end = 0; // of the run before
  let found = 0n;
  for (const [start, length] of runs) {
    target.fill(0, end, start);
    end = start + length;
    if (!snapshot.read(target.subarray(start, end), at)) throw new Error(DAMAGED);
    at += length;
    found = checksum(module, start, length, found);
  }
  target.fill(0, end);
  if (BigInt.asUintN(64, found).toString(16) !== check) throw new Error(DAMAGED);
}

/**
 * The checksum of a run in the module's memory, continued from the run before: zstd's XXH64, which
 * Pyodide includes. (SHA-256 takes ten times as long, with the copy that it needs.)
 * @param {any} module
 * @param {number} at
 * @param {number} length
 * @param {bigint} seed
 * @returns {bigint}
 */
export function checksum(module, at, length, seed) {
  // It treats address 0 as a null pointer.
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
    // A private window, a full disk, another tab that is writing it now.
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
    // It is not there.
  }
}

/** @param {SnapshotFacts} facts */
function nameOf({ path }) {
  return path.slice(path.lastIndexOf("/") + 1);
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
  return { kept: true, bytes: null, read, close };
}

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {boolean} kept
 * @returns {Snapshot}
 */
function inMemory(bytes, kept) {
  const read = (/** @type {Uint8Array} */ target, /** @type {number} */ at) => {
    if (at + target.length > bytes.length) return false;
    target.set(bytes.subarray(at, at + target.length));
    return true;
  };
  return { kept, bytes, read, close() {} };
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
  return found.size === bytes ? inMemory(new Uint8Array(await found.arrayBuffer()), true) : null;
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
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
async function download({ path, encodings }) {
  const [encoding, stream] = decompressor(encodings);
  const url = urlOfFile(`${path}.${encoding}`);
  const response = await fetch(url);
  if (!response.ok || !response.body) throw new Error(`${url} returned status ${response.status}`);
  return new Uint8Array(await new Response(response.body.pipeThrough(stream)).arrayBuffer());
}

/**
 * The best encoding that this browser can decode. The worker decodes it, because a server may support none.
 * @param {string[]} encodings
 * @returns {[string, ReadableWritablePair<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>]}
 */
function decompressor(encodings) {
  if (encodings.includes("brotli")) {
    try {
      return ["brotli", new DecompressionStream(/** @type {CompressionFormat} */ ("brotli"))];
    } catch {
      // Not in this browser.
    }
  }
  return ["gzip", new DecompressionStream("gzip")];
}
