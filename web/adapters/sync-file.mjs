/** A disk as a file that is read and written synchronously, in small parts. For every adapter that blocks. */

import { FlushSchedule } from "./flush-schedule.mjs";

/**
 * What is needed of a disk; an attached `Disk` has it. All offsets and lengths are in bytes.
 * @typedef {object} SyncBlockDisk
 * @property {number} size
 * @property {boolean | undefined} [readOnly]
 * @property {number | undefined} [blockSize]
 * @property {(offset: number, target: Uint8Array) => void} readSync fills `target`, or throws
 * @property {((offset: number, target: Uint8Array) => boolean) | undefined} [tryRead] reads from memory, or returns false
 * @property {((offset: number, data: Uint8Array) => void) | undefined} [writeSync]
 * @property {(() => void) | undefined} [flushSync]
 */

const SHORT_READ = 16 * 1024;
const LONG_READ = 64 * 1024;

/** Throws what the disk throws. Writes become durable by `flush`, or as FlushSchedule has it. */
export class SyncFile {
  #disk;
  #onError;
  /** What a short read fetches: the blocks are in shared memory then, for the reads that follow. */
  #unit;
  #scratch;
  #schedule = new FlushSchedule(() => this.#flushInBackground());
  /** Of a flush that nobody waited for. @type {unknown} */
  #flushError = null;

  /**
   * @param {SyncBlockDisk} disk
   * @param {(error: Error) => void} onError gets the error of a flush that nobody waited for
   */
  constructor(disk, onError) {
    this.#disk = disk;
    this.#onError = onError;
    this.#unit = Math.min(LONG_READ, Math.max(SHORT_READ, disk.blockSize ?? 0));
    this.#scratch = new Uint8Array(this.#unit);
    this.size = disk.size;
    this.canWrite = !disk.readOnly && Boolean(disk.writeSync);
  }

  /** @param {number} position @param {Uint8Array} target within the disk */
  read(position, target) {
    this.#flushIfDue();
    const disk = this.#disk;
    if (target.length >= this.#unit) return disk.readSync(position, target);
    if (disk.tryRead?.(position, target)) return;
    // Programs ask for 512 bytes at a time: one call to the worker serves many of these reads.
    for (let done = 0; done < target.length; ) {
      const at = position + done;
      const start = at - (at % this.#unit);
      const unit = this.#scratch.subarray(0, Math.min(this.#unit, disk.size - start));
      disk.readSync(start, unit);
      const found = unit.subarray(at - start, at - start + target.length - done);
      target.set(found, done);
      done += found.length;
    }
  }

  /** @param {number} position @param {Uint8Array} data within the disk */
  write(position, data) {
    this.#disk.writeSync?.(position, data);
    this.#schedule.note();
    this.#flushIfDue();
  }

  /** Returns once everything written is durable. Throws the error of an earlier flush in the background too. */
  flush() {
    this.#schedule.begin();
    try {
      this.#disk.flushSync?.();
    } catch (error) {
      this.#schedule.postpone();
      throw error;
    }
    const earlier = this.#flushError;
    this.#flushError = null;
    if (earlier) throw earlier;
  }

  /** Makes all writes durable; nothing happens in the background any more. */
  close() {
    if (this.#schedule.isDirty) this.flush();
    this.#schedule.stop();
  }

  #flushIfDue() {
    if (this.#schedule.isDue) this.#flushInBackground();
  }

  #flushInBackground() {
    try {
      this.flush();
    } catch (error) {
      this.#flushError = error;
      this.#onError(/** @type {Error} */ (error));
    }
  }
}
