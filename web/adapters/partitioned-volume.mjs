/** A partition table in front of a volume that has none. */

import { readOnly } from "../lib/disk-error.mjs";

/** @typedef {import("./sync-file.mjs").SyncBlockDisk} SyncBlockDisk */

/**
 * A volume with a partition table in front of it. The table can be read, and not be written.
 * @internal
 * @implements {SyncBlockDisk}
 */
export class PartitionedVolume {
  #volume;
  #lead;

  /**
   * @param {SyncBlockDisk} volume
   * @param {Uint8Array} lead
   */
  constructor(volume, lead) {
    this.#volume = volume;
    this.#lead = lead;
    this.size = lead.length + volume.size;
    this.blockSize = volume.blockSize;
    this.readOnly = volume.readOnly || !volume.writeSync;
  }

  /** @param {number} offset @param {Uint8Array} target */
  tryRead(offset, target) {
    const inside = this.#inLead(offset, target);
    if (inside === target.length) return true;
    return this.#volume.tryRead?.(offset + inside - this.#lead.length, target.subarray(inside)) ?? false;
  }

  /** @param {number} offset @param {Uint8Array} target */
  readSync(offset, target) {
    const inside = this.#inLead(offset, target);
    if (inside < target.length) this.#volume.readSync(offset + inside - this.#lead.length, target.subarray(inside));
  }

  /** @param {number} offset @param {Uint8Array} data */
  writeSync(offset, data) {
    if (offset < this.#lead.length) throw readOnly();
    this.#volume.writeSync?.(offset - this.#lead.length, data);
  }

  flushSync() {
    this.#volume.flushSync?.();
  }

  /**
   * Copies what of a range is in front of the volume.
   * @param {number} offset
   * @param {Uint8Array} target
   * @returns {number} how many bytes that are
   */
  #inLead(offset, target) {
    const found = this.#lead.subarray(offset, offset + target.length);
    target.set(found);
    return found.length;
  }
}
