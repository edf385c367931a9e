/**
 * The files of this build. `scripts/build` replaces this module with one that names what it built. This
 * version has no snapshot, so whoever starts a worker must name the wheel.
 */

/**
 * A memory snapshot of Pyodide with this package imported (see `snapshot.mjs`).
 * @typedef {object} SnapshotFacts
 * @property {string} path of the compressed files next to this module, without `.gzip` and `.brotli`
 * @property {string[]} encodings how it was compressed: `gzip`, and maybe `brotli`
 * @property {number} bytes its length, not compressed
 * @property {string} head what Pyodide has in front of the memory, in base64
 * @property {number} memory bytes of the whole memory
 * @property {[number, number][]} runs where in it the snapshot's bytes go, one after the other: offset,
 *   length; all else is zero
 * @property {number} table the length of the function table
 * @property {string} check the checksum of the last run, in hex
 */

/** @type {{ wheel: string | null, snapshot: SnapshotFacts | null }} */
export const build = { wheel: null, snapshot: null };

/**
 * The URLs of the build's files, by their paths. `scripts/build` writes each as
 * `new URL("./path", import.meta.url)`, which bundlers see: they copy the file, and put its new name here.
 * @type {Record<string, string>}
 */
export const files = {};
