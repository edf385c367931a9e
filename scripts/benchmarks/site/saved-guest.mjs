// A Debian that writes to an overlay and pushes it, and the save of it in another browser.
import { openDisk } from "../aero-disk.mjs";
import { v86Disk } from "../v86-disk.mjs";
import { Guest } from "./guest.mjs";

const DONE = "is done";

/** @type {Guest | null} */
let running = null;

/** Boots, and after each of the shell's commands pushes what it changed. */
export async function bootAndPush({ url, saves, until, commands }) {
  const disk = await openDisk({ url, allowRemote: true, overlay: "work", saves });
  const guest = await started(disk);
  await guest.says(until);
  const pushes = [];
  for (const command of commands) {
    guest.type(`${command}; sync; echo is d'one'\n`);
    const said = await guest.says(DONE);
    await disk.flush();
    const start = performance.now();
    const pushed = await disk.push();
    pushes.push({ ...pushed, ms: performance.now() - start, said });
  }
  await guest.end();
  await disk.close();
  return pushes;
}

/** Boots a save: milliseconds from the first call until it is open, and until the shell's prompt. */
export async function bootSaved({ url, saves, save, until }) {
  const start = performance.now();
  const disk = await openDisk({ url, allowRemote: true, save, overlay: "here", saves });
  const openedMs = performance.now() - start;
  running = await started(disk);
  await running.says(until);
  return { openedMs, ms: performance.now() - start };
}

/** What a command of the machine that `bootSaved` has started prints. */
export async function run({ command }) {
  running.type(`${command}; echo is d'one'\n`);
  return running.says(DONE);
}

async function started(disk) {
  const hda = await v86Disk(disk);
  return Guest.start(hda, (machine) => hda.attach(machine));
}
