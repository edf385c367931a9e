/**
 * The disk worker's side of the protocol in `shared-protocol.mjs`: it waits for the doorbell and moves
 * bytes. Python decides what goes where. It calls the methods of `SharedHost`, and is called for each
 * request, both in plain calls.
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
 * Python's handler of requests. Returns the result, or 0 if `finish` will be called later.
 * @typedef {(client: number, entry: number, kind: number, offset: number, length: number,
 *   extra: number) => number} Respond
 */

const HALF = 2 ** 32;
const FRAMED = 64 * 1024; // reads up to this length fill frames; longer ones are rarely repeated
const LONGEST_TURN_MS = 4; // of responding before other tasks of this worker run

/** @type {Set<SharedHost>} */
const hosts = new Set();

/** Responds to all posted requests, in browsers without `Atomics.waitAsync`. */
export function respondToAll() {
  for (const host of hosts) host.respondToPosted();
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
  #locate;
  #respond;
  #giveUp;
  #others = new Others();
  /** When a blocked thread got its last response. */
  #respondedAt = -Infinity;
  /** Whether it asked again soon after the previous response. */
  #soon = false;

  /**
   * @param {number} frameShift
   * @param {number} setShift
   * @param {number} size of the disk in bytes
   * @param {(block: number) => number} locate a block's offset in the file; negative if it is not there
   * @param {Respond} respond handles requests that the frames and the file cannot serve
   * @param {(client: number, entry: number) => void} giveUp cancels a request that is still under way
   */
  constructor(frameShift, setShift, size, locate, respond, giveUp) {
    this.#frames = new HostFrames(frameShift, setShift, size);
    this.area = this.#frames.area;
    /** Where Python and this object hand bytes to each other. */
    this.scratch = new Uint8Array(BUFFER_BYTES);
    this.#words = new Int32Array(this.area, 0, HEADS / 4);
    this.#locate = locate;
    this.#respond = respond;
    this.#giveUp = giveUp;
    hosts.add(this);
    if (typeof Atomics.waitAsync === "function") this.#listen();
    else this.#words[BY_MESSAGE] = 1;
  }

  // ── frames ─────────────────────────────────────────────────────────────────────────────────────

  /**
   * Sets the file that `locate` refers to.
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

  /** How many frames contain a block. */
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
   * Removes a client; its requests get no response any more.
   * @param {number} client
   */
  removeClient(client) {
    this.#mailboxes.delete(client);
  }

  /**
   * How much a client has read from frames since it joined.
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
   * @returns {boolean} false if the file returned fewer bytes
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
   * Completes a request whose handler returned 0.
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
    if (entry === 0) this.#respondedAt = performance.now();
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

  /** Stops listening. Python still responds to requests that are taken or posted now. */
  close() {
    Atomics.store(this.#words, AREA_STATE, CLOSED);
    this.#frames.forget(0, this.#frames.size);
    this.respondToPosted();
    hosts.delete(this);
    this.#others.close();
    Atomics.notify(this.#words, DOORBELL); // so that nothing waits for it forever
  }

  /** Frees all memory, after every taken request got its response. Call nothing after it. */
  free() {
    this.#mailboxes.clear();
    this.#frames = new HostFrames(0, 0, 0);
    this.#words = new Int32Array(HEADS / 4).fill(CLOSED);
    this.area = this.#frames.area;
    this.scratch = new Uint8Array(0);
    this.#file = null;
  }

  // ── requests ───────────────────────────────────────────────────────────────────────────────────

  /** Responds to all posted requests. */
  respondToPosted() {
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
      if (entry === 0) this.#soon = performance.now() - this.#respondedAt < SOON_MS;
      const result =
        (kind === READ && length + extra <= FRAMED && this.#readFile(mailbox, entry, offset, length)) ||
        this.#respond(client, entry, kind, offset, length, extra);
      if (result) this.finish(client, entry, result);
    }
    if (words[at + CANCELLED] && Atomics.load(words, at) === TAKEN) {
      words[at + CANCELLED] = 0;
      this.#giveUp(client, entry);
    }
  }

  /**
   * Serves a short read if its blocks are in the file. It copies the blocks into frames. If a blocked
   * thread wants a small part of a block that was not requested lately, it copies only that part, into
   * the entry's buffer. A client that does not block always gets frames: it tries `tryRead` again.
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
      const at = this.#locate(block);
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
   * Spins briefly, in case the doorbell rings again.
   * @param {number} rung
   */
  #look(rung) {
    const until = this.#respondedAt + LOOK_MS;
    while (Atomics.load(this.#words, DOORBELL) === rung && performance.now() < until);
  }

  async #listen() {
    const words = this.#words;
    let turn = performance.now();
    while (Atomics.load(words, AREA_STATE) === OPEN) {
      const rung = Atomics.load(words, DOORBELL);
      this.respondToPosted();
      if (this.#soon) this.#look(rung);
      const waiting = Atomics.waitAsync(words, DOORBELL, rung);
      if (waiting.async) await waiting.value;
      else if (performance.now() - turn < LONGEST_TURN_MS) continue;
      else await this.#others.haveTurn();
      turn = performance.now();
    }
  }
}

/** Lets other tasks of this thread's event loop run. */
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
