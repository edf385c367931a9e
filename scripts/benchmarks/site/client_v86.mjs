// v86's own buffer of ranges, or of files that are parts, as `new V86` makes it from a URL. It keeps nothing between visits.
import { V86 } from "./v86/libv86.mjs";
import { crc32, replay, serve } from "./client.mjs";

/** @type {any} */
let disk;

const read = (/** @type {number} */ offset, /** @type {number} */ length) =>
  new Promise((resolve) => disk.get(offset, length, resolve));

serve({
  async open({ url, size, chunk, parts = false }) {
    const machine = new V86({
      wasm_path: new URL("./v86/v86.wasm", import.meta.url).href,
      hda: { url, size, async: true, fixed_chunk_size: chunk, use_parts: parts },
      memory_size: 16 << 20,
      autostart: false,
      disable_speaker: true,
    });
    await new Promise((resolve) => machine.add_listener("emulator-loaded", resolve));
    disk = machine.v86.cpu.devices.ide.primary.master.buffer;
  },
  replay: ({ reads }) => replay(reads, read),
  async check({ ranges }) {
    const sums = [];
    for (const [offset, length] of ranges) sums.push(crc32(await read(offset, length)));
    return sums;
  },
  close() {},
});
