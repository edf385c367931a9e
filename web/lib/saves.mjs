/**
 * Saves: overlays on a server, pushed from one device and pulled on another.
 *
 *     import { openDisk, saves } from "./aero-disk.mjs";
 *     const disk = await openDisk({ url, allowRemote: true, overlay: "work", saves: { url: savesUrl, headers } });
 *     await disk.push(); // only what changed since the last push
 *     const there = saves({ url: savesUrl, headers, allowRemote: true });
 *     await there.pull("work", { overlay: "copy", url }); // on any device
 */

import { optionsOf, renewalOf, seconds, signalOf, urlOf } from "./arguments.mjs";
import { DiskError } from "./disk-error.mjs";
import { connect } from "./disk-worker.mjs";
import { entryOf } from "./library.mjs";

/**
 * A server of saves. `allowRemote` is the user's consent: without it no request is made.
 * @typedef {object} SavesOptions
 * @property {string | URL} url the list of saves, as `https://images.example/v1/saves`, or a link that shares one
 * @property {boolean | undefined} [allowRemote]
 * @property {Record<string, string> | undefined} [headers] sent with every request, never stored
 * @property {"omit" | "same-origin" | "include" | undefined} [credentials] as `fetch` has it
 * @property {(() => Promise<import("./aero-disk.mjs").RenewedAccess> | import("./aero-disk.mjs").RenewedAccess) | undefined} [renew] returns
 *   other headers when these are refused
 * @property {Date | number | undefined} [expiresAt] when the access expires, if known
 * @property {number | undefined} [timeoutS] how long the server may stay silent, in seconds
 * @property {string | undefined} [passphrase] encrypts what is pushed, in the browser; never stored
 * @property {Uint8Array | CryptoKey | undefined} [key] the same by a key: 32 bytes, or one for AES-GCM of 256 bits
 * @property {string | undefined} [device] what others see as the origin of a push; by default the browser and system
 */

/**
 * The result of a push in the background.
 * @typedef {{ pushed?: Pushed, error?: DiskError }} PushResult
 */

/**
 * Where `openDisk` pushes an overlay. `allowRemote` is the disk's unless it is given.
 * @typedef {SavesOptions & PushOptions} DiskSaves
 */

/**
 * @typedef {object} PushOptions
 * @property {string | undefined} [name] of the save, which is made if needed; by default the overlay's
 * @property {number | undefined} [everyS] pushes in the background too: after a flush, at most every so many
 *   seconds, and when the page is hidden
 * @property {((result: PushResult) => unknown) | undefined} [onPush] told of each push in the background that sent
 *   something or failed
 */

/**
 * The result of a push: what was sent, in bytes. `unchanged`: there was nothing to send.
 * @typedef {object} Pushed
 * @property {string} save the save's id
 * @property {number} generation
 * @property {boolean} unchanged
 * @property {number} changedBytes content of the disk, before it was compressed
 * @property {number} chunkBytes
 * @property {number} chunks
 * @property {number} manifestBytes
 */

/**
 * A save on a server. Times are RFC 3339; `generation` counts its pushes.
 * @typedef {object} SaveInfo
 * @property {string} id
 * @property {string} name
 * @property {string} baseVersion of the image that it fits
 * @property {number} baseSize
 * @property {string} image its name for people
 * @property {number} generation
 * @property {string} updated
 * @property {string} device that pushed last
 * @property {number} storedBytes
 */

/**
 * @typedef {{ generation: number, created: string, device: string, storedBytes: number }} SaveGeneration
 * @typedef {{ url: string, expires: string }} SaveShare
 */

/**
 * What the overlay of a pull is called, and the image that it lies over, as `openDisk` takes it. With `version`, the
 * `version` of the open image, a save of another one is refused at once.
 * @typedef {object} PullOptions
 * @property {string} overlay
 * @property {string | URL | undefined} [url]
 * @property {string | undefined} [image]
 * @property {string | undefined} [cacheKey]
 * @property {string | undefined} [version]
 * @property {number | undefined} [generation] an earlier one
 * @property {((done: number, total: number | null) => void) | undefined} [onProgress] bytes of the save
 * @property {AbortSignal | undefined} [signal]
 */

/** The saves of a server. Name saves by name or id. */
export class Saves {
  #options;

  /** @param {SavesOptions} options */
  constructor(options) {
    this.#options = serverOf(options);
  }

  /**
   * All saves, or those that fit one version of an image, the newest first.
   * @param {{ baseVersion?: string | undefined, signal?: AbortSignal | undefined }} [options]
   * @returns {Promise<SaveInfo[]>}
   */
  async list(options) {
    const { baseVersion } = optionsOf(options);
    return this.#ask("list", { baseVersion }, signalOf(options));
  }

  /**
   * The generations of a save that the server has.
   * @param {string} save
   * @returns {Promise<SaveGeneration[]>}
   */
  generations(save) {
    return this.#ask("generations", { save });
  }

  /**
   * Downloads a save into a new overlay: as a whole, or not at all. Pushes of it go on where the save is.
   * @param {string} save
   * @param {PullOptions} options
   * @returns {Promise<import("./library.mjs").LibraryEntry>}
   */
  async pull(save, options) {
    const { signal: _, url, ...values } = /** @type {PullOptions} */ (optionsOf(options));
    const signal = signalOf(options);
    const address = url === undefined ? undefined : urlOf(url);
    return entryOf(await this.#ask("pull", { ...values, save, url: address }, signal));
  }

  /**
   * Makes a link by which others can read a save.
   * @param {string} save
   * @param {{ lifetimeS?: number | undefined }} [options] a week by default
   * @returns {Promise<SaveShare>}
   */
  async share(save, options) {
    const { lifetimeS } = optionsOf(options);
    return this.#ask("share", { save, lifetimeS });
  }

  /**
   * Ends all links to a save.
   * @param {string} save
   * @returns {Promise<void>}
   */
  endShares(save) {
    return this.#ask("endShares", { save });
  }

  /**
   * Removes a save from the server, or one of its earlier generations. Overlays here stay.
   * @param {string} save
   * @param {{ generation?: number | undefined }} [options]
   * @returns {Promise<void>}
   */
  async remove(save, options) {
    const { generation } = optionsOf(options);
    return this.#ask("remove", { save, generation });
  }

  /**
   * @param {string} operation
   * @param {Record<string, unknown>} values
   * @param {AbortSignal} [signal]
   */
  #ask(operation, values, signal) {
    return connect().call(`saves.${operation}`, { ...this.#options, ...values }, signal);
  }
}

/**
 * The saves of a server.
 * @param {SavesOptions} options
 */
export function saves(options) {
  return new Saves(options);
}

/**
 * Lets a disk be pushed; sends no request yet.
 * @internal
 * @param {import("./calls.mjs").Calls} calls
 * @param {import("./disk.mjs").Disk} disk
 * @param {number} number
 * @param {DiskSaves} options
 * @returns {Promise<() => void>} what to call when the disk has closed
 */
export async function attachSaves(calls, disk, number, options) {
  const { name, everyS, onPush, ...server } = options;
  /** @param {{ pushed?: Pushed, error?: import("./disk-error.mjs").Failure }} told */
  const pushed = ({ pushed, error }) => onPush?.(error ? { error: new DiskError(error) } : { pushed });
  const lent = calls.lend({ ...serverOf(server), disk: number, name, everyS, pushed });
  const pushWhenHidden = () => {
    if (document.visibilityState !== "hidden") return;
    const tell = (/** @type {Pushed} */ result) => void (result.unchanged || onPush?.({ pushed: result }));
    disk.push().then(tell).catch((error) => onPush?.({ error }));
  };
  const watches = everyS !== undefined && typeof document === "object";
  const end = () => {
    lent.takeBack();
    if (watches) document.removeEventListener("visibilitychange", pushWhenHidden);
  };
  try {
    await calls.callWith("saves.attach", lent);
  } catch (error) {
    end();
    throw error;
  }
  if (watches) document.addEventListener("visibilitychange", pushWhenHidden);
  return end;
}

/**
 * @internal
 * @param {SavesOptions} options
 * @returns {Record<string, unknown>} as the worker takes them
 */
export function serverOf(options) {
  const { url, renew, expiresAt, device, ...plain } = /** @type {SavesOptions} */ (optionsOf(options, "saves"));
  return {
    ...plain,
    server: urlOf(url),
    device: device ?? deviceName(),
    renew: renew && renewalOf(renew),
    expiresAt: seconds(expiresAt),
  };
}

/** The browser and the system, without versions: "Chromium on Linux". */
function deviceName() {
  const { userAgent } = navigator;
  const browser = ["Firefox", "Edg", "Chrome", "Safari"].find((name) => userAgent.includes(`${name}/`));
  const system = ["Windows", "Android", "iPhone", "iPad", "Mac", "Linux"].find((name) => userAgent.includes(name));
  const names = { Edg: "Edge", Chrome: "Chromium", Mac: "macOS" };
  /** @param {string | undefined} name */
  const shown = (name) => names[/** @type {keyof typeof names} */ (name)] ?? name;
  return `${shown(browser) ?? "a browser"} on ${shown(system) ?? "an unknown system"}`;
}
