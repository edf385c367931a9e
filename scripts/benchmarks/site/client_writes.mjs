// Writes to an overlay from Python, and the same through a bare sync access handle.
import { serve } from "./client.mjs";
import { startPython } from "./python.mjs";

const operation = startPython("writes.py");
const BARE = "bare-writes";

async function openBare() {
  const root = await navigator.storage.getDirectory();
  const handle = await root.getFileHandle(BARE, { create: true });
  return await handle.createSyncAccessHandle();
}

serve({
  ...Object.fromEntries(
    ["writes", "fill", "opening", "throughput"].map((name) => [name, operation(name)]),
  ),

  /** Milliseconds for writes of 4 KiB at these offsets of a file of that size, flushed now and then. */
  async bare_writes({ offsets, every, size }) {
    const file = await openBare();
    const chunk = new Uint8Array(1 << 20).fill(7);
    for (let at = 0; at < size; at += chunk.length) file.write(chunk, { at });
    file.flush();
    const data = new Uint8Array(4096).fill(9);
    const start = performance.now();
    let written = 0;
    for (const at of offsets) {
      data[0] = written;
      file.write(data, { at });
      if (++written % every === 0) file.flush();
    }
    const ms = performance.now() - start;
    file.close();
    await (await navigator.storage.getDirectory()).removeEntry(BARE);
    return ms;
  },
});
