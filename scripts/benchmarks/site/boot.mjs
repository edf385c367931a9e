// Boots a machine to a text on its first serial port, with this project's disk or with v86's own.
// Loaded by the page of the bench: v86 runs in the page's own thread, as it does for users.
import { openDisk } from "../aero-disk.mjs";
import { v86Disk } from "../v86-disk.mjs";
import { Guest } from "./guest.mjs";

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
  const guest = await Guest.start(hda, attach);
  await guest.says(until);
  const ms = performance.now() - start;
  const { reads, readBytes } = guest;
  await guest.end();
  return { ms, reads, readBytes };
}
