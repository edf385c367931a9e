// Boots an image in v86 on Node and writes what it read and wrote as JSON:
//   node record_boot.mjs V86 BIOS-FOLDER IMAGE TRACE --until TEXT [--type TEXT --until TEXT]…
//     [--minutes N]
// TRACE gets {"size", "reads": [[offset, length, ms], …], "writes": [[offset, base64], …]}: bytes, and
// milliseconds since the machine was switched on. The reads complete at once, so what lies between
// them is the guest's own time. Whenever the screen or the first serial port shows the next text that
// it is to wait for, it types the next line, or ends.
import { openSync, readFileSync, readSync, fstatSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const SECTOR = 512;
const MEMORY = 512 << 20;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    until: { type: "string", multiple: true, default: [] },
    type: { type: "string", multiple: true, default: [] },
    minutes: { type: "string", default: "30" },
  },
});
const [v86Folder, biosFolder, imagePath, tracePath] = positionals.map((path) => resolve(path));
const { until, type: lines } = values;
if (!tracePath || until.length !== lines.length + 1) throw new Error("see the first lines of this file");
const { V86 } = await import(pathToFileURL(join(v86Folder, "build", "libv86.mjs")).href);

/** A disk for v86: the image, with the guest's writes stored separately. */
class RecordingDisk {
  constructor(/** @type {string} */ path) {
    this.file = openSync(path, "r");
    this.byteLength = fstatSync(this.file).size;
    /** @type {Map<number, Uint8Array>} */
    this.written = new Map();
    /** @type {[number, number, number][]} */
    this.reads = [];
    /** @type {[number, string][]} */
    this.writes = [];
    this.start = 0;
  }

  load() {
    this.onload?.({});
  }

  get(offset, length, callback) {
    const ms = this.start ? performance.now() - this.start : 0;
    this.reads.push([offset, length, Math.round(ms * 100) / 100]);
    callback(this.bytes(offset, length));
  }

  get_and_cache(offset, length, callback) {
    this.get(offset, length, callback);
  }

  get_from_cache(offset, length) {
    return this.bytes(offset, length);
  }

  set(offset, data, callback) {
    this.writes.push([offset, Buffer.from(data).toString("base64")]);
    for (let at = 0; at < data.length; at += SECTOR) {
      this.written.set((offset + at) / SECTOR, data.slice(at, at + SECTOR));
    }
    callback();
  }

  bytes(offset, length) {
    const bytes = new Uint8Array(length);
    readSync(this.file, bytes, 0, length, offset);
    for (let at = 0; at < length; at += SECTOR) {
      const sector = this.written.get((offset + at) / SECTOR);
      if (sector) bytes.set(sector, at);
    }
    return bytes;
  }
}

const buffer = (path) => ({ buffer: new Uint8Array(readFileSync(path)).buffer });
const disk = new RecordingDisk(imagePath);
const machine = new V86({
  wasm_path: join(v86Folder, "build", "v86.wasm"),
  memory_size: MEMORY,
  vga_memory_size: 8 << 20,
  bios: buffer(join(biosFolder, "bios.bin")),
  vga_bios: buffer(join(biosFolder, "vgabios-stdvga.bin")),
  hda: disk,
  autostart: false,
  disable_speaker: true,
});
let serial = "";
machine.add_listener("serial0-output-byte", (/** @type {number} */ byte) => {
  const character = String.fromCharCode(byte);
  serial = (serial + character).slice(-200);
  process.stderr.write(character);
  if (serial.includes(until[0])) goOn();
});
machine.add_listener("emulator-ready", () => {
  disk.start = performance.now();
  machine.run();
});
const screen = setInterval(() => {
  const rows = machine.screen_adapter?.get_text_screen() ?? [];
  if (rows.some((row) => row.includes(until[0]))) goOn();
}, 250);
const limit = setTimeout(() => {
  console.error(machine.screen_adapter?.get_text_screen().join("\n"));
  console.error(`"${until[0]}" did not come within ${values.minutes} minutes`);
  process.exit(1);
}, Number(values.minutes) * 60_000);

/** Types the next line, if there is one. */
function goOn() {
  serial = "";
  until.shift();
  const line = lines.shift();
  if (line === undefined) finish();
  else machine.keyboard_send_text(`${line}\n`);
}

function finish() {
  clearInterval(screen);
  clearTimeout(limit);
  const { byteLength: size, reads, writes } = disk;
  writeFileSync(tracePath, JSON.stringify({ size, reads, writes }));
  process.exit(0);
}
