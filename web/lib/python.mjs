/**
 * Starts Python with the package: from a memory snapshot where there is one, else from the wheel.
 */

import { build } from "./build.mjs";
import { forgetSnapshot, headOf, keepSnapshot, openSnapshot, restoreMemory } from "./snapshot.mjs";

/**
 * Where things are. Null leaves it to the build that this module is of.
 * @typedef {{ pyodideUrl: string, wheelUrl: string | null }} Places
 */

/**
 * How Python came up: from the snapshot that was kept, from one that was fetched, or from the wheel,
 * and then why not from a snapshot.
 * @typedef {{ from: "kept snapshot" | "snapshot" | "wheel", ms: number, reason?: string }} StartFacts
 */

/**
 * @typedef {any} Pyodide
 * @typedef {import("./build.mjs").SnapshotFacts} SnapshotFacts
 * @typedef {import("./snapshot.mjs").Snapshot} Snapshot
 */

/**
 * @param {Places} places
 * @returns {Promise<{ pyodide: Pyodide, facts: StartFacts }>}
 */
export async function startPython({ pyodideUrl, wheelUrl }) {
  const started = performance.now();
  /** @param {Pyodide} pyodide @param {Omit<StartFacts, "ms">} how */
  const done = (pyodide, how) => ({ pyodide, facts: { ...how, ms: performance.now() - started } });
  let reason = "this build has none";
  if (build.snapshot && !wheelUrl) {
    const opening = openSnapshot(build.snapshot);
    try {
      const pyodide = await wake(pyodideUrl, build.snapshot, opening);
      const { kept, bytes, close } = await opening;
      close();
      if (!kept && bytes) keepLater(build.snapshot, bytes);
      return done(pyodide, { from: kept ? "kept snapshot" : "snapshot" });
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
      (await opening.catch(() => null))?.close();
      await forgetSnapshot(build.snapshot);
    }
  }
  const wheel = wheelUrl ?? (build.wheel && new URL(build.wheel, import.meta.url).href);
  if (!wheel) throw new Error("no wheel is named, and this is no site that scripts/build made");
  return done(await install(pyodideUrl, wheel), { from: "wheel", reason });
}

/**
 * Pyodide as it was when the snapshot was made. Python does not run before its memory was seen to be
 * right.
 * @param {string} pyodideUrl
 * @param {SnapshotFacts} facts
 * @param {Promise<Snapshot>} opening
 * @returns {Promise<Pyodide>}
 */
async function wake(pyodideUrl, facts, opening) {
  let trampoline = () => {};
  opening.catch(() => {}); // told below, if it comes that far
  const pyodide = await load(pyodideUrl, { _loadSnapshot: headOf(facts) }, async (settings, make) => {
    const linked = linkForPython(facts, settings);
    const module = await make(settings);
    linked();
    trampoline = trampolineOf(module);
    restoreMemory(facts, await opening, module);
    return module;
  });
  trampoline();
  pyodide.pyimport("random").seed(); // else all who start from this snapshot draw the same numbers
  return pyodide;
}

/**
 * Pyodide with the wheel in it.
 * @param {string} pyodideUrl
 * @param {string} wheel
 * @returns {Promise<Pyodide>}
 */
async function install(pyodideUrl, wheel) {
  const [pyodide, response] = await Promise.all([load(pyodideUrl, {}), fetch(wheel)]);
  if (!response.ok) throw new Error(`${wheel} answered with status ${response.status}`);
  pyodide.unpackArchive(await response.arrayBuffer(), "wheel");
  return pyodide;
}

/**
 * `loadPyodide`, which fetches its parts one after the other and compiles last: here all of it starts
 * at once.
 * @param {string} pyodideUrl
 * @param {Record<string, unknown>} options
 * @param {(settings: any, make: (settings: any) => Promise<any>) => Promise<any>} [making] what makes
 *   Emscripten's module
 * @returns {Promise<Pyodide>}
 */
async function load(pyodideUrl, options, making = (settings, make) => make(settings)) {
  const wasmUrl = new URL("pyodide.asm.wasm", pyodideUrl).href;
  const compiled = WebAssembly.compileStreaming(fetch(wasmUrl));
  const factory = import(new URL("pyodide.asm.mjs", pyodideUrl).href);
  const failed = Promise.all([compiled, factory]).then(() => new Promise(() => {})); // never answers
  const loader = import(new URL("pyodide.mjs", pyodideUrl).href);
  const giveBack = handOver(wasmUrl, compiled);
  try {
    /** @param {unknown} settings */
    const createPyodideModule = async (settings) => making(settings, (await factory).default);
    const { loadPyodide } = await Promise.race([loader, failed]);
    const loading = loadPyodide({ indexURL: pyodideUrl, createPyodideModule, ...options });
    // Without this race a module that does not compile leaves Pyodide waiting for ever.
    return await Promise.race([loading, failed]);
  } finally {
    giveBack();
  }
}

/**
 * Has Pyodide take a module that is being compiled for what it fetches and compiles itself. There is no
 * setting for that which leaves the module's private imports to Pyodide.
 * @param {string} wasmUrl
 * @param {Promise<WebAssembly.Module>} compiled
 */
function handOver(wasmUrl, compiled) {
  const { fetch: plainFetch } = self;
  const { instantiateStreaming } = WebAssembly;
  /** @type {(source: any, options?: any) => Promise<any>} */
  const fetchOrModule = (source, options) =>
    String(source) === wasmUrl ? compiled : plainFetch(source, options);
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
 * Has Emscripten link Pyodide for Python alone: the work that only side modules would need is left out.
 *
 * It would give each of the 7,000 functions that Pyodide exports a place in the function table, and
 * make a WebAssembly function of each of WebGL's 280: half of what linking takes (measured: 65 of
 * 95 ms). Nothing in a snapshot points to those places, as nothing has loaded a side module. What does
 * have a place has the same one: the table is as long as it was.
 * @param {SnapshotFacts} facts
 * @param {any} settings what Pyodide gives to Emscripten
 * @returns {() => void} to be called when the module is there
 */
function linkForPython({ table: places }, settings) {
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
 * Saves the place of the function by which Python calls C functions of another signature: a snapshot
 * overwrites it with that of the engine that it was made in. Without it Python is a third slower
 * (measured: 0.45 against 0.70 s for a loop of such calls).
 * @param {any} module
 * @returns {() => void} writes it again
 */
function trampolineOf(module) {
  const offset = module.HEAP32[module.__PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET / 4];
  const place = (module.__PyRuntime + offset) / 4;
  const trampoline = module.HEAP32[place];
  return () => {
    module.HEAP32[place] = trampoline;
  };
}

/**
 * Keeps the snapshot once the first answers are out.
 * @param {SnapshotFacts} facts
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
function keepLater(facts, bytes) {
  setTimeout(() => keepSnapshot(facts, bytes), 1000);
}
