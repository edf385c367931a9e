// GRUB in v86 and a program of DOS in DOSBox, from the first call to a text: with this project's disk, and with the
// emulators' own ways of loading an image. Each returns `ms`, and for v86 how much of it went by before the machine
// ran and while it waited for its disk: the rest is the emulator's own work, which a busy machine stretches.
// Loaded by the page of the bench.
import { openDisk } from "../aero-disk.mjs";
import { startDosbox } from "../dosbox.mjs";
import { v86Disk } from "../v86-disk.mjs";
import { loadMachine } from "./guest.mjs";

const MEMORY = 64 << 20;
const LONGEST_MS = 120_000;
const LOOK_MS = 10;
const emulatorsUrl = new URL("../emulators/", import.meta.url).href;

/** @param {{ url: string, key: string, profile?: string }} options */
function open({ url, key, profile }) {
  const bootProfile = profile ? new TextEncoder().encode(profile) : null;
  return openDisk({ url, allowRemote: true, cacheKey: key, overlay: `bench-${crypto.randomUUID()}`, bootProfile });
}

// ── v86 ───────────────────────────────────────────────────────────────────────────────────────────

export async function v86Ours({ until, ...options }) {
  const start = performance.now();
  const disk = await open(options);
  const hda = await v86Disk(disk);
  const times = await bootV86(hda, until, start, (machine) => hda.attach(machine));
  const profile = new TextDecoder().decode(await disk.bootProfile());
  await disk.close();
  return { ...times, profile };
}

/** v86's own: ranges of a length, or all of the image before the start. */
export async function v86Own({ url, size, chunk, until }) {
  const hda = chunk ? { url, size, async: true, fixed_chunk_size: chunk } : { url, size, async: false };
  return bootV86(hda, until, performance.now(), () => {});
}

async function bootV86(hda, until, start, attach) {
  const machine = await loadMachine(hda, MEMORY);
  attach(machine);
  let waitedMs = performance.now() - start;
  let asked = 0;
  machine.add_listener("ide-read-start", () => (asked = performance.now()));
  machine.add_listener("ide-read-end", () => (waitedMs += performance.now() - asked));
  await machine.run();
  await shows(until, () => (machine.screen_adapter?.get_text_screen() ?? []).join("\n"));
  const ms = performance.now() - start;
  await machine.destroy();
  return { ms, waitedMs };
}

// ── DOSBox ────────────────────────────────────────────────────────────────────────────────────────

export async function dosboxOurs({ commands, until, ...options }) {
  const emulators = await load();
  const start = performance.now();
  const disk = await open(options);
  const dos = await startDosbox({ c: disk }, { emulators, scriptUrl: `${emulatorsUrl}wdosbox.js`, commands });
  const times = await ends(dos, until, start);
  await disk.close();
  return times;
}

/** DOSBox's own: the image as a file, or all in a bundle of js-dos, which is a zip; each is loaded before the start. */
export async function dosboxOwn({ url, config, until }) {
  const emulators = await load();
  const start = performance.now();
  const contents = new Uint8Array(await (await fetch(url)).arrayBuffer());
  return ends(await emulators.dosboxWorker(config ? [config, { path: "disk.img", contents }] : [contents]), until, start);
}

async function ends(dos, until, start) {
  let printed = "";
  dos.events().onStdout((text) => (printed += text));
  await shows(until, () => printed);
  const ms = performance.now() - start;
  await dos.exit();
  return { ms };
}

async function load() {
  if (!globalThis.emulators) {
    const script = document.createElement("script");
    const loaded = new Promise((resolve, reject) => Object.assign(script, { onload: resolve, onerror: reject }));
    script.src = `${emulatorsUrl}emulators.js`;
    document.head.append(script);
    await loaded;
  }
  globalThis.emulators.pathPrefix = emulatorsUrl;
  return globalThis.emulators;
}

/** Waits until `look` has a text. */
function shows(until, look) {
  const start = performance.now();
  return new Promise((resolve, reject) => {
    const timer = setInterval(() => {
      const isThere = look().includes(until);
      if (!isThere && performance.now() - start < LONGEST_MS) return;
      clearInterval(timer);
      if (isThere) resolve(null);
      else reject(new Error(`no "${until}" in time, only: ${look().slice(-500)}`));
    }, LOOK_MS);
  });
}
