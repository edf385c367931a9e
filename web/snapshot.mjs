/**
 * The memory snapshot that Python starts from: fetched once, then kept in this origin's private files.
 *
 * Every snapshot is checked against the digest in `build.mjs` before Python answers anything, so a torn
 * file, a changed one and one of another build are all the same: there is none. The file is packed (see
 * `scripts/make_snapshot.mjs`): half of Pyodide's memory is zero.
 */

/** @typedef {import("./build.mjs").SnapshotFacts} SnapshotFacts */

/**
 * A snapshot in hand.
 * @typedef {object} Snapshot
 * @property {Uint8Array<ArrayBuffer>} packed
 * @property {boolean} kept whether it came from the private files
 * @property {Promise<boolean>} isWhole whether its digest is the one it must have
 */

/** Beside `cache/`, `images/` and `overlays/` of the package: clearing those leaves it alone. */
const FOLDER = ["aero-browser-disk", "quick-start"];
const PIECE = 1 << 20; // bytes written between two looks at the worker's messages

/**
 * The snapshot of that digest, from the private files or else from the build.
 * @param {SnapshotFacts} facts
 * @returns {Promise<Snapshot>} rejects when it is in neither place
 */
export async function loadSnapshot(facts) {
  const kept = await readKept(facts);
  const packed = kept ?? (await download(facts));
  const isWhole = hasDigest(packed, facts.sha256);
  isWhole.catch(() => {}); // who waits for it is told
  return { packed, kept: kept !== null, isWhole };
}

/**
 * What Pyodide takes for a snapshot: its head, with no memory after it. `restoreMemory` does that part.
 * @param {Uint8Array<ArrayBuffer>} packed
 */
export function headOf(packed) {
  const { head, at } = indexOf(packed);
  return packed.slice(at, at + head);
}

/**
 * Has Emscripten link Pyodide for Python alone: the work that only side modules would need is left out.
 *
 * It would give each of the 7,000 functions that Pyodide exports a place in the function table, and make
 * a WebAssembly function of each of WebGL's 280, a third of the time of such a start (measured: 95 of
 * 200 ms of this thread's work before Python runs). Nothing in the snapshot points to those places, as nothing
 * has loaded a side module. What does have a place has the same one: the table is as long as it was.
 * @param {Uint8Array<ArrayBuffer>} packed
 * @param {any} settings what Pyodide gives to Emscripten
 * @returns {() => void} to be called when the module is there
 */
export function linkForPython(packed, settings) {
  const { table: places } = indexOf(packed);
  const { instantiateWasm } = settings;
  /** @type {any} */
  let table = {};
  settings.instantiateWasm = (/** @type {any} */ imports, /** @type {any} */ receive) =>
    instantiateWasm(imports, (/** @type {any} */ instance, /** @type {WebAssembly.Module} */ module) => {
      const addresses = imports["GOT.func"];
      const nowhere = (/** @type {string} */ name) => (addresses[name].value = 0);
      for (const [name, value] of Object.entries(instance.exports)) {
        if (typeof value === "function") nowhere(name);
      }
      for (const { module: of, name } of WebAssembly.Module.imports(module)) {
        if (of === "GOT.func") nowhere(name);
      }
      table = instance.exports.__indirect_function_table;
      table.grow(places - table.length);
      // Else it is searched for functions that are there already.
      Object.defineProperty(table, "length", { value: 0, configurable: true });
      return receive(instance, module);
    });
  return () => delete table.length;
}

/**
 * Puts the memory back as it was, straight into the module. By way of Pyodide it would be copied twice,
 * zeros and all.
 * @param {Uint8Array<ArrayBuffer>} packed
 * @param {any} module Emscripten's, which has not run anything yet
 */
export function restoreMemory(packed, module) {
  const { head, memory, runs, at } = indexOf(packed);
  if (memory > module.HEAPU8.length) module.growMemory(memory);
  const target = module.HEAPU8;
  let from = at + head;
  let end = 0; // of the run before
  for (const [start, length] of runs) {
    target.fill(0, end, start);
    target.set(packed.subarray(from, from + length), start);
    from += length;
    end = start + length;
  }
  target.fill(0, end);
}

/**
 * @param {Uint8Array<ArrayBuffer>} packed
 * @returns {{ head: number, memory: number, runs: [number, number][], table: number, at: number }} as
 *   `make_snapshot.mjs` writes it, and where the head is
 */
function indexOf(packed) {
  const at = 4 + new DataView(packed.buffer, packed.byteOffset).getUint32(0, true);
  return { ...JSON.parse(new TextDecoder().decode(packed.subarray(4, at))), at };
}

/**
 * Keeps a snapshot for the next visit, in place of those of other builds. Where that is not to be had,
 * the next visit fetches it again.
 * @param {SnapshotFacts} facts
 * @param {Uint8Array<ArrayBuffer>} packed
 */
export async function keepSnapshot(facts, packed) {
  try {
    const folder = await openFolder({ create: true });
    const name = nameOf(facts);
    for await (const other of folder.keys()) {
      if (other !== name) await folder.removeEntry(other).catch(() => {}); // another tab reads it
    }
    if (!(await write(folder, name, packed))) await folder.removeEntry(name);
  } catch {
    // A private window, a full disk, another tab that is writing it now.
  }
}

/**
 * Forgets a snapshot that is no good.
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
function nameOf({ sha256 }) {
  return `${sha256}.snapshot`;
}

/** @param {FileSystemGetDirectoryOptions} [options] */
async function openFolder(options) {
  let folder = await navigator.storage.getDirectory();
  for (const name of FOLDER) folder = await folder.getDirectoryHandle(name, options);
  return folder;
}

/**
 * @param {SnapshotFacts} facts
 * @returns {Promise<Uint8Array<ArrayBuffer> | null>} null unless a file of the right length is there
 */
async function readKept(facts) {
  try {
    const file = await (await openFolder()).getFileHandle(nameOf(facts));
    return (await readAtOnce(file, facts.bytes)) ?? (await readShared(file, facts.bytes));
  } catch {
    return null;
  }
}

/**
 * @param {FileSystemFileHandle} file
 * @param {number} bytes
 * @returns {Promise<Uint8Array<ArrayBuffer> | null>} null while another tab has the file
 */
async function readAtOnce(file, bytes) {
  let handle;
  try {
    handle = await openHandle(file, { mode: "read-only" }); // Firefox ignores the mode
  } catch {
    return null;
  }
  try {
    if (handle.getSize() !== bytes) throw new Error("torn");
    const packed = new Uint8Array(bytes);
    if (handle.read(packed, { at: 0 }) !== bytes) throw new Error("torn");
    return packed;
  } finally {
    handle.close();
  }
}

/**
 * TypeScript knows of these handles in workers' types only, which exclude the page's.
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
  return found.size === bytes ? new Uint8Array(await found.arrayBuffer()) : null;
}

/**
 * @param {FileSystemDirectoryHandle} folder
 * @param {string} name
 * @param {Uint8Array<ArrayBuffer>} packed
 * @returns {Promise<boolean>} whether all of it was written
 */
async function write(folder, name, packed) {
  const file = await folder.getFileHandle(name, { create: true });
  const handle = await openHandle(file);
  try {
    handle.truncate(0);
    for (let at = 0; at < packed.length; at += PIECE) {
      const piece = packed.subarray(at, at + PIECE);
      if (handle.write(piece, { at }) !== piece.length) return false;
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
  const url = new URL(`${path}.${encoding}`, import.meta.url);
  const response = await fetch(url);
  if (!response.ok || !response.body) throw new Error(`${url} answered with status ${response.status}`);
  return new Uint8Array(await new Response(response.body.pipeThrough(stream)).arrayBuffer());
}

/**
 * The best encoding that this browser undoes. The worker does it, because a host may know of none.
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

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {string} sha256
 */
async function hasDigest(bytes, sha256) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}
