// What every client of the bench has in common: calls from the page, and the replay of a workload.

/** Handles calls with the functions in `operations`, by name. */
export function serve(/** @type {Record<string, (values: any) => unknown>} */ operations) {
  self.onmessage = async ({ data: { id, operation, values } }) => {
    try {
      self.postMessage({ id, value: await operations[operation](values) });
    } catch (error) {
      const text = error instanceof Error ? `${error.message}\n${error.stack}` : String(error);
      self.postMessage({ id, error: text });
    }
  };
}

/**
 * Reads one range after the other. `thinkMs` of a range is how long the guest is busy before it asks
 * for it; timers are too coarse for less than a few milliseconds, so that what they miss is made up.
 * @param {[number, number, number][]} reads offset, length, thinkMs
 * @param {(offset: number, length: number) => Promise<unknown>} read
 * @returns {Promise<{ ms: number, waitMs: number }>} in all, and spent on reads
 */
export async function replay(reads, read) {
  let waitMs = 0;
  let owedMs = 0;
  const start = performance.now();
  for (const [offset, length, thinkMs] of reads) {
    owedMs += thinkMs;
    if (owedMs >= 8) {
      const from = performance.now();
      await new Promise((resolve) => setTimeout(resolve, owedMs - 2));
      owedMs -= performance.now() - from;
    }
    const from = performance.now();
    await read(offset, length);
    waitMs += performance.now() - from;
  }
  return { ms: performance.now() - start, waitMs };
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value >>> 0;
});

/** The CRC-32 of bytes, as zlib has it. */
export function crc32(/** @type {Uint8Array} */ bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = CRC_TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
