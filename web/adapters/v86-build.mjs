/**
 * Builds v86's machine for the boot component: fetches the emulator and the BIOS, and connects the disk.
 */

import { EmulatorFileError, v86Files } from "./v86-files.mjs";

/**
 * @typedef {import("./boot.mjs").BootOptions} BootOptions
 * @typedef {import("./boot.mjs").EmulatorClass} EmulatorClass
 * @typedef {import("./v86-disk.mjs").V86Disk} V86Disk
 * @typedef {import("./v86-machine.mjs").V86} V86
 */

/** Not `new URL("v86/", import.meta.url)`: bundlers would look for it. */
const here = import.meta.url;
const VGA_MEMORY = 8 << 20;

/**
 * @param {V86Disk} disk
 * @param {"hda" | "cdrom"} drive where the disk is
 * @param {number} memoryBytes
 * @param {() => HTMLElement} newScreen makes what v86 draws in, once all files are there
 * @param {BootOptions} options where the files are
 * @returns {Promise<V86>} a loaded machine, not running
 */
export async function buildMachine(disk, drive, memoryBytes, newScreen, options) {
  const { filesUrl, wasmUrl, biosUrl, vgaBiosUrl } = options;
  const folder = filesUrl === undefined ? new URL("v86/", here) : new URL(filesUrl, document.baseURI);
  const [V86, files] = await Promise.all([
    options.V86 ?? importEmulator(new URL("libv86.mjs", folder).href),
    v86Files({
      wasmUrl: wasmUrl ?? new URL("v86.wasm", folder),
      biosUrl: biosUrl ?? new URL("bios.bin", folder),
      vgaBiosUrl: vgaBiosUrl ?? new URL("vgabios-stdvga.bin", folder),
    }),
  ]);
  const machine = new V86({
    ...files,
    [drive]: disk,
    memory_size: memoryBytes,
    vga_memory_size: VGA_MEMORY,
    screen: { container: newScreen() },
    disable_speaker: true, // see v86-sound.mjs
    autostart: false,
  });
  await new Promise((resolve) => machine.add_listener("emulator-loaded", () => resolve(null)));
  disk.attach(machine);
  machine.keyboard_set_enabled(false);
  machine.mouse_set_enabled(false);
  return machine;
}

/**
 * @param {string} url of v86's module
 * @returns {Promise<EmulatorClass>}
 */
async function importEmulator(url) {
  try {
    return (await import(/* @vite-ignore */ /* webpackIgnore: true */ url)).V86;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new EmulatorFileError(url, `did not load (${message}). It has to be libv86.mjs of the npm package v86.`);
  }
}
