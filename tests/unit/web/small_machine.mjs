// A small machine of v86 with SeaBIOS, whose files are named in BIOS and VGA_BIOS, and boot sectors for it that work a
// drive through the BIOS and print on the serial port.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { V86 } from "../../../web/node_modules/v86/build/libv86.mjs";

export const SECTOR = 512;
export const READ = 0x0201;
export const WRITE = 0x0301;
const WASM = readFileSync(new URL("../../../web/node_modules/v86/build/v86.wasm", import.meta.url));
export const [BIOS, VGA_BIOS] = [process.env.BIOS, process.env.VGA_BIOS].map((path) => path && readFileSync(path));

// The BIOS's function (ax) for the third sector of a drive; then prints its status, or what was read.
export const call = (ax, drive, print) => [
  0xb8, ax & 255, ax >> 8, // mov ax
  0xbb, 0x00, 0x80, // mov bx, 0x8000
  0xb9, 0x03, 0x00, // mov cx: cylinder 0, sector 3
  0xba, drive, 0x00, // mov dx: head 0
  0xcd, 0x13, // int 13h
  ...print,
  0xba, 0xf8, 0x03, 0xee, // out 0x3f8, al
];
export function bootSector(...calls) {
  const code = [0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, ...calls.flat(), 0xb0, 0x24, 0xee, 0xfa, 0xf4]; // …; out '$'; cli; hlt
  assert.ok(code.length < 510);
  const sector = new Uint8Array(SECTOR);
  sector.set(code);
  sector.set([0x55, 0xaa], 510);
  return sector;
}

/** A machine with these drives. `printed` resolves to what its boot sector printed. */
export async function boot(drives, { run = true } = {}) {
  const machine = new V86({
    wasm_fn: async (imports) => (await WebAssembly.instantiate(WASM, imports)).instance.exports,
    ...(run && { bios: { buffer: BIOS.buffer.slice(BIOS.byteOffset, BIOS.byteOffset + BIOS.length) } }),
    ...(run && { vga_bios: { buffer: VGA_BIOS.buffer.slice(VGA_BIOS.byteOffset, VGA_BIOS.byteOffset + VGA_BIOS.length) } }),
    memory_size: 16 << 20,
    vga_memory_size: 1 << 20,
    ...drives,
    disable_speaker: true,
    autostart: false,
  });
  let text = "";
  const printed = new Promise((resolve) => {
    machine.add_listener("serial0-output-byte", (byte) => {
      text += String.fromCharCode(byte);
      if (text.endsWith("$")) resolve(text);
    });
  });
  await new Promise((resolve) => machine.add_listener("emulator-loaded", resolve));
  for (const drive of Object.values(drives)) drive.attach(machine);
  if (run) await machine.run();
  return { machine, printed };
}
