// Makes a memory snapshot of Pyodide with this package imported:
// node make_snapshot.mjs PYODIDE WHEEL LATER OUT. The same inputs give the same bytes. LATER is the
// archive of the modules that the browser fetches when the first of them is imported.
//
// The modules are imported twice: first to see which they are, then, by another Python, from files
// that hold them compiled and without docstrings. Compiling leaves gaps in the memory.
//
// Pyodide's snapshot is a head and its whole memory. OUT holds the pages that are neither zero nor
// WebAssembly's initial data, OUT.data that data, OUT.json the rest: `SnapshotFacts` in
// web/lib/build.mjs.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { linkForPython } from "../../web/lib/python.mjs";
import { checksum } from "../../web/lib/snapshot.mjs";

const PAGE = 4096;
const [pyodideFolder, wheel, later, out] = process.argv.splice(1).slice(1).map((path) => resolve(path));

// What the heap would hold of this machine and this moment: its arguments (gone, see above), the
// time, random numbers. `python.mjs` seeds `random` anew when it wakes.
const SOURCE_DATE = 1_580_601_600_000; // as wheels.py has it
Date.now = () => SOURCE_DATE;
performance.now = () => 0;
createRequire(import.meta.url)("node:crypto").randomFillSync = (view) => view.fill(1);

const { loadPyodide } = await import(pathToFileURL(`${pyodideFolder}/pyodide.mjs`).href);
const { library, packages } = await compactModules();
const pyodide = await loadPyodide({
  indexURL: pyodideFolder,
  stdLibURL: library,
  _makeSnapshot: true,
  // Tracebacks without columns save a tenth.
  env: { PYTHONHASHSEED: "0", PYTHONNODEBUGRANGES: "1" },
});
pyodide.unpackArchive(packages, "wheel");
run(pyodide, "snapshot_contents.py");
pyodide.FS.mkdir("/served");
const served = readFileSync(`${pyodideFolder}/python_stdlib.zip`);
pyodide.FS.writeFile("/served/library.zip", served);
pyodide.FS.writeFile("/served/later.zip", readFileSync(later));
run(pyodide, "snapshot_last_steps.py");
clearFreeMemory(pyodide._module);
const snapshot = pyodide.makeMemorySnapshot();
const headLength = new Uint32Array(snapshot.buffer, snapshot.byteOffset)[1];
const head = snapshot.subarray(0, headLength);
const memory = snapshot.subarray(headLength);
const table = pyodide._module.wasmTable.length;
const data = await initialData(head, table);
const runs = runsIn(memory, data);
const packed = Buffer.concat(
  runs.flatMap(([start, length, isStored]) => (isStored ? memory.subarray(start, start + length) : [])),
);
const facts = {
  head: Buffer.from(head).toString("base64"),
  memory: memory.length,
  runs,
  data: data.length,
  table,
  check: checkOf(pyodide._module),
  library: served.length,
};
writeFileSync(out, packed);
writeFileSync(`${out}.data`, data);
writeFileSync(`${out}.json`, JSON.stringify(facts));
process.exit(0); // Pyodide's streams keep Node waiting

/**
 * @param {any} python
 * @param {string} name of a file beside this one
 */
function run(python, name) {
  python.runPython(readFileSync(new URL(name, import.meta.url), "utf8"));
}

/** What is imported, compiled and without docstrings: the standard library's part as a URL. */
async function compactModules() {
  const python = await loadPyodide({ indexURL: pyodideFolder, env: { PYTHONHASHSEED: "0" } });
  python.unpackArchive(new Uint8Array(readFileSync(wheel)), "wheel");
  run(python, "snapshot_contents.py");
  run(python, "compact_modules.py");
  const library = `${out}.library.zip`;
  writeFileSync(library, python.FS.readFile("/compact/library.zip"));
  return { library, packages: python.FS.readFile("/compact/packages.zip") };
}

/**
 * Makes zeros of what was freed: takes all free memory, without letting the heap grow, and frees it.
 * @param {any} module
 */
function clearFreeMemory(module) {
  module._malloc_set_footprint_limit(module._malloc_footprint());
  const taken = [];
  for (let size = 1 << 24; size >= 8; size /= 2) {
    for (let at = module._malloc(size); at !== 0; at = module._malloc(size)) {
      module.HEAPU8.fill(0, at, at + module._malloc_usable_size(at));
      taken.push(at);
    }
  }
  for (const at of taken) module._free(at);
  module._malloc_set_footprint_limit(-1); // none
}

/**
 * The memory as WebAssembly's data segments make it, up to its last byte that is not zero.
 * @param {Uint8Array} head
 * @param {number} table
 * @returns {Promise<Uint8Array>}
 */
async function initialData(head, table) {
  const { default: create } = await import(pathToFileURL(`${pyodideFolder}/pyodide.asm.mjs`).href);
  return new Promise((resolve, reject) => {
    const createPyodideModule = async (settings) => {
      const { dataOf } = linkForPython({ table, data: Infinity }, settings);
      await create(settings);
      const data = dataOf();
      resolve(data.subarray(0, data.findLastIndex((byte) => byte !== 0) + 1));
      return new Promise(() => {});
    };
    loadPyodide({ indexURL: pyodideFolder, _loadSnapshot: head, createPyodideModule }).catch(reject);
  });
}

/**
 * The pages that are not zero. Those that the browser has already are not stored.
 * @param {Uint8Array} memory
 * @param {Uint8Array} data
 * @returns {[number, number, 0 | 1][]} offset, length, whether it is stored
 */
function runsIn(memory, data) {
  const runs = [];
  for (let start = 0; start < memory.length; start += PAGE) {
    const page = Buffer.from(memory.buffer, memory.byteOffset + start, PAGE);
    if (page.every((byte) => byte === 0)) continue;
    const isStored = page.equals(data.subarray(start, start + PAGE)) ? 0 : 1;
    const last = runs.at(-1);
    if (last && last[0] + last[1] === start && last[2] === isStored) last[1] += PAGE;
    else runs.push([start, PAGE, isStored]);
  }
  return runs;
}

/**
 * The checksum of the runs, as `snapshot.mjs` computes it.
 * @param {any} module
 */
function checkOf(module) {
  const longest = Math.max(...runs.map(([, length]) => length));
  const at = module._malloc(longest);
  let check = 0n;
  for (const [start, length] of runs) {
    module.HEAPU8.set(memory.subarray(start, start + length), at);
    check = checksum(module, at, length, check);
  }
  return BigInt.asUintN(64, check).toString(16);
}
