/**
 * The files of this build. `scripts/build` replaces this module with one that names what it built. This
 * version has no snapshot, so whoever starts a worker must name the wheel.
 */

/**
 * A memory snapshot of Pyodide with this package imported (see `snapshot.mjs`).
 * @typedef {object} SnapshotFacts
 * @property {string} path of the file next to this module; it is compressed by zstd
 * @property {number} bytes its length, not compressed
 * @property {string} head Pyodide's header, which comes before the memory, in base64
 * @property {number} memory bytes of the whole memory
 * @property {[number, number, number][]} runs the parts that are not zero: offset, length, and 1 if these
 *   bytes are the snapshot's next ones, or 0 if they are WebAssembly's initial data
 * @property {number} data bytes of the initial data, from address 0 on; the snapshot was compressed
 *   with them as its prefix
 * @property {number} table the length of the function table
 * @property {string} check the checksum of the last run, in hex
 * @property {string} later path of the archive with the modules that are not in the snapshot
 * @property {number} library bytes of Python's standard library, `python_stdlib.zip`
 */

/** @type {{ wheel: string | null, snapshot: SnapshotFacts | null }} */
export const build = { wheel: null, snapshot: null };

/**
 * The URLs of the build's files, by their paths. `scripts/build` writes each as
 * `new URL("./path", import.meta.url)`, which bundlers see: they copy the file, and put its new name here.
 * @type {Record<string, string>}
 */
export const files = {};

/**
 * The lengths of these files in bytes, not compressed.
 * @type {Record<string, number>}
 */
export const sizes = {};
