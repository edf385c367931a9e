// Makes a memory snapshot of Pyodide with this package imported:
// node make_snapshot.mjs PYODIDE WHEEL OUT. The same inputs give the same bytes.
//
// Pyodide's snapshot is a head and its whole memory, half of which is zero. OUT holds what is not: a
// Uint32 with the length of the JSON that follows, `{head, memory, runs: [[offset, length], …], table}`
// with two lengths, places in memory and the length of the function table, and the bytes of the head and
// of the runs.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

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
writeFileSync(out, packed(pyodide.makeMemorySnapshot()));
process.exit(0); // Pyodide's streams keep Node waiting

/** @param {Uint8Array} snapshot */
function packed(snapshot) {
  const head = new Uint32Array(snapshot.buffer, snapshot.byteOffset)[1];
  const memory = snapshot.subarray(head);
  const runs = [];
  for (let start = 0; start < memory.length; start += PAGE) {
    if (memory.subarray(start, start + PAGE).every((byte) => byte === 0)) continue;
    const last = runs.at(-1);
    if (last && last[0] + last[1] === start) last[1] += PAGE;
    else runs.push([start, PAGE]);
  }
  const table = pyodide._module.wasmTable.length;
  const facts = { head, memory: memory.length, runs, table };
  const index = new TextEncoder().encode(JSON.stringify(facts));
  return Buffer.concat([
    new Uint8Array(Uint32Array.of(index.length).buffer),
    index,
    snapshot.subarray(0, head),
    ...runs.map(([start, length]) => memory.subarray(start, start + length)),
  ]);
}
