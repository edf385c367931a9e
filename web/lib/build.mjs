/**
 * What belongs to this worker: `scripts/build` writes this module anew, with the names of what it
 * built. As it stands here there is no snapshot, and whoever starts a worker names the wheel.
 */

/**
 * A memory snapshot of Pyodide with this package imported (see `snapshot.mjs`).
 * @typedef {object} SnapshotFacts
 * @property {string} path of the compressed files beside this module, less `.gzip` and `.brotli`
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
