/** Names the content of a disk, so that a machine's saved state is only resumed with it. */

/** @typedef {import("./v86-disk.mjs").BlockDisk} BlockDisk */

const FORMAT = 1;

/** The saved state belongs to another disk, or to other content of this disk. */
export class StateMismatchError extends Error {
  name = "StateMismatchError";
}

export class DiskContent {
  #disk;
  #size;
  #writes = 0;
  /** `#writes` when the content was named. */
  #namedAt = -1;
  /** @type {string | null} */
  #name = null;

  /** @param {BlockDisk} disk @param {number} size in bytes, as the guest sees it */
  constructor(disk, size) {
    this.#disk = disk;
    this.#size = size;
  }

  /** How many writes have begun. */
  get writes() {
    return this.#writes;
  }

  noteWrite() {
    this.#writes++;
  }

  /** Names the content, which is durable and is that after so many writes. @param {number} writes */
  async record(writes) {
    // The name is null for a writable disk without `overlayDigest`.
    const isConstant = this.#disk.readOnly || !this.#disk.write;
    this.#name = isConstant ? this.#disk.version : ((await this.#disk.overlayDigest?.()) ?? null);
    this.#namedAt = writes;
  }

  /** For a saved state: names the disk and its content, and never contains the content. @param {boolean} isBusy */
  state(isBusy) {
    return [FORMAT, this.#nameNow(isBusy), this.#size];
  }

  /**
   * Throws `StateMismatchError` unless the saved state belongs to this disk with this content.
   * @param {unknown[]} state
   * @param {boolean} isBusy
   */
  check([format, name, size], isBusy) {
    if (format !== FORMAT) throw new StateMismatchError("The saved state is from another kind of disk.");
    if (name === this.#nameNow(isBusy) && size === this.#size) return;
    throw new StateMismatchError(
      "The saved state belongs to another disk, or to older content of this disk: resuming it would " +
        "destroy the guest's files. Restart the machine, or restore that disk.",
    );
  }

  /** Throws if something was written after the content was named. @param {boolean} isBusy */
  #nameNow(isBusy) {
    if (this.#namedAt !== this.#writes || isBusy) {
      throw new Error("The disk has writes that are not flushed: stop the machine and await flushForState() first.");
    }
    if (this.#name === null) throw new Error("The disk has no overlayDigest(), so a saved state cannot name its content.");
    return this.#name;
  }
}
