/**
 * One thread's access to a disk's blocks through shared memory: see `shared-protocol.mjs`. `disk.mjs` has
 * checked that ranges are inside the disk.
 */

import { Frames } from "./shared-frames.mjs";
import { Mailbox } from "./shared-mailbox.mjs";
import {
  BUFFER_BYTES,
  DISCARD,
  FLUSH,
  IN_FRAMES,
  READ,
  READ_TO_BUFFER,
  REFUSED,
  STAGE,
  TRY_WRITE,
  WRITE,
} from "./shared-protocol.mjs";
import { diskClosed } from "./disk-error.mjs";

const AT_ONCE_MS = 0.2; // max. duration of `tryWrite`

/**
 * Offsets and lengths in bytes, of any alignment. Errors are `DiskError`s.
 */
export class SharedBlocks {
  /** @type {Pick<Frames, "read">} */
  #frames;
  /** Null once this thread has detached. @type {Mailbox | null} */
  #mailbox;

  /**
   * @param {{ area: SharedArrayBuffer, mailbox: SharedArrayBuffer }} shared
   * @param {() => void} sendRing wakes a worker that cannot hear the doorbell, by a message
   */
  constructor({ area, mailbox }, sendRing) {
    this.#frames = new Frames(area);
    this.#mailbox = new Mailbox(area, mailbox, sendRing);
    /** Whether `read` may be used: the browser can wait without blocking. */
    this.canAwait = typeof Atomics.waitAsync === "function";
  }

  /** Notifies every client of the disk that the worker has ended, so that no more responses come. */
  end() {
    this.#mailbox?.end();
  }

  /** Throws unless the disk is open and its worker runs. */
  checkOpen() {
    this.#box().checkOpen();
  }

  /** Releases the memory. Calls under way and later ones fail as closed. */
  leave() {
    this.#mailbox?.leave();
    this.#mailbox = null;
    this.#frames = { read: () => 0 };
  }

  /**
   * Fills `target` if all of it is in the frames; otherwise its content is undefined.
   * @param {number} offset
   * @param {Uint8Array} target
   */
  tryRead(offset, target) {
    const length = target.length;
    const mailbox = this.#box();
    if (this.#frames.read(offset, target) !== length) return mailbox.checkOpen();
    const counters = /** @type {[number, number]} */ (/** @type {unknown} */ (mailbox.counters));
    counters[0] += 1;
    counters[1] += length;
    return true;
  }

  /**
   * Fills `target`; blocks until that is done.
   * @param {number} offset
   * @param {Uint8Array} target
   */
  readSync(offset, target) {
    if (this.tryRead(offset, target)) return;
    const mailbox = this.#box();
    const length = target.length;
    let at = this.#frames.read(offset, target);
    let kind = READ;
    while (at < length) {
      const count = Math.min(length - at, BUFFER_BYTES);
      const rest = length - at - count;
      if (mailbox.requestSync(kind, offset + at, count, rest) === IN_FRAMES) {
        const got = this.#frames.read(offset + at, target.subarray(at, at + count));
        at += got;
        kind = got ? READ : READ_TO_BUFFER;
      } else {
        target.set(mailbox.buffer(count), at);
        at += count;
        kind = READ;
      }
    }
  }

  /**
   * The bytes, of at most `BUFFER_BYTES`.
   * @param {number} offset
   * @param {number} length
   * @param {AbortSignal} [signal]
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  async read(offset, length, signal) {
    const target = new Uint8Array(length);
    if (this.tryRead(offset, target)) return target;
    const mailbox = this.#box();
    const isInFrames = await mailbox.request(READ, offset, target, signal);
    if (!isInFrames || this.#frames.read(offset, target) === length) return target;
    await mailbox.request(READ_TO_BUFFER, offset, target, signal);
    return target;
  }

  /**
   * Writes `data` if the worker can do so at once, without waiting itself. If it returns false, nothing
   * was written.
   * @param {number} offset
   * @param {Uint8Array} data more than `BUFFER_BYTES` is never written at once
   */
  tryWrite(offset, data) {
    const mailbox = this.#box();
    mailbox.checkOpen();
    if (data.length > BUFFER_BYTES) return false;
    mailbox.buffer(data.length).set(data);
    const result = mailbox.requestWithin(TRY_WRITE, offset, data.length, AT_ONCE_MS);
    return result !== null && result !== REFUSED;
  }

  /**
   * Writes `data`; blocks until that is done.
   * @param {number} offset
   * @param {Uint8Array} data
   */
  writeSync(offset, data) {
    const mailbox = this.#box();
    mailbox.checkOpen();
    let staged = 0;
    for (; data.length - staged > BUFFER_BYTES; staged += BUFFER_BYTES) {
      mailbox.buffer(BUFFER_BYTES).set(data.subarray(staged, staged + BUFFER_BYTES));
      mailbox.requestSync(STAGE, offset, BUFFER_BYTES, staged);
    }
    mailbox.buffer(data.length - staged).set(data.subarray(staged));
    mailbox.requestSync(WRITE, offset, data.length - staged, staged);
  }

  /** Returns once everything written is durable. */
  flushSync() {
    this.#box().requestSync(FLUSH, 0, 0, 0);
  }

  /**
   * Makes a range read as zeros and frees its storage.
   * @param {number} offset
   * @param {number} length
   */
  discardSync(offset, length) {
    this.#box().requestSync(DISCARD, offset, length, 0);
  }

  #box() {
    if (!this.#mailbox) throw diskClosed();
    return this.#mailbox;
  }
}
