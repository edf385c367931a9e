/**
 * When the writes of a guest are made durable that asks for no flush itself: after a second without writes, after
 * five at the latest. For every adapter.
 */

const IDLE_MS = 1000;
const LATEST_MS = 5000;

export class FlushSchedule {
  #flush;
  #isDirty = false;
  #dirtySince = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {() => void} flush called in the background; says itself what of it fails */
  constructor(flush) {
    this.#flush = flush;
  }

  /** Whether there are writes that no flush has begun for. */
  get isDirty() {
    return this.#isDirty;
  }

  /** Whether the latest time has passed: the timers of a guest that never yields do not fire. */
  get isDue() {
    return this.#isDirty && this.#timeLeft(performance.now()) === 0;
  }

  /** Notes a write that is not durable yet, or a flush that failed. */
  note() {
    const now = performance.now();
    if (!this.#isDirty) this.#dirtySince = now;
    this.#isDirty = true;
    this.#set(Math.min(IDLE_MS, this.#timeLeft(now)));
  }

  /** Notes a failed flush that is repeated only after the longest time: it may block the thread. */
  postpone() {
    this.#isDirty = true;
    this.#dirtySince = performance.now();
    this.#set(LATEST_MS);
  }

  /** A flush begins. Returns whether there was something to make durable. */
  begin() {
    const wasDirty = this.#isDirty;
    this.stop();
    this.#isDirty = false;
    return wasDirty;
  }

  /** Nothing happens in the background any more, until the next write. */
  stop() {
    clearTimeout(this.#timer);
  }

  /** @param {number} ms */
  #set(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#flush(), ms);
  }

  /** @param {number} now */
  #timeLeft(now) {
    return Math.max(0, this.#dirtySince + LATEST_MS - now);
  }
}
