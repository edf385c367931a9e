/** The frames of a disk's shared memory, as a client reads them: see `shared-protocol.mjs`. */

import { areaLayout, FRAME_SHIFT, HEADS, SET_SHIFT, WAYS } from "./shared-protocol.mjs";

export class Frames {
  #heads;
  #marks;
  #bytes;
  #data;
  #frameSize;
  #setShift;
  #setMask;

  /** @param {SharedArrayBuffer} area */
  constructor(area) {
    const words = new Int32Array(area);
    const frameShift = words[FRAME_SHIFT] ?? 0;
    this.#setShift = words[SET_SHIFT] ?? 0;
    const { frames, marks, data } = areaLayout(frameShift, this.#setShift);
    this.#frameSize = 2 ** frameShift;
    this.#setMask = 2 ** this.#setShift - 1;
    this.#heads = new Int32Array(area, HEADS, 2 * frames);
    this.#marks = new Uint8Array(area, marks, frames);
    this.#bytes = new Uint8Array(area);
    this.#data = data;
  }

  /**
   * Fills `target` from `offset`, up to the first block that is in no frame.
   * @param {number} offset of bytes that are on the disk
   * @param {Uint8Array} target
   * @returns {number} how many bytes were filled; the rest of `target` is undefined
   */
  read(offset, target) {
    const size = this.#frameSize;
    const length = target.length;
    let block = Math.floor(offset / size);
    let start = offset - block * size;
    if (start + length <= size) return this.#copy(block, start, target) ? length : 0;
    let at = 0;
    while (at < length) {
      const part = target.subarray(at, at + size - start);
      if (!this.#copy(block, start, part)) break;
      at += part.length;
      start = 0;
      block++;
    }
    return at;
  }

  /**
   * @param {number} block
   * @param {number} start
   * @param {Uint8Array} target
   */
  #copy(block, start, target) {
    const heads = this.#heads;
    const shift = this.#setShift;
    const set = (block ^ (block >>> shift) ^ (block >>> (2 * shift))) & this.#setMask;
    let head = set * 2 * WAYS;
    const end = head + 2 * WAYS;
    while (heads[head + 1] !== block) if ((head += 2) === end) return false;
    const before = Atomics.load(heads, head);
    if (before & 1 || Atomics.load(heads, head + 1) !== block) return false;
    const frame = head >>> 1;
    const from = this.#data + frame * this.#frameSize + start;
    target.set(this.#bytes.subarray(from, from + target.length));
    if (Atomics.add(heads, head, 0) !== before) return false;
    this.#marks[frame] = 1;
    return true;
  }
}
