/**
 * The frames of a disk's shared memory, as the disk's own worker fills and empties them: see
 * `shared-protocol.mjs` for the protocol. The heads are the table. A set evicts a frame that was
 * not read since it was last examined (the clock algorithm; readers set marks).
 */

import { areaLayout, FRAME_SHIFT, HEADS, SET_SHIFT, SIZE_HIGH, SIZE_LOW, WAYS } from "./shared-protocol.mjs";

/** @typedef {import("./python-bridge.mjs").SyncFile} SyncFile */

const NOTHING = -1;

const options = { at: 0 };

/**
 * Fills `target` from `at` on; false if the file returned fewer bytes.
 * @param {SyncFile} file
 * @param {number} at
 * @param {Uint8Array} target
 */
export function readWhole(file, at, target) {
  try {
    options.at = at;
    return file.read(target, options) === target.length;
  } catch {
    return false; // Python reads again and gets the error
  }
}

export class HostFrames {
  #heads;
  #marks;
  #bytes;
  #data;
  #setShift;
  #hands;
  #asked;

  /**
   * @param {number} frameShift
   * @param {number} setShift
   * @param {number} size of the disk in bytes
   */
  constructor(frameShift, setShift, size) {
    const { frames, marks, data, bytes } = areaLayout(frameShift, setShift);
    this.area = new SharedArrayBuffer(bytes);
    this.size = size;
    this.frameSize = 2 ** frameShift;
    const words = new Int32Array(this.area, 0, HEADS / 4);
    words[FRAME_SHIFT] = frameShift;
    words[SET_SHIFT] = setShift;
    words[SIZE_LOW] = size;
    words[SIZE_HIGH] = size / 2 ** 32;
    this.#heads = new Int32Array(this.area, HEADS, 2 * frames);
    this.#marks = new Uint8Array(this.area, marks, frames);
    this.#bytes = new Uint8Array(this.area);
    this.#data = data;
    this.#setShift = setShift;
    this.#hands = new Uint8Array(2 ** setShift);
    this.#asked = new Int32Array(frames).fill(NOTHING);
    for (let frame = 0; frame < frames; frame++) this.#heads[2 * frame + 1] = NOTHING;
  }

  /** How many frames contain a block. */
  get used() {
    return this.#heads.reduce((used, word, at) => used + Number(at % 2 === 1 && word !== NOTHING), 0);
  }

  /** @param {number} block */
  has(block) {
    return this.#find(block) >= 0;
  }

  /**
   * Whether a block that is in no frame was requested recently, within about as many misses as there are
   * frames. Loading blocks that are requested only once would evict the ones requested often.
   * @param {number} block
   */
  isWanted(block) {
    const asked = this.#asked;
    const at = block & (asked.length - 1);
    if (asked[at] === block) return true;
    asked[at] = block;
    return false;
  }

  /**
   * Reads a block from a file into a frame.
   * @param {number} block
   * @param {SyncFile} file
   * @param {number} at
   * @returns {boolean} false if the file returned fewer bytes
   */
  fill(block, file, at) {
    const frame = this.#open(block);
    const filled = readWhole(file, at, this.#bufferOf(frame, block));
    this.#close(frame, filled ? block : NOTHING);
    return filled;
  }

  /**
   * Puts a block into a frame.
   * @param {number} block
   * @param {Uint8Array} bytes that begin with the block
   */
  put(block, bytes) {
    const frame = this.#open(block);
    const target = this.#bufferOf(frame, block);
    target.set(bytes.subarray(0, target.length));
    this.#close(frame, block);
  }

  /**
   * Empties the frames of a range of bytes.
   * @param {number} offset
   * @param {number} length
   */
  forget(offset, length) {
    const first = Math.floor(offset / this.frameSize);
    const last = Math.floor((offset + length - 1) / this.frameSize);
    if (last - first < this.#hands.length) {
      for (let block = first; block <= last; block++) this.#drop(this.#find(block));
      return;
    }
    for (let frame = 0; frame < this.#marks.length; frame++) {
      const block = this.#block(frame);
      if (block >= first && block <= last) this.#drop(frame);
    }
  }

  /**
   * The frame of a block; negative if no frame has it.
   * @param {number} block
   */
  #find(block) {
    const first = this.#set(block) * WAYS;
    for (let frame = first; frame < first + WAYS; frame++) {
      if (this.#block(frame) === block) return frame;
    }
    return NOTHING;
  }

  /**
   * Picks the frame for a block, evicting the block in it, and opens it for writing.
   * @param {number} block
   */
  #open(block) {
    const held = this.#find(block);
    const frame = held < 0 ? this.#nextFrame(this.#set(block)) : held;
    Atomics.add(this.#heads, 2 * frame, 1);
    Atomics.store(this.#heads, 2 * frame + 1, NOTHING);
    return frame;
  }

  /**
   * @param {number} frame
   * @param {number} block
   */
  #close(frame, block) {
    Atomics.store(this.#heads, 2 * frame + 1, block);
    Atomics.add(this.#heads, 2 * frame, 1);
  }

  /** @param {number} frame below 0 for none */
  #drop(frame) {
    if (frame < 0) return;
    Atomics.add(this.#heads, 2 * frame, 1);
    this.#close(frame, NOTHING);
  }

  /** @param {number} set */
  #nextFrame(set) {
    const hands = this.#hands;
    for (let looked = 0; ; looked++) {
      const frame = set * WAYS + /** @type {number} */ (hands[set]);
      hands[set] = (frame + 1) % WAYS;
      if (this.#block(frame) === NOTHING || !this.#marks[frame] || looked === WAYS) {
        this.#marks[frame] = 0;
        return frame;
      }
      this.#marks[frame] = 0;
    }
  }

  /** @param {number} block */
  #set(block) {
    const shift = this.#setShift;
    return (block ^ (block >>> shift) ^ (block >>> (2 * shift))) & (2 ** shift - 1);
  }

  /** @param {number} frame */
  #block(frame) {
    return /** @type {number} */ (this.#heads[2 * frame + 1]);
  }

  /**
   * @param {number} frame
   * @param {number} block
   */
  #bufferOf(frame, block) {
    const from = this.#data + frame * this.frameSize;
    const length = Math.min(this.frameSize, this.size - block * this.frameSize);
    return this.#bytes.subarray(from, from + length);
  }
}
