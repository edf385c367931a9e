/** A client's mailbox: requests to the disk's worker, and their results. See `shared-protocol.mjs`. */

import { DiskError, diskClosed, workerFailed } from "./disk-error.mjs";
import {
  AREA_STATE,
  BUFFER_BYTES,
  BUFFERS,
  BY_MESSAGE,
  CANCELLED,
  CLOSED,
  COUNTERS,
  DONE,
  DOORBELL,
  ENDED,
  ENTRIES,
  ENTRY_WORDS,
  EXTRA,
  FAILED,
  FAILURE_LENGTH,
  FREE,
  HEADS,
  IN_FRAMES,
  KIND,
  LENGTH_HIGH,
  LENGTH_LOW,
  LOOK_MS,
  OFFSET_HIGH,
  OFFSET_LOW,
  OK,
  OPEN,
  POSTED,
  RESULT,
  SOON_MS,
  WRITE,
} from "./shared-protocol.mjs";

const HALF = 2 ** 32;
const CHECK_AGAIN_MS = 1000; // while waiting, check that the worker is still running
const MAX_EXTRA = 2 ** 31;

export class Mailbox {
  #area;
  #words;
  #buffers;
  #sendRing;
  #hasLeft = false;
  /** Whether the last response came quickly. */
  #soon = false;
  /** @type {number[]} */
  #free = [];
  /** @type {((entry: number) => void)[]} */
  #wanting = [];

  /**
   * @param {SharedArrayBuffer} area
   * @param {SharedArrayBuffer} memory
   * @param {() => void} sendRing wakes a worker that cannot hear the doorbell, by a message
   */
  constructor(area, memory, sendRing) {
    this.#area = new Int32Array(area, 0, HEADS / 4);
    this.#words = new Int32Array(memory, 0, ENTRIES * ENTRY_WORDS);
    /** Reads, and bytes, that the client found in frames. */
    this.counters = new Float64Array(memory, COUNTERS, 2);
    this.#buffers = Array.from({ length: ENTRIES }, (_, entry) =>
      new Uint8Array(memory, BUFFERS + entry * BUFFER_BYTES, BUFFER_BYTES));
    this.#sendRing = sendRing;
    for (let entry = ENTRIES - 1; entry > 0; entry--) this.#free.push(entry);
  }

  /** Notifies every client that the worker has ended, so that no more responses come. */
  end() {
    Atomics.store(this.#area, AREA_STATE, ENDED);
    this.#wake();
  }

  /** Fails the requests under way: this client has left. */
  leave() {
    this.#hasLeft = true;
    this.#wake();
  }

  /** Throws unless the disk is open. @returns {false} */
  checkOpen() {
    const state = Atomics.load(this.#area, AREA_STATE);
    if (state === CLOSED || this.#hasLeft) throw diskClosed();
    if (state !== OPEN) throw workerFailed("it was ended");
    return false;
  }

  /**
   * The bytes that go with the request that a thread waits for.
   * @param {number} length
   */
  buffer(length) {
    return this.#buffer(0, length);
  }

  /**
   * Makes a request, and blocks until there is a response.
   * @param {number} kind
   * @param {number} offset
   * @param {number} length
   * @param {number} extra
   */
  requestSync(kind, offset, length, extra) {
    this.#post(0, kind, offset, length, extra);
    const words = this.#words;
    const posted = performance.now();
    if (this.#soon) {
      while (Atomics.load(words, 0) !== DONE && performance.now() - posted < LOOK_MS);
    }
    for (let state; (state = Atomics.load(words, 0)) !== DONE; ) {
      if (Atomics.wait(words, 0, state, CHECK_AGAIN_MS) === "timed-out") this.#checkReachable(0);
    }
    this.#soon = performance.now() - posted < SOON_MS;
    return this.#result(0);
  }

  /**
   * Makes a request, and withdraws it if nobody has taken it within `ms`.
   * @param {number} kind
   * @param {number} offset
   * @param {number} length
   * @param {number} ms
   * @returns {number | null} null if it was withdrawn
   */
  requestWithin(kind, offset, length, ms) {
    this.#post(0, kind, offset, length, 0);
    const until = performance.now() + ms;
    while (Atomics.load(this.#words, 0) !== DONE) {
      if (performance.now() < until) continue;
      if (Atomics.compareExchange(this.#words, 0, POSTED, FREE) === POSTED) return null;
      // The worker is handling it right now, in a plain call.
      if (Atomics.load(this.#area, AREA_STATE) !== OPEN) this.#checkReachable(0);
    }
    return this.#result(0);
  }

  /**
   * Requests `bytes.length` bytes, to be filled in or written; others may be requested meanwhile.
   * @param {number} kind
   * @param {number} offset
   * @param {Uint8Array} bytes
   * @param {AbortSignal} [signal]
   * @returns {Promise<boolean>} whether the bytes are in the frames
   */
  async request(kind, offset, bytes, signal) {
    signal?.throwIfAborted();
    const entry = this.#free.pop() ?? (await this.#nextFree());
    if (signal?.aborted) {
      this.#putBack(entry);
      throw signal.reason;
    }
    if (kind === WRITE) this.#buffer(entry, bytes.length).set(bytes);
    this.#post(entry, kind, offset, bytes.length, 0);
    const responded = this.#responded(entry).then(() => {
      try {
        const result = this.#result(entry);
        if (kind !== WRITE && result === OK) bytes.set(this.#buffer(entry, bytes.length));
        return result === IN_FRAMES;
      } finally {
        this.#putBack(entry);
      }
    });
    return signal ? this.#unlessAborted(entry, responded, signal) : responded;
  }

  /**
   * @template T
   * @param {number} entry
   * @param {Promise<T>} responded
   * @param {AbortSignal} signal
   * @returns {Promise<T>}
   */
  #unlessAborted(entry, responded, signal) {
    return new Promise((resolve, reject) => {
      const abort = () => {
        Atomics.store(this.#words, entry * ENTRY_WORDS + CANCELLED, 1);
        this.#ring();
        reject(signal.reason);
      };
      signal.addEventListener("abort", abort, { once: true });
      responded.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
    });
  }

  /**
   * Resolves when a request is done.
   * @param {number} entry
   */
  async #responded(entry) {
    const at = entry * ENTRY_WORDS;
    for (let state; (state = Atomics.load(this.#words, at)) !== DONE; ) {
      if (this.#hasLeft) throw diskClosed();
      const waiting = Atomics.waitAsync(this.#words, at, state, CHECK_AGAIN_MS);
      if (waiting.async && (await waiting.value) === "timed-out") this.#checkReachable(entry);
    }
  }

  /** @returns {Promise<number>} the next entry that is put back */
  #nextFree() {
    return new Promise((take) => this.#wanting.push(take));
  }

  /** @param {number} entry */
  #putBack(entry) {
    const take = this.#wanting.shift();
    if (take) take(entry);
    else this.#free.push(entry);
  }

  /**
   * @param {number} entry
   * @param {number} kind
   * @param {number} offset
   * @param {number} length
   * @param {number} extra
   */
  #post(entry, kind, offset, length, extra) {
    this.checkOpen();
    const words = this.#words;
    const at = entry * ENTRY_WORDS;
    if (words[at] !== FREE) throw workerFailed("it never responded to an earlier call");
    words[at + KIND] = kind;
    words[at + OFFSET_LOW] = offset;
    words[at + OFFSET_HIGH] = offset / HALF;
    words[at + LENGTH_LOW] = length;
    words[at + LENGTH_HIGH] = length / HALF;
    words[at + EXTRA] = Math.min(extra, MAX_EXTRA);
    words[at + CANCELLED] = 0;
    Atomics.store(words, at, POSTED);
    this.#ring();
    if (Atomics.load(this.#area, AREA_STATE) !== OPEN) this.#checkReachable(entry);
  }

  #ring() {
    Atomics.add(this.#area, DOORBELL, 1);
    Atomics.notify(this.#area, DOORBELL);
    if (this.#area[BY_MESSAGE]) this.#sendRing();
  }

  /** Wakes everyone who waits for a response. */
  #wake() {
    for (let entry = 0; entry < ENTRIES; entry++) Atomics.notify(this.#words, entry * ENTRY_WORDS);
  }

  /**
   * The result of a request that is done; its entry is free then.
   * @param {number} entry
   */
  #result(entry) {
    const at = entry * ENTRY_WORDS;
    const result = this.#word(at + RESULT);
    if (result === FAILED) {
      const json = this.#buffer(entry, this.#word(at + FAILURE_LENGTH)).slice();
      Atomics.store(this.#words, at, FREE);
      throw new DiskError(JSON.parse(new TextDecoder().decode(json)));
    }
    Atomics.store(this.#words, at, FREE);
    return result;
  }

  /** @param {number} index */
  #word(index) {
    return /** @type {number} */ (this.#words[index]);
  }

  /**
   * @param {number} entry
   * @param {number} length
   */
  #buffer(entry, length) {
    return /** @type {Uint8Array} */ (this.#buffers[entry]).subarray(0, length);
  }

  /**
   * Throws unless the request has a response or may still get one. A closing host responds to all requests.
   * @param {number} entry
   */
  #checkReachable(entry) {
    const at = entry * ENTRY_WORDS;
    const state = Atomics.load(this.#area, AREA_STATE);
    if (state === OPEN) return;
    if (Atomics.compareExchange(this.#words, at, POSTED, FREE) === POSTED) this.checkOpen();
    if (state === ENDED && Atomics.load(this.#words, at) !== DONE) this.checkOpen();
  }
}
