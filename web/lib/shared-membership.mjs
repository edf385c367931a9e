/** How a thread comes to share a disk's memory, and how it leaves. */

import { SharedBlocks } from "./shared-client.mjs";

/** @typedef {import("./calls.mjs").Calls} Calls */
/**
 * @typedef {object} DiskFacts
 * @property {number} disk
 * @property {number} size
 * @property {string} version
 * @property {number} blockSize
 * @property {boolean} readOnly
 * @property {number} [sectorSize]
 */

/**
 * One thread's part in a disk's shared memory. The Web Lock that it holds tells the worker that it is
 * still there, and is free as soon as the thread has ended in whatever way.
 */
export class Membership {
  #leave = () => {};

  /**
   * @param {Calls} calls
   * @param {number} disk
   * @param {number} [memoryBytes] for the frames, if this is the first to come: 64 MiB by default
   */
  constructor(calls, disk, memoryBytes) {
    /** What is shared; null before it is joined, and where memory cannot be shared.
     * @type {SharedBlocks | null} */
    this.blocks = null;
    /** @type {Promise<DiskFacts>} */
    this.joined = this.#join(calls, disk, memoryBytes);
    this.joined.catch(() => {}); // whoever needs it hears of it
  }

  /** Leaves, once it has joined. */
  async leave() {
    await this.joined.catch(() => {});
    this.blocks?.leave();
    this.#leave();
  }

  /**
   * @param {Calls} calls
   * @param {number} disk
   * @param {number} [memoryBytes]
   * @returns {Promise<DiskFacts>}
   */
  async #join(calls, disk, memoryBytes) {
    const name = await this.#hold();
    const { area, lane, ...facts } = await calls.call("shared.attach", {
      disk,
      client: name && `client/${name}`,
      memoryBytes,
    });
    if (area) {
      this.blocks = new SharedBlocks({ area, lane }, () => calls.post({ ring: disk }));
      calls.whenEnded(() => this.blocks?.end());
    } else this.#leave();
    return facts;
  }

  /** @returns {Promise<string | undefined>} the name of a lock that is held; none without isolation */
  #hold() {
    return new Promise((resolve, reject) => {
      if (!globalThis.crossOriginIsolated) {
        resolve(undefined);
        return;
      }
      const name = crypto.randomUUID();
      const held = navigator.locks.request(`aero-browser-disk/client/${name}`, () => {
        resolve(name);
        return new Promise((leave) => (this.#leave = () => leave(null)));
      });
      held.catch(reject);
    });
  }
}
