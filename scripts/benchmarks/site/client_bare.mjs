// The bare loop: fetch and a sync access handle, with nothing that a disk needs beyond speed.
import { crc32, replay, serve } from "./client.mjs";

const BLOCK = 64 << 10;

/** @type {FileSystemSyncAccessHandle} */
let file;
let url = "";
let size = 0;
/** @type {Set<number>} */
const cached = new Set();

/** Fetches a range into the file, at its own offset. */
async function fetchInto(/** @type {number} */ start, /** @type {number} */ stop) {
  const headers = { Range: `bytes=${start}-${stop - 1}` };
  const response = await fetch(url, { headers, cache: "no-store" });
  if (response.status !== 206 || !response.body) throw new Error(`status ${response.status}`);
  const reader = response.body.getReader();
  let at = start;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    at += file.write(value, { at });
  }
  if (at !== stop) throw new Error("a short body");
}

/** Reads through the file, block by block. */
async function read(/** @type {number} */ offset, /** @type {number} */ length) {
  const first = Math.floor(offset / BLOCK);
  const last = Math.floor((offset + length - 1) / BLOCK);
  const missing = [];
  for (let block = first; block <= last; block++) if (!cached.has(block)) missing.push(block);
  if (missing.length) {
    const stop = Math.min((missing[missing.length - 1] + 1) * BLOCK, size);
    await fetchInto(missing[0] * BLOCK, stop);
    for (const block of missing) cached.add(block);
  }
  const target = new Uint8Array(length);
  file.read(target, { at: offset });
  return target;
}

serve({
  async open({ url: address, size: bytes, key }) {
    url = address;
    size = bytes;
    const root = await navigator.storage.getDirectory();
    const handle = await root.getFileHandle(`bare-${key}`, { create: true });
    file = await handle.createSyncAccessHandle();
  },

  replay: ({ reads }) => replay(reads, read),

  /** All of a range, with so many requests of so many bytes at a time. */
  async sweep({ offset, length, concurrency, request }) {
    const start = performance.now();
    let next = offset;
    const one = async () => {
      while (next < offset + length) {
        const from = next;
        next = Math.min(from + request, offset + length);
        await fetchInto(from, next);
      }
    };
    await Promise.all(Array.from({ length: concurrency }, one));
    return { ms: performance.now() - start };
  },

  check: ({ ranges }) =>
    ranges.map(([/** @type {number} */ offset, /** @type {number} */ length]) => {
      const target = new Uint8Array(length);
      file.read(target, { at: offset });
      return crc32(target);
    }),

  async close({ key }) {
    file.close();
    const root = await navigator.storage.getDirectory();
    await root.removeEntry(`bare-${key}`);
  },
});
