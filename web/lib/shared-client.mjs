/** How a thread joins and leaves a disk's shared memory. */

import { SharedBlocks } from "./shared-blocks.mjs";

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
 * One thread's use of a disk's shared memory. It holds a Web Lock, which shows the worker that the thread is
 * alive. The browser releases the lock when the thread ends for any reason.
 */
export class SharedMemoryClient {
  #releaseLock = () => {};
  #stopListening = () => {};

  /**
   * @param {Calls} calls
   * @param {number} disk
   * @param {number} [memoryBytes] for the frames, if this thread joins first: 64 MiB by default
   */
  constructor(calls, disk, memoryBytes) {
    /** The shared memory; null before the thread has joined, and where memory cannot be shared.
     * @type {SharedBlocks | null} */
    this.blocks = null;
    /** @type {Promise<DiskFacts>} */
    this.joined = this.#join(calls, disk, memoryBytes);
    this.joined.catch(() => {}); // callers that await it get the error
  }

  /** Leaves, once it has joined, and releases the memory. */
  async leave() {
    await this.joined.catch(() => {});
    this.#stopListening();
    this.blocks?.leave();
    this.#releaseLock();
  }

  /**
   * @param {Calls} calls
   * @param {number} disk
   * @param {number} [memoryBytes]
   * @returns {Promise<DiskFacts>}
   */
  async #join(calls, disk, memoryBytes) {
    const name = await this.#holdLock();
    const { area, mailbox, ...facts } = await calls.call("shared.attach", {
      disk,
      client: name && `client/${name}`,
      memoryBytes,
    }).catch((error) => {
      this.#releaseLock();
      throw error;
    });
    if (area) {
      const blocks = new SharedBlocks({ area, mailbox }, () => calls.post({ ring: disk }));
      this.blocks = blocks;
      this.#stopListening = calls.onEnd(() => blocks.end());
    } else this.#releaseLock();
    return facts;
  }

  /** @returns {Promise<string | undefined>} the name of the held lock; undefined without isolation */
  #holdLock() {
    return new Promise((resolve, reject) => {
      if (!globalThis.crossOriginIsolated) {
        resolve(undefined);
        return;
      }
      const name = crypto.randomUUID();
      const held = navigator.locks.request(`aero-browser-disk/client/${name}`, () => {
        resolve(name);
        return new Promise((release) => (this.#releaseLock = () => release(null)));
      });
      held.catch(reject);
    });
  }
}
