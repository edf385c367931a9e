/**
 * The worker that DOSBox runs in. It mounts the disks that `dosbox.mjs` passes it, and starts DOSBox.
 *
 * @module dosbox-worker.mjs
 */

import { attachDisk } from "../lib/disk.mjs";
import { mountDrive } from "./dosbox-drives.mjs";

/**
 * The first message.
 * @typedef {object} DosboxStart
 * @property {string} sessionId of DOSBox's messages
 * @property {string} scriptUrl
 * @property {string} wasmUrl
 * @property {{ drive: import("./dosbox-drives.mjs").DosboxDrive, port: MessagePort }[]} mounts
 */

const scope = /** @type {any} */ (globalThis); // a worker's, for which the types are not here
/** Mounts the disks, once DOSBox has a file system. */
let mountAll = () => {};

// DOSBox sets `onmessage`, when it is loaded and when it starts. An earlier listener is called first.
scope.addEventListener("message", async (/** @type {MessageEvent} */ { data }) => {
  if (data?.name === "wc-run") mountAll();
  if (!data?.start) return;
  try {
    await start(data.start);
  } catch (error) {
    scope.postMessage({ notStarted: error instanceof Error ? error.message : String(error) });
  }
});

/** @param {DosboxStart} asked */
async function start({ sessionId, scriptUrl, wasmUrl, mounts }) {
  const disks = await Promise.all(mounts.map(({ port }) => attachDisk(port)));
  mountAll = () => {
    for (const [number, disk] of disks.entries()) {
      const { drive } = /** @type {DosboxStart["mounts"][0]} */ (mounts[number]);
      mountDrive(scope.Module.FS, drive, disk, (error) => awaitRetry(drive.letter, error));
    }
  };
  const response = await fetch(wasmUrl);
  if (!response.ok) throw new Error(`${wasmUrl} did not load (${response.status}).`);
  const module = await WebAssembly.compile(await response.arrayBuffer());
  await import(/* @vite-ignore */ /* webpackIgnore: true */ scriptUrl);
  scope.onmessage({ data: { name: "wc-install", props: { sessionId, module } } });
}

/**
 * Stops here, and with it DOSBox, until the page wants the call to be repeated.
 * @param {string} letter
 * @param {Error} error
 */
function awaitRetry(letter, { name, message }) {
  const word = new Int32Array(new SharedArrayBuffer(4));
  scope.postMessage({ failure: { letter, name, message, word } });
  Atomics.wait(word, 0, 0);
}
