// Makes a memory snapshot of Pyodide with this package imported:
// node make_snapshot.mjs PYODIDE WHEEL OUT. The same inputs give the same bytes.
//
// Pyodide's snapshot is its whole heap, half of which is zero. OUT holds what is not: a Uint32 with
// the length of the JSON that follows, `{length, runs: [[offset, length], …]}`, and the runs' bytes.
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
  env: { HOME: "/home/pyodide", PYTHONHASHSEED: "0" },
});
pyodide.unpackArchive(new Uint8Array(readFileSync(wheel)), "wheel");
pyodide.runPython(readFileSync(new URL("snapshot_contents.py", import.meta.url), "utf8"));
writeFileSync(out, packed(pyodide.makeMemorySnapshot()));
process.exit(0); // Pyodide's streams keep Node waiting

/** @param {Uint8Array} snapshot */
function packed(snapshot) {
  const runs = [];
  for (let start = 0; start < snapshot.length; start += PAGE) {
    const page = snapshot.subarray(start, start + PAGE);
    if (page.every((byte) => byte === 0)) continue;
    const last = runs.at(-1);
    if (last && last[0] + last[1] === start) last[1] += page.length;
    else runs.push([start, page.length]);
  }
  const index = new TextEncoder().encode(JSON.stringify({ length: snapshot.length, runs }));
  return Buffer.concat([
    new Uint8Array(Uint32Array.of(index.length).buffer),
    index,
    ...runs.map(([start, length]) => snapshot.subarray(start, start + length)),
  ]);
}
