/**
 * The disk's own worker's side of `shared-protocol.mjs`, where the protocol is described: it hears the
 * doorbell and moves bytes. What goes where is decided in Python, which calls the methods of
 * `SharedHost` and is called for each request, in plain calls.
 */

import { HostFrames, readWhole } from "./host-frames.mjs";
import {
  AREA_STATE,
  BY_MESSAGE,
  CLOSED,
  COUNTERS,
  DONE,
  DOORBELL,
  ENTRIES,
  ENTRY_WORDS,
  EXTRA,
  FAILURE_LENGTH,
  FREE,
  CANCELLED,
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
  RESULT,
  BUFFER_BYTES,
  BUFFERS,
  SOON_MS,
  TAKEN,
  OK,
} from "./shared-protocol.mjs";

/** @typedef {import("./python-bridge.mjs").SyncFile} SyncFile */
/**
 * Python's answer to a request: its result, or 0 when `finish` will be called later.
 * @typedef {(client: number, entry: number, kind: number, offset: number, length: number,
 *   extra: number) => number} Answer
 */

const HALF = 2 ** 32;
const FRAMED = 64 * 1024; // reads up to that fill frames; longer ones are rarely read again
const LONGEST_TURN_MS = 4; // of answering before others in this worker have theirs

/** @type {Set<SharedHost>} */
const hosts = new Set();

/** Answers what clients have posted: for where the doorbell cannot be heard. */
export function answerAll() {
  for (const host of hosts) host.answerPosted();
}

/** A client's mailbox. */
class Mailbox {
  constructor() {
    this.memory = new SharedArrayBuffer(BUFFERS + ENTRIES * BUFFER_BYTES);
    this.words = new Int32Array(this.memory, 0, ENTRIES * ENTRY_WORDS);
    this.counters = new Float64Array(this.memory, COUNTERS, 2);
  }

  /**
   * @param {number} entry
   * @param {number} start
   * @param {number} length
   */
  buffer(entry, start, length) {
    return new Uint8Array(this.memory, BUFFERS + entry * BUFFER_BYTES + start, length);
  }

  /** @param {number} index of a word */
  word(index) {
    return /** @type {number} */ (this.words[index]);
  }
}

/** The shared memory of one disk. */
export class SharedHost {
  /** @type {HostFrames} */
  #frames;
  /** @type {Int32Array} */
  #words;
  /** @type {Map<number, Mailbox>} */
  #mailboxes = new Map();
  /** @type {SyncFile | null} */
  #file = null;
  #place;
  #answer;
  #giveUp;
  #others = new Others();
  /** When a thread that stands still got its last answer. */
  #answeredAt = -Infinity;
  /** Whether it asked again soon after the one before. */
  #soon = false;

  /**
   * @param {number} frameShift
   * @param {number} setShift
   * @param {number} size of the disk in bytes
   * @param {(block: number) => number} place where a block lies in the file; below 0 when nowhere
   * @param {Answer} answer to what the frames and the file do not answer
   * @param {(client: number, entry: number) => void} giveUp a request that was left for later
   */
  constructor(frameShift, setShift, size, place, answer, giveUp) {
    this.#frames = new HostFrames(frameShift, setShift, size);
    this.area = this.#frames.area;
    /** Where Python and this object hand bytes to each other. */
    this.scratch = new Uint8Array(BUFFER_BYTES);
    this.#words = new Int32Array(this.area, 0, HEADS / 4);
    this.#place = place;
    this.#answer = answer;
    this.#giveUp = giveUp;
    hosts.add(this);
    if (typeof Atomics.waitAsync === "function") this.#listen();
    else this.#words[BY_MESSAGE] = 1;
  }

  // ── frames ─────────────────────────────────────────────────────────────────────────────────────

  /**
   * Names the file that `place` speaks of.
   * @param {SyncFile} file
   */
  use(file) {
    this.#file = file;
  }

  /** @param {number} block */
  has(block) {
    return this.#frames.has(block);
  }

  /**
   * Puts a block from the scratch buffer into a frame.
   * @param {number} block
   */
  put(block) {
    this.#frames.put(block, this.scratch);
  }

  /**
   * Empties the frames of a range of bytes.
   * @param {number} offset
   * @param {number} length
   */
  forget(offset, length) {
    this.#frames.forget(offset, length);
  }

  /** How many frames hold a block. */
  used() {
    return this.#frames.used;
  }

  // ── clients ────────────────────────────────────────────────────────────────────────────────────

  /**
   * Makes a mailbox for a client.
   * @param {number} client
   */
  addClient(client) {
    const mailbox = new Mailbox();
    this.#mailboxes.set(client, mailbox);
    return mailbox.memory;
  }

  /**
   * Forgets a client; what it has asked for is answered no more.
   * @param {number} client
   */
  removeClient(client) {
    this.#mailboxes.delete(client);
  }

  /**
   * What a client found in frames since it came.
   * @param {number} client
   * @returns {number[]} reads, bytes
   */
  counters(client) {
    return [...(this.#mailboxes.get(client)?.counters ?? [0, 0])];
  }

  /**
   * Fills part of an entry's buffer from a file.
   * @param {number} client
   * @param {number} entry
   * @param {number} start
   * @param {SyncFile} file
   * @param {number} at
   * @param {number} length
   * @returns {boolean} false when the file did not give all of it
   */
  fillBuffer(client, entry, start, file, at, length) {
    const mailbox = this.#mailboxes.get(client);
    return !mailbox || readWhole(file, at, mailbox.buffer(entry, start, length));
  }

  /**
   * Fills part of an entry's buffer from the scratch buffer.
   * @param {number} client
   * @param {number} entry
   * @param {number} start
   * @param {number} length
   */
  putBuffer(client, entry, start, length) {
    this.#mailboxes.get(client)?.buffer(entry, start, length).set(this.scratch.subarray(0, length));
  }

  /**
   * Copies what is in an entry's buffer to the scratch buffer.
   * @param {number} client
   * @param {number} entry
   * @param {number} length
   */
  takeBuffer(client, entry, length) {
    const mailbox = this.#mailboxes.get(client);
    if (mailbox) this.scratch.set(mailbox.buffer(entry, 0, length));
  }

  /**
   * Answers a request that was left for later.
   * @param {number} client
   * @param {number} entry
   * @param {number} result
   */
  finish(client, entry, result) {
    const mailbox = this.#mailboxes.get(client);
    if (!mailbox) return;
    const at = entry * ENTRY_WORDS;
    mailbox.words[at + RESULT] = result;
    Atomics.store(mailbox.words, at, DONE);
    Atomics.notify(mailbox.words, at);
    if (entry === 0) this.#answeredAt = performance.now();
  }

  /**
   * Puts a failure, as JSON in the scratch buffer, into an entry.
   * @param {number} client
   * @param {number} entry
   * @param {number} length
   */
  putFailure(client, entry, length) {
    this.putBuffer(client, entry, 0, length);
    const mailbox = this.#mailboxes.get(client);
    if (mailbox) mailbox.words[entry * ENTRY_WORDS + FAILURE_LENGTH] = length;
  }

  /** Answers nothing more; Python answers what was taken, and what is posted now. */
  close() {
    Atomics.store(this.#words, AREA_STATE, CLOSED);
    this.#frames.forget(0, this.#frames.size);
    this.answerPosted();
    hosts.delete(this);
    this.#others.close();
    Atomics.notify(this.#words, DOORBELL); // so that nothing waits for it for ever
  }

  /** Lets go of all memory, once everything that was taken got its response. Nothing is called after it. */
  free() {
    this.#mailboxes.clear();
    this.#frames = new HostFrames(0, 0, 0);
    this.#words = new Int32Array(HEADS / 4).fill(CLOSED);
    this.area = this.#frames.area;
    this.scratch = new Uint8Array(0);
    this.#file = null;
  }

  // ── requests ───────────────────────────────────────────────────────────────────────────────────

  /** Answers what clients have posted. */
  answerPosted() {
    for (const [client, mailbox] of this.#mailboxes) {
      for (let entry = 0; entry < ENTRIES; entry++) this.#take(client, mailbox, entry);
    }
  }

  /**
   * @param {number} client
   * @param {Mailbox} mailbox
   * @param {number} entry
   */
  #take(client, mailbox, entry) {
    const at = entry * ENTRY_WORDS;
    const { words } = mailbox;
    if (Atomics.load(words, at) === FREE) return;
    if (Atomics.compareExchange(words, at, POSTED, TAKEN) === POSTED) {
      const offset = wide(mailbox.word(at + OFFSET_LOW), mailbox.word(at + OFFSET_HIGH));
      const length = wide(mailbox.word(at + LENGTH_LOW), mailbox.word(at + LENGTH_HIGH));
      const extra = mailbox.word(at + EXTRA) >>> 0;
      const kind = mailbox.word(at + KIND);
      if (entry === 0) this.#soon = performance.now() - this.#answeredAt < SOON_MS;
      const result =
        (kind === READ && length + extra <= FRAMED && this.#readFile(mailbox, entry, offset, length)) ||
        this.#answer(client, entry, kind, offset, length, extra);
      if (result) this.finish(client, entry, result);
    }
    if (words[at + CANCELLED] && Atomics.load(words, at) === TAKEN) {
      words[at + CANCELLED] = 0;
      this.#giveUp(client, entry);
    }
  }

  /**
   * Answers a short read, as far as its blocks lie in the file: brings them into frames, or, when a
   * thread waits for a small part of a block that nobody asked for lately, only that part into the
   * entry's buffer. A client that does not wait may count on the frames: it tries again.
   * @param {Mailbox} mailbox
   * @param {number} entry
   * @param {number} offset
   * @param {number} length
   * @returns {number} the result; 0 for none
   */
  #readFile(mailbox, entry, offset, length) {
    const frames = this.#frames;
    if (!(length > 0 && offset + length <= frames.size)) return 0;
    const size = frames.frameSize;
    const first = Math.floor(offset / size);
    const last = Math.floor((offset + length - 1) / size);
    for (let block = first; block <= last; block++) {
      if (frames.has(block)) continue;
      const at = this.#place(block);
      const file = this.#file;
      if (at < 0 || !file) return 0;
      if (entry === 0 && length <= size / 4 && first === last && !frames.isWanted(block)) {
        const target = mailbox.buffer(entry, 0, length);
        return readWhole(file, at + offset - block * size, target) ? OK : 0;
      }
      if (!frames.fill(block, file, at)) return 0;
    }
    return IN_FRAMES;
  }

  /**
   * Looks for a moment whether the doorbell rings again.
   * @param {number} rung
   */
  #look(rung) {
    const until = this.#answeredAt + LOOK_MS;
    while (Atomics.load(this.#words, DOORBELL) === rung && performance.now() < until);
  }

  async #listen() {
    const words = this.#words;
    let turn = performance.now();
    while (Atomics.load(words, AREA_STATE) === OPEN) {
      const rung = Atomics.load(words, DOORBELL);
      this.answerPosted();
      if (this.#soon) this.#look(rung);
      const waiting = Atomics.waitAsync(words, DOORBELL, rung);
      if (waiting.async) await waiting.value;
      else if (performance.now() - turn < LONGEST_TURN_MS) continue;
      else await this.#others.haveTurn();
      turn = performance.now();
    }
  }
}

/** Lets whatever else waits in this thread's event loop run. */
class Others {
  #channel = new MessageChannel();

  haveTurn() {
    return new Promise((resume) => {
      this.#channel.port1.onmessage = resume;
      this.#channel.port2.postMessage(null);
    });
  }

  close() {
    this.#channel.port1.close();
  }
}

/**
 * @param {number} low
 * @param {number} high
 */
function wide(low, high) {
  return (high >>> 0) * HALF + (low >>> 0);
}
