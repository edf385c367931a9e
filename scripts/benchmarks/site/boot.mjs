// Boots a machine to a text on its first serial port, with this project's disk or with v86's own.
// Loaded by the page of the bench: v86 runs in the page's own thread, as it does for users.
import { openDisk } from "../aero-disk.mjs";
import { v86Disk } from "../v86-disk.mjs";
import { V86 } from "../v86/libv86.mjs";

const MEMORY = 256 << 20;
const LONGEST_MS = 900_000; // on a busy machine Debian may give its serial console up

/** @type {any} */
let disk = null;

/** The disk of this project, with what the guest writes in an overlay that is new. */
export async function bootOurs({ url, key, profile, until }) {
  const start = performance.now();
  disk = await openDisk({
    url,
    allowRemote: true,
    cacheKey: key,
    overlay: `bench-${crypto.randomUUID()}`,
    bootProfile: profile ? new TextEncoder().encode(profile) : null,
  });
  const hda = await v86Disk(disk);
  return boot(hda, until, start, (machine) => hda.attach(machine));
}

/** v86's own, which keeps what the guest writes in memory. */
export async function bootPeer({ url, size, chunk, until }) {
  const hda = { url, size, async: true, fixed_chunk_size: chunk };
  return boot(hda, until, performance.now(), () => {});
}

/** What the boot has read of ours, for another visit. */
export async function bootProfile() {
  return new TextDecoder().decode(await disk.bootProfile());
}

async function boot(hda, until, start, attach) {
  const file = (name) => new URL(`../v86/${name}`, import.meta.url).href;
  const machine = new V86({
    wasm_path: file("v86.wasm"),
    bios: { url: file("bios.bin") },
    vga_bios: { url: file("vgabios-stdvga.bin") },
    hda,
    memory_size: MEMORY,
    vga_memory_size: 8 << 20,
    disable_speaker: true,
    autostart: false,
  });
  await new Promise((resolve) => machine.add_listener("emulator-loaded", resolve));
  attach(machine);
  let reads = 0;
  let readBytes = 0;
  machine.add_listener("ide-read-end", ([, bytes]) => {
    reads += 1;
    readBytes += bytes;
  });
  await machine.run();
  let serial = "";
  await new Promise((resolve, reject) => {
    const said = () => reject(new Error(`no "${until}" in time, only: ${serial}`));
    setTimeout(said, LONGEST_MS);
    machine.add_listener("serial0-output-byte", (byte) => {
      serial = (serial + String.fromCharCode(byte)).slice(-300);
      if (serial.endsWith(until)) resolve();
    });
  });
  const ms = performance.now() - start;
  await machine.destroy();
  return { ms, reads, readBytes };
}
