/**
 * Disks for DOSBox and DOSBox-X, as the npm package `emulators` has them:
 *
 *     import { openDisk } from "./aero-disk.mjs";
 *     import { startDosbox } from "./dosbox.mjs";
 *     const disk = await openDisk({ url, allowRemote: true, overlay: "work" });
 *     const dos = await startDosbox({ c: disk }, { emulators, scriptUrl: "emulators/wdosbox.js", commands: ["c:", "dir"] });
 *     dos.events().onStdout((text) => console.log(text));
 *
 * DOSBox runs in a worker and reads the disks synchronously, so the page must be cross-origin isolated. DOSBox
 * ignores errors of its disks, and would go on with wrong bytes. So it never sees one: it stands still, and
 * `onFailure` decides. Writes become durable as emscripten.mjs says.
 *
 * DOSBox-X comes in two builds: `dosboxXScript()` names the one for this browser.
 *
 * With a transport of your own, use `dosboxDrive`, `mountDrive` and `mountCommand`.
 *
 * @module dosbox.mjs
 */

import { syncUnavailable } from "../lib/disk-error.mjs";
import { baseOfPage, startAt, startBundled } from "../lib/start-worker.mjs";
import { dosboxDrive, mountCommand } from "./dosbox-drives.mjs";
import { WorkerTransport } from "./dosbox-transport.mjs";

export { dosboxDrive, mountCommand, mountDrive, usualLetter } from "./dosbox-drives.mjs";

/** @typedef {import("../lib/disk.mjs").Disk} Disk */
/** @typedef {import("./dosbox-drives.mjs").DosboxDrive} DosboxDrive */
/** @typedef {import("./dosbox-transport.mjs").DriveFailure} DriveFailure */

/**
 * The object that `emulators.js` defines, as far as it is used. `C` is its `CommandInterface`.
 * @template C
 * @typedef {{ backend: (init: any, transport: any, options?: any) => Promise<C> }} Emulators
 */

/**
 * @template C
 * @typedef {object} DosboxOptions
 * @property {Emulators<C>} emulators the object that `emulators.js` defines
 * @property {string | URL} scriptUrl `wdosbox.js`; or what `dosboxXScript()` returns, for DOSBox-X, which FAT32 needs
 * @property {string | URL | undefined} [wasmUrl] the `.wasm` beside it by default
 * @property {string[] | undefined} [commands] typed once the disks are mounted
 * @property {string | undefined} [config] sections of a dosbox.conf other than `[autoexec]`
 * @property {((failure: DriveFailure) => void) | undefined} [onFailure] by default DOSBox is stopped
 * @property {string | URL | undefined} [workerUrl] `dosbox-worker.mjs`, or a module that imports it
 */

const NAME = "aero-browser-disk-dosbox";

/**
 * The script of DOSBox-X for this browser: the build for JavaScript Promise Integration, where that is there.
 *
 * The other one, for Asyncify, ends with a trap ("unreachable") when a program or the shell makes a file by
 * DOS_OpenFileExtended, as `echo text> new.txt` does, and DOSBox-X happens to sleep meanwhile: that function is
 * missing among those that Asyncify can suspend. It sleeps every 24 ms or so, so a slow disk makes it likely.
 */
export function dosboxXScript() {
  return "Suspending" in WebAssembly ? "wdosbox-x-jspi.js" : "wdosbox-x.js";
}

/**
 * Starts DOSBox with disks in its drives.
 * @template C
 * @param {Record<string, Disk>} disks by drive letter: floppies in `a` and `b`, hard disks and CDs in the others
 * @param {DosboxOptions<C>} options
 * @returns {Promise<C>} rejects with a `RangeError` if DOSBox cannot mount a disk, as the disk does if it
 *   cannot be read, and with an `Error` if DOSBox does not start
 */
export async function startDosbox(disks, { emulators, scriptUrl, wasmUrl, commands = [], config = "", onFailure, workerUrl }) {
  if (!globalThis.crossOriginIsolated) throw syncUnavailable("the page is not cross-origin isolated");
  const pairs = Object.entries(disks);
  const drives = await Promise.all(pairs.map(([letter, disk]) => dosboxDrive(letter, disk)));
  const script = new URL(scriptUrl, baseOfPage()).href;
  const wasm = new URL(wasmUrl ?? script.replace(/\.js(?=$|\?)/, ".wasm"), baseOfPage()).href;
  const transport = new WorkerTransport(startWorker(workerUrl), onFailure);
  const lines = ["[autoexec]", "@echo off", ...drives.map(mountCommand), "echo on", ...commands];
  const running = emulators.backend([`${config}\n${lines.join("\n")}\n`], transport, {});
  const ports = pairs.map(([, disk]) => disk.port());
  transport.start({ scriptUrl: script, wasmUrl: wasm, mounts: drives.map((drive, number) => ({ drive, port: ports[number] })) }, ports);
  try {
    return await Promise.race([running, transport.failed]);
  } catch (error) {
    transport.exit();
    throw error;
  }
}

/** @param {string | URL} [workerUrl] */
function startWorker(workerUrl) {
  if (workerUrl) return startAt(new URL(workerUrl, baseOfPage()).href, NAME);
  return startBundled(() => new Worker(new URL("./dosbox-worker.mjs", import.meta.url), { type: "module", name: "aero-browser-disk-dosbox" }), NAME);
}
