/**
 * A disk's blocks in memory that threads share. Clients read blocks there, and request missing ones,
 * without messages. This module has the protocol and its constants. `shared-blocks.mjs` is the client
 * side, for the page and for workers that read; `shared-host.mjs` is the side of the disk's worker,
 * where Python decides (`shared_disk.py`).
 *
 * # The protocol
 *
 * All words are 32 bits in the machine's order. "Loads", "stores" and "adds" are those of `Atomics`,
 * which are sequentially consistent; all other accesses are plain.
 *
 * ## The area: one for each disk
 *
 *     byte 0     word 0   state: 0 open, 1 closed, 2 its worker has ended
 *                word 1   log2 of a frame's bytes, at least 12
 *                word 2   log2 of the number of sets
 *                word 3   1 if the host waits for messages instead of the doorbell
 *                word 4   the disk's size in bytes, low half; word 5, high half
 *     byte 64    word 16  doorbell: counts what clients have posted
 *     byte 128   a head for each frame: sequence number, block (-1: none)
 *     then       a mark for each frame: 1 byte, set when the frame is read
 *     then       the frames, from a multiple of 4096 on
 *
 * Only the host writes here, but for doorbell and marks, which clients write, and state 2, which is
 * written by whoever ends the worker.
 *
 * Block b may be in any of the 8 frames of set (b ^ b >> s ^ b >> 2s) mod 2^s, s = word 2, which are
 * neighbours: their heads are one cache line. A block is the frame's size of bytes of the disk, the
 * last one less. It is in one frame at most. Neighbours are spread evenly over the sets. If random blocks
 * fill half of the frames, one in a hundred or two is evicted early.
 *
 * A frame is a seqlock. To write it the host adds 1 to the sequence number (odd: under way), stores
 * block -1, writes the bytes, stores the block, adds 1. To read it a client finds the block among
 * the heads, loads the sequence number, gives up if it is odd or if the block it now loads is
 * another, copies the bytes, adds 0 to the sequence number, and has nothing unless that returns the
 * number loaded before. The addition is what makes it exact: the plain reads of the bytes come
 * before it in program order, and a host that goes on to write must read from it, so that they
 * happen before the host's writes (a load there would not order them: Boehm, "Can seqlocks get along
 * with programming language memory models?", 2012). Clients hold no locks: one that dies leaves
 * nothing behind.
 *
 * A change of the disk empties the frames of its range (block -1, under the seqlock) before it is
 * acknowledged to anyone.
 *
 * ## The mailbox: one for each client, its requests
 *
 *     byte 0     8 entries of 16 words:
 *                word 0   state: 0 free, 1 posted, 2 taken, 3 done
 *                word 1   kind, see below
 *                word 2   offset, low half; word 3, high half
 *                word 4   length, low half; word 5, high half
 *                word 6   extra: of a read, bytes that the same read will ask for next; of a write,
 *                         bytes staged for it before
 *                word 7   result: 1 in the frames, 2 done (bytes of a read are in the entry's buffer),
 *                         3 refused, 4 failed
 *                word 8   bytes of the failure, as JSON in the entry's buffer
 *                word 9   1 when the client cancels the request
 *     byte 512   reads, bytes read: two 64-bit floats that count what the client found in frames
 *     byte 4096  a buffer of 256 KiB for each entry
 *
 * A client writes a free entry's words and buffer, stores state 1, adds 1 to the doorbell and notifies
 * it (or sends a message, see word 3), and then checks the area's state: nobody responds in
 * an area that is not open. The host takes an entry by exchanging 1 for 2. It responds by writing the
 * result and buffer, storing 3 and notifying the state; the client reads them and stores 0. A client may
 * withdraw a request that nobody has taken, by exchanging 1 for 0. Entry 0 is for the one request that
 * its thread blocks on; the others are for requests that it awaits. Only client and host know a mailbox,
 * so its buffers have one writer at a time, and each handover is a store that the other side loads. The
 * host forgets a mailbox when the Web Lock of its client is released.
 *
 * Waking a thread takes longer than a read. So a thread whose last wait was short spins for `LOOK_MS`
 * before it sleeps: the host and a thread that reads block after block then need no wake-up. Occasional
 * requests cost no spinning.
 *
 * Kinds: 1 read, through frames if it is short (but the first read of a block by a blocked thread goes
 * into the buffer: a block that is read once is not worth a frame); 2 read into the buffer (after a
 * frame was reused for another block before its bytes were copied); 3 write;
 * 4 write at once or refuse; 5 stage bytes of a write longer than the buffer; 6 flush; 7 discard.
 */

/** How long a thread spins before it sleeps, in milliseconds. */
export const LOOK_MS = 0.05;
/** After a wait shorter than this, the next one is likely to be short too; in milliseconds. */
export const SOON_MS = 0.2;

export const WAYS = 8;
export const OPEN = 0;
export const CLOSED = 1;
export const ENDED = 2;

export const AREA_STATE = 0;
export const FRAME_SHIFT = 1;
export const SET_SHIFT = 2;
export const BY_MESSAGE = 3;
export const SIZE_LOW = 4;
export const SIZE_HIGH = 5;
export const DOORBELL = 16;
export const HEADS = 128;

export const ENTRIES = 8;
export const ENTRY_WORDS = 16;
export const BUFFER_BYTES = 256 * 1024;
export const BUFFERS = 4096;
export const COUNTERS = 512;

export const FREE = 0;
export const POSTED = 1;
export const TAKEN = 2;
export const DONE = 3;

export const KIND = 1;
export const OFFSET_LOW = 2;
export const OFFSET_HIGH = 3;
export const LENGTH_LOW = 4;
export const LENGTH_HIGH = 5;
export const EXTRA = 6;
export const RESULT = 7;
export const FAILURE_LENGTH = 8;
export const CANCELLED = 9;

export const READ = 1;
export const READ_TO_BUFFER = 2;
export const WRITE = 3;
export const TRY_WRITE = 4;
export const STAGE = 5;
export const FLUSH = 6;
export const DISCARD = 7;

export const IN_FRAMES = 1;
export const OK = 2;
export const REFUSED = 3;
export const FAILED = 4;

/**
 * Where the parts of an area lie.
 * @param {number} frameShift
 * @param {number} setShift
 */
export function areaLayout(frameShift, setShift) {
  const frames = WAYS * 2 ** setShift;
  const marks = HEADS + frames * 8;
  const data = Math.ceil((marks + frames) / 4096) * 4096;
  return { frames, marks, data, bytes: data + frames * 2 ** frameShift };
}

/** @type {boolean | undefined} */
let mayWait;

/** Whether this thread may block until another one responds; a page's main thread may not. */
export function canWait() {
  return (mayWait ??= triesToWait()); // called before each read, and allocating memory takes time
}

function triesToWait() {
  try {
    return Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0) === "not-equal";
  } catch {
    return false;
  }
}
