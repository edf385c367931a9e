// Makes a memory snapshot of Pyodide with this package imported:
// node make_snapshot.mjs PYODIDE WHEEL OUT. The same inputs give the same bytes.
//
// Pyodide's snapshot is a head and its whole memory, half of which is zero. OUT holds what is not zero,
// run after run; OUT.json holds the rest, see `SnapshotFacts` in web/lib/build.mjs.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { checksum } from "../../web/lib/snapshot.mjs";

const PAGE = 4096;
const [pyodideFolder, wheel, out] = process.argv.splice(1).slice(1).map((path) => resolve(path));

// What the heap would hold of this machine and this moment: its arguments (gone, see above), the
// time, random numbers. `worker.py` seeds `random` anew when it wakes.
const SOURCE_DATE = 1_580_601_600_000; // as wheels.py has it
Date.now = () => SOURCE_DATE;
performance.now = () => 0;
createRequire(import.meta.url)("node:crypto").randomFillSync = (view) => view.fill(1);

const { loadPyodide } = await import(pathToFileURL(`${pyodideFolder}/pyodide.mjs`).href);
const pyodide = await loadPyodide({
  indexURL: pyodideFolder,
  _makeSnapshot: true,
  env: { PYTHONHASHSEED: "0" },
});
pyodide.unpackArchive(new Uint8Array(readFileSync(wheel)), "wheel");
pyodide.runPython(readFileSync(new URL("snapshot_contents.py", import.meta.url), "utf8"));
const snapshot = pyodide.makeMemorySnapshot();
const headLength = new Uint32Array(snapshot.buffer, snapshot.byteOffset)[1];
const memory = snapshot.subarray(headLength);
const runs = runsIn(memory);
const packed = Buffer.concat(runs.map(([start, length]) => memory.subarray(start, start + length)));
const facts = {
  head: Buffer.from(snapshot.subarray(0, headLength)).toString("base64"),
  memory: memory.length,
  runs,
  table: pyodide._module.wasmTable.length,
  check: checkOf(pyodide._module),
};
writeFileSync(out, packed);
writeFileSync(`${out}.json`, JSON.stringify(facts));
process.exit(0); // Pyodide's streams keep Node waiting

/**
 * Where there is a byte that is not zero, in whole pages.
 * @param {Uint8Array} memory
 * @returns {[number, number][]} offsets and lengths
 */
function runsIn(memory) {
  const runs = [];
  for (let start = 0; start < memory.length; start += PAGE) {
    if (memory.subarray(start, start + PAGE).every((byte) => byte === 0)) continue;
    const last = runs.at(-1);
    if (last && last[0] + last[1] === start) last[1] += PAGE;
    else runs.push([start, PAGE]);
  }
  return runs;
}

/**
 * The checksum of the runs, as `snapshot.mjs` computes it.
 * @param {any} module
 */
function checkOf(module) {
  let at = module._malloc(packed.length);
  module.HEAPU8.set(packed, at);
  let check = 0n;
  for (const [, length] of runs) {
    check = checksum(module, at, length, check);
    at += length;
  }
  return BigInt.asUintN(64, check).toString(16);
}
