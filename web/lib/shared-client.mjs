import { DiskError } from "./disk-error.mjs";
import {
  AREA_STATE,
  BY_MESSAGE,
  CLOSED,
  COUNTERS,
  DISCARD,
  DONE,
  DOORBELL,
  ENDED,
  ENTRIES,
  ENTRY_WORDS,
  EXTRA,
  FAILED,
  FAILURE_LENGTH,
  FLUSH,
  FREE,
  Frames,
  GIVEN_UP,
  HEADS,
  IN_FRAMES,
  KIND,
  LENGTH_HIGH,
  LENGTH_LOW,
  LOOK_MS,
  OFFSET_HIGH,
  OFFSET_LOW,
  OPEN,
  POSTED,
  READ,
  READ_TO_ROOM,
  REFUSED,
  RESULT,
  ROOM,
  ROOMS,
  SIZE_HIGH,
  SIZE_LOW,
  SOON_MS,
  STAGE,
  TRY_WRITE,
  WELL,
  WRITE,
} from "./shared-blocks.mjs";

const HALF = 2 ** 32;
const LOOK_AGAIN_MS = 1000; // at whether the worker is still there, while waiting for it
const AT_ONCE_MS = 0.2; // how long a write may take that is to be done at once
const MOST_EXTRA = 2 ** 31;

/**
 * The blocks of one disk, as one thread sees them. Offsets and lengths in bytes, of any alignment.
 * What goes wrong is a `DiskError`.
 */
export class SharedBlocks {
  /** @type {Int32Array} */
  #area;
  #size;
  /** @type {Pick<Frames, "read">} */
  #frames;
  #words;
  #rooms;
  #counters;
  #sendRing;
  /** Whether the last answer came soon. */
  #soon = false;
  /** @type {number[]} */
  #free = [];
  /** @type {((entry: number) => void)[]} */
  #wanting = [];

  /**
   * @param {{ area: SharedArrayBuffer, lane: SharedArrayBuffer }} shared
   * @param {() => void} sendRing wakes a worker that cannot hear the doorbell, by a message
   */
  constructor({ area, lane }, sendRing) {
    this.#area = new Int32Array(area, 0, HEADS / 4);
    const high = this.#area[SIZE_HIGH] ?? 0;
    this.#size = (high >>> 0) * HALF + ((this.#area[SIZE_LOW] ?? 0) >>> 0);
    this.#frames = new Frames(area);
    this.#words = new Int32Array(lane, 0, ENTRIES * ENTRY_WORDS);
    this.#counters = new Float64Array(lane, COUNTERS, 2);
    this.#rooms = Array.from({ length: ENTRIES }, (_, entry) =>
      new Uint8Array(lane, ROOMS + entry * ROOM, ROOM));
    this.#sendRing = sendRing;
    for (let entry = ENTRIES - 1; entry > 0; entry--) this.#free.push(entry);
    /** Whether `read` and `write` below may be used: the browser can wait without standing still. */
    this.canAwait = typeof Atomics.waitAsync === "function";
  }

  /** Tells every client of the area that nobody answers any more: their worker has ended. */
  end() {
    Atomics.store(this.#area, AREA_STATE, ENDED);
    for (let entry = 0; entry < ENTRIES; entry++) Atomics.notify(this.#words, entry * ENTRY_WORDS);
  }

  /** Has nothing to do with the disk any more: what is asked from now on fails as closed. */
  leave() {
    this.#area = new Int32Array(HEADS / 4).fill(CLOSED);
    this.#frames = { read: () => 0 };
  }

  /**
   * Fills `target` if all of it is in the frames; else leaves it undefined.
   * @param {number} offset
   * @param {Uint8Array} target
   */
  tryRead(offset, target) {
    const length = target.length;
    if (!this.#isInside(offset, length)) this.#refuse(offset, length);
    if (this.#frames.read(offset, target) !== length) return this.#checkOpen();
    const counters = /** @type {[number, number]} */ (/** @type {unknown} */ (this.#counters));
    counters[0] += 1;
    counters[1] += length;
    return true;
  }

  /**
   * Fills `target`; stands still until that is done.
   * @param {number} offset
   * @param {Uint8Array | Uint8Array[]} target several are filled one after the other
   */
  readSync(offset, target) {
    if (Array.isArray(target)) scatter(target, (bytes) => this.readSync(offset, bytes));
    else if (!this.tryRead(offset, target)) this.#readMissing(offset, target);
  }

  /**
   * @param {number} offset
   * @param {Uint8Array} target
   */
  #readMissing(offset, target) {
    const length = target.length;
    let at = this.#frames.read(offset, target);
    let kind = READ;
    while (at < length) {
      const count = Math.min(length - at, ROOM);
      const rest = length - at - count;
      if (this.#askSync(kind, offset + at, count, rest) === IN_FRAMES) {
        const got = this.#frames.read(offset + at, target.subarray(at, at + count));
        at += got;
        kind = got ? READ : READ_TO_ROOM;
      } else {
        target.set(this.#room(0, count), at);
        at += count;
        kind = READ;
      }
    }
  }

  /**
   * The bytes, of at most `ROOM`.
   * @param {number} offset
   * @param {number} length
   * @param {AbortSignal} [signal]
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   */
  async read(offset, length, signal) {
    const target = new Uint8Array(length);
    if (this.tryRead(offset, target)) return target;
    const fromFrames = await this.#ask(READ, offset, target, signal);
    if (!fromFrames || this.#frames.read(offset, target) === length) return target;
    await this.#ask(READ_TO_ROOM, offset, target, signal);
    return target;
  }

  /**
   * Writes `data` if the worker answers at once and need not wait either. When it says false, nothing
   * was written.
   * @param {number} offset
   * @param {Uint8Array} data more than `ROOM` is never written at once
   */
  tryWrite(offset, data) {
    this.#check(offset, data.length);
    if (data.length > ROOM) return false;
    this.#room(0, data.length).set(data);
    this.#post(0, TRY_WRITE, offset, data.length, 0);
    const until = performance.now() + AT_ONCE_MS;
    while (Atomics.load(this.#words, 0) !== DONE) {
      if (performance.now() < until) continue;
      if (Atomics.compareExchange(this.#words, 0, POSTED, FREE) === POSTED) return false;
      // It is being written this instant, in a plain call.
      if (Atomics.load(this.#area, AREA_STATE) !== OPEN) this.#checkAnswerable(0);
    }
    return this.#result(0) !== REFUSED;
  }

  /**
   * Writes `data`; stands still until that is done.
   * @param {number} offset
   * @param {Uint8Array | Uint8Array[]} data several are written one after the other
   */
  writeSync(offset, data) {
    if (Array.isArray(data)) {
      this.writeSync(offset, gathered(data));
      return;
    }
    this.#check(offset, data.length);
    let staged = 0;
    for (; data.length - staged > ROOM; staged += ROOM) {
      this.#room(0, ROOM).set(data.subarray(staged, staged + ROOM));
      this.#askSync(STAGE, offset, ROOM, staged);
    }
    this.#room(0, data.length - staged).set(data.subarray(staged));
    this.#askSync(WRITE, offset, data.length - staged, staged);
  }

  /**
   * Writes `data`, of at most `ROOM`.
   * @param {number} offset
   * @param {Uint8Array} data
   */
  async write(offset, data) {
    this.#check(offset, data.length);
    await this.#ask(WRITE, offset, data);
  }

  /** Returns once everything written is durable. */
  flushSync() {
    this.#askSync(FLUSH, 0, 0, 0);
  }

  /**
   * Gives the room of a range back: it reads as zeros from now on.
   * @param {number} offset
   * @param {number} length
   */
  discardSync(offset, length) {
    this.#check(offset, length);
    this.#askSync(DISCARD, offset, length, 0);
  }

  // ── requests ───────────────────────────────────────────────────────────────────────────────────

  /**
   * Asks, and stands still until there is an answer.
   * @param {number} kind
   * @param {number} offset
   * @param {number} length
   * @param {number} extra
   */
  #askSync(kind, offset, length, extra) {
    this.#post(0, kind, offset, length, extra);
    const words = this.#words;
    const posted = performance.now();
    if (this.#soon) {
      while (Atomics.load(words, 0) !== DONE && performance.now() - posted < LOOK_MS);
    }
    for (let state; (state = Atomics.load(words, 0)) !== DONE; ) {
      if (Atomics.wait(words, 0, state, LOOK_AGAIN_MS) === "timed-out") this.#checkAnswerable(0);
    }
    this.#soon = performance.now() - posted < SOON_MS;
    return this.#result(0);
  }

  /**
   * Asks for `bytes.length` bytes, to be filled in or written; others may be asked for meanwhile.
   * @param {number} kind
   * @param {number} offset
   * @param {Uint8Array} bytes
   * @param {AbortSignal} [signal]
   * @returns {Promise<boolean>} whether the bytes are to be had from the frames
   */
  async #ask(kind, offset, bytes, signal) {
    signal?.throwIfAborted();
    const entry = this.#free.pop() ?? (await this.#nextFree());
    if (signal?.aborted) {
      this.#putBack(entry);
      throw signal.reason;
    }
    if (kind === WRITE) this.#room(entry, bytes.length).set(bytes);
    this.#post(entry, kind, offset, bytes.length, 0);
    const answered = this.#answered(entry).then(() => {
      try {
        const result = this.#result(entry);
        if (kind !== WRITE && result === WELL) bytes.set(this.#room(entry, bytes.length));
        return result === IN_FRAMES;
      } finally {
        this.#putBack(entry);
      }
    });
    return signal ? this.#unlessAborted(entry, answered, signal) : answered;
  }

  /**
   * @template T
   * @param {number} entry
   * @param {Promise<T>} answered
   * @param {AbortSignal} signal
   * @returns {Promise<T>}
   */
  #unlessAborted(entry, answered, signal) {
    return new Promise((resolve, reject) => {
      const abort = () => {
        Atomics.store(this.#words, entry * ENTRY_WORDS + GIVEN_UP, 1);
        this.#ring();
        reject(signal.reason);
      };
      signal.addEventListener("abort", abort, { once: true });
      answered.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
    });
  }

  /**
   * Resolves when a request is done.
   * @param {number} entry
   */
  async #answered(entry) {
    const at = entry * ENTRY_WORDS;
    for (let state; (state = Atomics.load(this.#words, at)) !== DONE; ) {
      const waiting = Atomics.waitAsync(this.#words, at, state, LOOK_AGAIN_MS);
      if (waiting.async && (await waiting.value) === "timed-out") this.#checkAnswerable(entry);
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
    const words = this.#words;
    const at = entry * ENTRY_WORDS;
    if (words[at] !== FREE) throw new DiskError(NEVER_ANSWERED);
    words[at + KIND] = kind;
    words[at + OFFSET_LOW] = offset;
    words[at + OFFSET_HIGH] = offset / HALF;
    words[at + LENGTH_LOW] = length;
    words[at + LENGTH_HIGH] = length / HALF;
    words[at + EXTRA] = Math.min(extra, MOST_EXTRA);
    words[at + GIVEN_UP] = 0;
    Atomics.store(words, at, POSTED);
    this.#ring();
    if (Atomics.load(this.#area, AREA_STATE) !== OPEN) this.#checkAnswerable(entry);
  }

  #ring() {
    Atomics.add(this.#area, DOORBELL, 1);
    Atomics.notify(this.#area, DOORBELL);
    if (this.#area[BY_MESSAGE]) this.#sendRing();
  }

  /**
   * The result of a request that is done; its entry is free then.
   * @param {number} entry
   */
  #result(entry) {
    const at = entry * ENTRY_WORDS;
    const result = this.#word(at + RESULT);
    if (result === FAILED) {
      const json = this.#room(entry, this.#word(at + FAILURE_LENGTH)).slice();
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
  #room(entry, length) {
    return /** @type {Uint8Array} */ (this.#rooms[entry]).subarray(0, length);
  }

  // ── what cannot be ─────────────────────────────────────────────────────────────────────────────

  /**
   * @param {number} offset
   * @param {number} length
   */
  #check(offset, length) {
    if (!this.#isInside(offset, length)) this.#refuse(offset, length);
    this.#checkOpen();
  }

  /**
   * @param {number} offset
   * @param {number} length
   */
  #isInside(offset, length) {
    return Number.isSafeInteger(offset) && offset >= 0 && offset + length <= this.#size;
  }

  /**
   * @param {number} offset
   * @param {number} length
   * @returns {never}
   */
  #refuse(offset, length) {
    if (!Number.isInteger(offset)) {
      const [option, value, expected] = ["offset", String(offset), "a whole number of bytes"];
      const message = `The option ${option} cannot be ${value}: it must be ${expected}.`;
      throw new DiskError({ name: "InvalidOptionError", message, fields: { option, value, expected } });
    }
    const size = this.#size;
    const message =
      `${length} bytes at offset ${offset} reach outside the disk, which has ${size} bytes.`;
    throw new DiskError({ name: "OutOfRangeError", message, fields: { offset, length, size } });
  }

  /** @returns {false} */
  #checkOpen() {
    const state = Atomics.load(this.#area, AREA_STATE);
    if (state !== OPEN) throw new DiskError(state === CLOSED ? DISK_CLOSED : WORKER_ENDED);
    return false;
  }

  /**
   * Throws unless the request may still be answered, or is. A closing host answers all it finds.
   * @param {number} entry
   */
  #checkAnswerable(entry) {
    const at = entry * ENTRY_WORDS;
    const state = Atomics.load(this.#area, AREA_STATE);
    if (state === OPEN) return;
    if (Atomics.compareExchange(this.#words, at, POSTED, FREE) === POSTED) this.#checkOpen();
    if (state === ENDED && Atomics.load(this.#words, at) !== DONE) this.#checkOpen();
  }
}

/**
 * Fills one view after the other with what `read` fills one with.
 * @param {Uint8Array[]} targets
 * @param {(bytes: Uint8Array) => void} read
 */
function scatter(targets, read) {
  const bytes = new Uint8Array(targets.reduce((length, { length: more }) => length + more, 0));
  read(bytes);
  let at = 0;
  for (const target of targets) {
    target.set(bytes.subarray(at, at + target.length));
    at += target.length;
  }
}

/** @param {Uint8Array[]} pieces */
function gathered(pieces) {
  const bytes = new Uint8Array(pieces.reduce((length, { length: more }) => length + more, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

const DISK_CLOSED = {
  name: "DiskClosedError",
  message: "This disk is closed. Open it again to go on.",
  fields: {},
};
const WORKER_ENDED = {
  name: "WorkerError",
  message: "The disk worker does not run: it was ended. Reload the page to start it again.",
  fields: { reason: "it was ended" },
};
const NEVER_ANSWERED = {
  name: "WorkerError",
  message: "The disk worker does not run: an earlier call was never answered. Reload the page.",
  fields: { reason: "an earlier call was never answered" },
};
