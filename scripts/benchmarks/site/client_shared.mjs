// Reads from shared memory, and synchronously from OPFS through Python, against the bare forms of
// both. This worker is an emulator's: the disk's worker is another one, below it.
import { openDisk } from "../aero-disk.mjs";
import { serve } from "./client.mjs";

/** @type {import("../../../web/lib/aero-disk.mjs").Disk} */
let disk;
const target = new Uint8Array(1 << 20);

/** @type {{ memory: Uint8Array, table: Int32Array, block: number }} */
let copies;

/** @type {{ words: Int32Array, buffer: Uint8Array, worker: Worker }} */
let bare;

/** Microseconds for each call of `read` with one of the offsets. */
function timed(/** @type {number[]} */ offsets, /** @type {(offset: number) => void} */ read) {
  const start = performance.now();
  for (const offset of offsets) read(offset);
  return ((performance.now() - start) / offsets.length) * 1000;
}

serve({
  async open({ url, key, options, sharedMemoryBytes }) {
    disk = await openDisk({
      url, cacheKey: key, allowRemote: true, bootProfile: null, sharedMemoryBytes, ...options,
    });
  },

  /** Reads all of a range, so that it is in OPFS and as far as they reach in the frames. */
  sweep({ offset, length, step }) {
    const chunk = target.subarray(0, step);
    for (let at = offset; at < offset + length; at += step) disk.readSync(at, chunk);
  },

  try_reads({ offsets, length }) {
    const chunk = target.subarray(0, length);
    return timed(offsets, (offset) => {
      if (!disk.tryRead(offset, chunk)) throw new Error(`${offset} is in no frame`);
    });
  },

  read_sync({ offsets, length }) {
    const chunk = target.subarray(0, length);
    return timed(offsets, (offset) => disk.readSync(offset, chunk));
  },

  bare_copies({ size, block }) {
    const frames = size / block;
    const table = new Int32Array(new SharedArrayBuffer(4 * frames));
    for (let at = 0; at < frames; at++) table[at] = (at * 5) % frames;
    copies = { memory: new Uint8Array(new SharedArrayBuffer(size)).fill(7), table, block };
  },

  /** The least that a read from shared memory can be: where the block is, and the copy. */
  bare_copy({ offsets, length }) {
    const { memory, table, block } = copies;
    const chunk = target.subarray(0, length);
    return timed(offsets, (offset) => {
      const from = table[Math.floor(offset / block)] * block + (offset % block);
      chunk.set(memory.subarray(from, from + length));
    });
  },

  /** Starts a JavaScript worker that reads a file of that size for each request. */
  async start_bare({ size }) {
    const memory = new SharedArrayBuffer(4096 + (1 << 20));
    const worker = new Worker(new URL("./bare_responses.mjs", import.meta.url), { type: "module" });
    const ready = new Promise((resolve) => (worker.onmessage = resolve));
    worker.postMessage({ memory, size });
    await ready;
    bare = { words: new Int32Array(memory, 0, 1024), buffer: new Uint8Array(memory, 4096), worker };
  },

  bare_round_trips({ offsets, length }) {
    const { words, buffer } = bare;
    const chunk = target.subarray(0, length);
    return timed(offsets, (offset) => {
      words[1] = offset;
      words[2] = length;
      Atomics.store(words, 3, 0);
      Atomics.add(words, 0, 1);
      Atomics.notify(words, 0);
      Atomics.wait(words, 3, 0);
      chunk.set(buffer.subarray(0, length));
    });
  },

  async end_bare() {
    const ended = new Promise((resolve) => (bare.worker.onmessage = resolve));
    bare.worker.postMessage(null);
    await ended;
    bare.worker.terminate();
  },

  stats: () => disk.stats(),
  close: () => disk.close(),
});
