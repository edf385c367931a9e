// Reads of an Emscripten program, here Pyodide, through the mount of a disk, and of a file in its own memory.
import { openDisk } from "../aero-disk.mjs";
import { mountDisk } from "../emscripten.mjs";
import { BareRoundTrip } from "./bare_round_trip.mjs";
import { serve } from "./client.mjs";

const MIB = 1 << 20;
const chunk = new Uint8Array(4096);
/** @type {any} */
let FS;
/** @type {Record<string, any>} */
const streams = {};
/** @type {BareRoundTrip} */
let bare;

serve({
  async open({ url, key, size }) {
    const { loadPyodide } = await import(new URL("../pyodide/pyodide.mjs", import.meta.url).href);
    ({ FS } = await loadPyodide());
    const disk = await openDisk({ url, cacheKey: key, allowRemote: true, bootProfile: null });
    mountDisk(FS, disk, "/disk");
    FS.writeFile("/memory.img", new Uint8Array(size).fill(7));
    streams.mount = FS.open("/disk/disk.img", "r");
    streams.memory = FS.open("/memory.img", "r");
    const long = new Uint8Array(MIB);
    for (let at = 0; at < size; at += MIB) FS.read(streams.mount, long, 0, MIB, at);
    for (let at = 0; at < size; at += chunk.length) FS.read(streams.mount, chunk, 0, chunk.length, at);
    bare = await BareRoundTrip.start(size);
  },

  /** Microseconds for each read of 4 KiB at one of the offsets. */
  reads({ from, offsets }) {
    const start = performance.now();
    for (const offset of offsets) {
      if (from === "bare") bare.read(offset, chunk);
      else FS.read(streams[from], chunk, 0, chunk.length, offset);
    }
    return ((performance.now() - start) / offsets.length) * 1000;
  },

  close: () => bare.end(),
});
