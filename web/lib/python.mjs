/**
 * Starts Python with the package: from a memory snapshot if there is one, else from the wheel.
 */

import { build, sizes } from "./build.mjs";
import { compileFile, fetchFile, importFile, urlOfFile } from "./build-files.mjs";
import { forgetSnapshot, headOf, keepSnapshot, openSnapshot, restoreMemory } from "./snapshot.mjs";
import { StartProgress } from "./start-progress.mjs";

/**
 * URLs of the files; null for those of this module's build.
 * @typedef {{ pyodideUrl: string | null, wheelUrl: string | null }} Urls
 */

/**
 * How Python started: from the stored snapshot, from a fetched one, or from the wheel, with the reason
 * why no snapshot was used.
 * @typedef {{ from: "kept snapshot" | "snapshot" | "wheel", ms: number, reason?: string }} StartFacts
 */

/**
 * @typedef {any} Pyodide
 * @typedef {import("./build.mjs").SnapshotFacts} SnapshotFacts
 * @typedef {import("./snapshot.mjs").Snapshot} Snapshot
 * @typedef {import("./start-progress.mjs").OnStartProgress} OnStartProgress
 */

/** Paths of the large files in the build. */
const WASM = "pyodide/pyodide.asm.wasm";
const LIBRARY = "pyodide/python_stdlib.zip";

/** Where the snapshot has the archive of the modules that are not in it. */
const LATER = "aero-browser-disk-later.zip";

/** The address of an empty standard library, which is not fetched. */
const NO_LIBRARY = "no-library:zip";
const INPUT_OUTPUT_ERROR = 29; // WASI's error number, which Emscripten uses

/**
 * @param {Urls} urls
 * @param {OnStartProgress} [onProgress] of the downloads; not called if the snapshot is a stored one
 * @returns {Promise<{ pyodide: Pyodide, facts: StartFacts }>}
 */
export async function startPython({ pyodideUrl, wheelUrl }, onProgress = () => {}) {
  const started = performance.now();
  /** @param {Pyodide} pyodide @param {Omit<StartFacts, "ms">} how */
  const done = (pyodide, how) => ({ pyodide, facts: { ...how, ms: performance.now() - started } });
  let reason = "this build has none";
  if (build.snapshot && !wheelUrl) {
    const progress = new StartProgress(sizes, onProgress);
    const opening = openSnapshot(build.snapshot, progress);
    try {
      const { pyodide, unpacked } = await wake(pyodideUrl, build.snapshot, opening, progress);
      const { kept, close } = await opening;
      close();
      progress.finish();
      if (unpacked) keepLater(build.snapshot, unpacked);
      return done(pyodide, { from: kept ? "kept snapshot" : "snapshot" });
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
      progress.end();
      (await opening.catch(() => null))?.close();
      await forgetSnapshot(build.snapshot);
    }
  }
  const wheel = wheelUrl ?? (build.wheel && urlOfFile(build.wheel));
  if (!wheel) throw new Error("no wheel is named, and scripts/build did not make this site");
  const progress = new StartProgress(sizes, onProgress);
  const pyodide = await install(pyodideUrl, wheel, progress);
  progress.finish();
  return done(pyodide, { from: "wheel", reason });
}

/**
 * Restores Pyodide from the snapshot. Python does not run before the memory's checksum was verified.
 * Returns the decompressed snapshot too, if it was downloaded.
 * @param {string | null} pyodideUrl
 * @param {SnapshotFacts} facts
 * @param {Promise<Snapshot>} opening
 * @param {StartProgress} progress
 * @returns {Promise<{ pyodide: Pyodide, unpacked: Uint8Array<ArrayBuffer> | null }>}
 */
async function wake(pyodideUrl, facts, opening, progress) {
  let trampoline = () => {};
  /** @type {Uint8Array<ArrayBuffer> | null} */
  let unpacked = null;
  opening.catch(() => {}); // reported below
  const options = { _loadSnapshot: headOf(facts), stdLibURL: NO_LIBRARY };
  const pyodide = await load(pyodideUrl, options, progress, async (settings, make) => {
    const { linked, dataOf } = linkForPython(facts, settings);
    const module = await make(settings);
    linked();
    trampoline = trampolineOf(module);
    unpacked = restoreMemory(facts, await opening, module, dataOf());
    fetchModulesWhenRead(module.FS, facts, urlOfPyodide(pyodideUrl, "python_stdlib.zip"));
    return module;
  });
  trampoline();
  pyodide.pyimport("random").seed(); // otherwise every start from this snapshot draws the same numbers
  return { pyodide, unpacked };
}

/**
 * Loads Pyodide and installs the wheel.
 * @param {string | null} pyodideUrl
 * @param {string} wheel
 * @param {StartProgress} progress
 * @returns {Promise<Pyodide>}
 */
async function install(pyodideUrl, wheel, progress) {
  progress.expect(LIBRARY);
  progress.begin();
  const [pyodide, response] = await Promise.all([load(pyodideUrl, {}, progress), fetchFile(wheel)]);
  pyodide.unpackArchive(await response.arrayBuffer(), "wheel");
  return pyodide;
}

/**
 * Runs `loadPyodide` faster. On its own it fetches its parts one after the other and compiles last; here
 * everything starts at once.
 * @param {string | null} pyodideUrl the folder of its files; null for those of this build
 * @param {Record<string, unknown>} options
 * @param {StartProgress} progress
 * @param {(settings: any, make: (settings: any) => Promise<any>) => Promise<any>} [making] creates
 *   Emscripten's module
 * @returns {Promise<Pyodide>}
 */
async function load(pyodideUrl, options, progress, making = (settings, make) => make(settings)) {
  const urlOf = (/** @type {string} */ name) => urlOfPyodide(pyodideUrl, name);
  progress.expect(WASM);
  const compiled = compileFile(urlOf("pyodide.asm.wasm"), (response) => progress.count(WASM, response));
  const factory = importFile(urlOf("pyodide.asm.mjs"));
  const failed = Promise.all([compiled, factory]).then(() => new Promise(() => {})); // never resolves
  const loader = importFile(urlOf("pyodide.mjs"));
  const indexURL = new URL("./", urlOf("pyodide.mjs")).href;
  const libraryUrl = urlOf("python_stdlib.zip");
  const count = (/** @type {string} */ url, /** @type {Response} */ response) => {
    if (url === libraryUrl) progress.count(LIBRARY, response);
  };
  const giveBack = handOver(`${indexURL}pyodide.asm.wasm`, compiled, count); // bundlers rename the file
  try {
    /** @param {unknown} settings */
    const createPyodideModule = async (settings) => making(settings, (await factory).default);
    const { loadPyodide } = await Promise.race([loader, failed]);
    const urls = { indexURL, lockFileURL: urlOf("pyodide-lock.json"), stdLibURL: libraryUrl };
    const loading = loadPyodide({ ...urls, createPyodideModule, ...options });
    // Without this race Pyodide waits forever if the module does not compile.
    return await Promise.race([loading, failed]);
  } finally {
    giveBack();
  }
}

/**
 * @param {string | null} pyodideUrl
 * @param {string} name of one of Pyodide's files
 */
function urlOfPyodide(pyodideUrl, name) {
  return pyodideUrl ? new URL(name, pyodideUrl).href : urlOfFile(`pyodide/${name}`);
}

/**
 * Makes Pyodide use a module that is already being compiled, instead of fetching and compiling it. No
 * setting does that and leaves the module's private imports to Pyodide.
 * @param {string} wasmUrl
 * @param {Promise<WebAssembly.Module>} compiled
 * @param {(url: string, response: Response) => void} count gets the responses that Pyodide asks for
 */
function handOver(wasmUrl, compiled, count) {
  const { fetch: plainFetch } = self;
  const { instantiateStreaming } = WebAssembly;
  /** @type {(source: any, options?: any) => Promise<any>} */
  const fetchOrModule = async (source, options) => {
    if (String(source) === wasmUrl) return compiled;
    if (String(source) === NO_LIBRARY) return new Response("");
    const response = await plainFetch(source, options);
    count(String(source), response);
    return response;
  };
  self.fetch = fetchOrModule;
  /** @type {(source: any, imports?: any) => Promise<any>} */
  const instantiate = async (source, imports) => {
    const module = await source;
    return { module, instance: await WebAssembly.instantiate(module, imports) };
  };
  WebAssembly.instantiateStreaming = instantiate;
  return () => {
    self.fetch = plainFetch;
    WebAssembly.instantiateStreaming = instantiateStreaming;
  };
}

/**
 * Makes the archives of modules that are not in the snapshot files that are fetched when Python first
 * reads them: the standard library, of which the snapshot has what this package imports, and the modules
 * of this package that few pages use.
 * @param {any} FS Emscripten's
 * @param {SnapshotFacts} facts
 * @param {string} libraryUrl
 */
function fetchModulesWhenRead(FS, facts, libraryUrl) {
  const library = FS.readdir("/lib").find((/** @type {string} */ name) => name.endsWith(".zip"));
  FS.writeFile(`/lib/${LATER}`, "");
  fetchWhenRead(FS, `/lib/${library}`, libraryUrl, facts.library);
  fetchWhenRead(FS, `/lib/${LATER}`, urlOfFile(facts.later), sizes[facts.later] ?? 0);
}

/**
 * @param {any} FS Emscripten's
 * @param {string} path of an empty file
 * @param {string} url
 * @param {number} bytes its length
 */
function fetchWhenRead(FS, path, url, bytes) {
  const { node } = FS.lookupPath(path);
  /** @type {Uint8Array | null} */
  let contents = null;
  const get = () => {
    contents ??= fetchNow(url);
    if (contents?.length === bytes) return contents;
    contents = null;
    throw new FS.ErrnoError(INPUT_OUTPUT_ERROR);
  };
  Object.defineProperty(node, "contents", { get, set() {} });
  node.usedBytes = bytes;
}

/**
 * @param {string} url
 * @returns {Uint8Array | null} null if it cannot be fetched
 */
function fetchNow(url) {
  const request = new XMLHttpRequest();
  request.open("GET", url, false);
  request.responseType = "arraybuffer";
  try {
    request.send();
  } catch {
    return null;
  }
  return request.status === 200 ? new Uint8Array(request.response) : null;
}

/**
 * Makes Emscripten link Pyodide for Python alone, without the work that only side modules need.
 *
 * Otherwise it gives each of the 7,000 functions that Pyodide exports a slot in the function table, and
 * makes a WebAssembly function of each of WebGL's 280: more than half of the time that linking takes
 * (measured: 65 of 95 ms). Nothing in a snapshot points to those slots, since no side module was loaded. All other slots
 * stay the same: the table keeps its length.
 * @param {Pick<SnapshotFacts, "table" | "data">} facts
 * @param {any} settings settings that Pyodide passes to Emscripten
 * @returns {{ linked: () => void, dataOf: () => Uint8Array }} call `linked` when the module is ready;
 *   `dataOf` returns the first `data` bytes of the memory as they were before anything ran
 */
export function linkForPython({ table: slots, data: length }, settings) {
  const { instantiateWasm } = settings;
  let data = new Uint8Array();
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
      data = new Uint8Array(instance.exports.memory.buffer).slice(0, length);
      table = instance.exports.__indirect_function_table;
      table.grow(slots - table.length);
      // Otherwise the table is searched for existing functions.
      Object.defineProperty(table, "length", { value: 0, configurable: true });
      return receive(instance, module);
    });
  return { linked: () => delete table.length, dataOf: () => data };
}

/**
 * Saves the slot of the function that Python uses to call C functions of another signature. A snapshot
 * overwrites it with the slot of the engine that made the snapshot. Without this Python is a third slower
 * (measured: 0.45 against 0.70 s for a loop of such calls).
 * @param {any} module
 * @returns {() => void} restores it
 */
function trampolineOf(module) {
  const offset = module.HEAP32[module.__PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET / 4];
  const index = (module.__PyRuntime + offset) / 4;
  const trampoline = module.HEAP32[index];
  return () => {
    module.HEAP32[index] = trampoline;
  };
}

/**
 * Stores the snapshot after the first responses.
 * @param {SnapshotFacts} facts
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
function keepLater(facts, bytes) {
  setTimeout(() => keepSnapshot(facts, bytes), 1000);
}
