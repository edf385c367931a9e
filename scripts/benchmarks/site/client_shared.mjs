// Reads from shared memory, and synchronously from OPFS through Python, against the bare forms of
// both. This worker is an emulator's: the disk's worker is another one, below it.
import { openDisk } from "../aero-disk.mjs";
import { BareRoundTrip } from "./bare_round_trip.mjs";
import { serve } from "./client.mjs";

/** @type {import("../../../web/lib/aero-disk.mjs").Disk} */
let disk;
const target = new Uint8Array(1 << 20);

/** @type {{ memory: Uint8Array, table: Int32Array, block: number }} */
let copies;

/** @type {BareRoundTrip} */
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
    bare = await BareRoundTrip.start(size);
  },

  bare_round_trips({ offsets, length }) {
    const chunk = target.subarray(0, length);
    return timed(offsets, (offset) => bare.read(offset, chunk));
  },

  end_bare: () => bare.end(),

  stats: () => disk.stats(),
  close: () => disk.close(),
});
