/**
 * What every adapter between a disk and an emulator must do, as test cases for its author. They run over a
 * disk in memory that fails when a case wants it to, in any test runner:
 *
 *     import { test } from "node:test";
 *     import { adapterCases } from "./adapter-suite.mjs";
 *     for (const { name, run } of adapterCases(connect)) test(name, run);
 *
 * `connect(disk)` connects your adapter to the disk and returns a `Guest`, which reads and writes the way the
 * emulator's guest does: through its drive or its file.
 *
 * @module adapter-suite.mjs
 */

/**
 * What the guest sees. All offsets and lengths are in bytes. A call throws or rejects if the guest sees an error.
 * @typedef {object} Guest
 * @property {number} size of the disk as the guest sees it
 * @property {number | undefined} [unit] offsets and lengths are multiples of it: 512 for a drive, 1 by default
 * @property {(offset: number, length: number) => Promise<Uint8Array> | Uint8Array} read
 * @property {((offset: number, data: Uint8Array) => Promise<void> | void) | undefined} [write] undefined if the
 *   adapter cannot write
 * @property {(() => Promise<void> | void) | undefined} [flush]
 * @property {(() => Promise<void> | void) | undefined} [close]
 */

/** @typedef {{ name: string, run: () => Promise<void> }} AdapterCase */
/** @typedef {"read" | "write" | "flush"} DiskCall */

const SECTOR = 512;
const GIB = 2 ** 30;
const SIZE = 6 * GIB; // offsets that 32 bits do not hold

/**
 * A disk of 6 GiB with known content. It has the asynchronous and the synchronous methods of a `Disk`.
 */
export class SuiteDisk {
  size = SIZE;
  version = "suite";
  readOnly = false;
  sectorSize = SECTOR;
  blockSize = 16384;
  /** What the adapter called: the kind, and the offset. @type {[DiskCall, number][]} */
  calls = [];
  /** Sectors that were written. @type {Map<number, Uint8Array>} */
  #written = new Map();
  /** @type {[DiskCall, Error][]} */
  #failures = [];
  #durable = true;

  /** Whether everything written was flushed. */
  get isDurable() {
    return this.#durable;
  }

  /**
   * Lets the next call of a kind fail.
   * @param {DiskCall} kind
   * @param {string} [name] of the error
   */
  failNext(kind, name = "NetworkError") {
    this.#failures.push([kind, Object.assign(new Error(`${name} in a test`), { name })]);
  }

  /**
   * The bytes that a range has now. None of an unwritten disk is 0.
   * @param {number} offset
   * @param {number} length
   */
  content(offset, length) {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const sector = Math.floor((offset + done) / SECTOR);
      const start = (offset + done) % SECTOR;
      const part = this.#sector(sector).subarray(start, start + length - done);
      bytes.set(part, done);
      done += part.length;
    }
    return bytes;
  }

  /**
   * Changes bytes, as another thread does.
   * @param {number} offset
   * @param {Uint8Array} data
   */
  change(offset, data) {
    for (let done = 0; done < data.length; ) {
      const sector = Math.floor((offset + done) / SECTOR);
      const start = (offset + done) % SECTOR;
      const part = data.subarray(done, done + SECTOR - start);
      const bytes = this.#sector(sector);
      bytes.set(part, start);
      this.#written.set(sector, bytes);
      done += part.length;
    }
  }

  /** @param {number} offset @param {number} length */
  async read(offset, length) {
    await Promise.resolve();
    this.#begin("read", offset, length);
    return this.content(offset, length);
  }

  /** @param {number} offset @param {Uint8Array} data */
  async write(offset, data) {
    const bytes = data.slice();
    await Promise.resolve();
    this.writeSync(offset, bytes);
  }

  async flush() {
    await Promise.resolve();
    this.flushSync();
  }

  async overlayDigest() {
    return JSON.stringify([...this.#written.keys()]);
  }

  /** @param {number} offset @param {Uint8Array} target */
  readSync(offset, target) {
    this.#begin("read", offset, target.length);
    target.set(this.content(offset, target.length));
  }

  /** @param {number} offset @param {Uint8Array} data */
  writeSync(offset, data) {
    this.#begin("write", offset, data.length);
    this.#durable = false;
    this.change(offset, data);
  }

  flushSync() {
    this.#begin("flush", 0, 0);
    this.#durable = true;
  }

  /** @param {number} number */
  #sector(number) {
    const written = this.#written.get(number);
    return written ? written.slice() : Uint8Array.from({ length: SECTOR }, (_, at) => 1 + ((number * 31 + at * 7) % 255));
  }

  /** @param {DiskCall} kind @param {number} offset @param {number} length */
  #begin(kind, offset, length) {
    this.calls.push([kind, offset]);
    if (!(offset >= 0 && offset + length <= this.size)) {
      throw Object.assign(new Error(`the adapter used ${length} bytes at ${offset}`), { name: "OutOfRangeError" });
    }
    const found = this.#failures.findIndex(([failing]) => failing === kind);
    if (found >= 0) throw this.#failures.splice(found, 1)[0]?.[1];
  }
}

/**
 * The cases for an adapter. Those about writes run only if the guest has `write`.
 * @param {(disk: SuiteDisk) => Promise<Guest> | Guest} connect
 * @returns {AdapterCase[]}
 */
export function adapterCases(connect) {
  /** @type {AdapterCase[]} */
  const cases = [];
  /** @param {string} name @param {(guest: Guest, disk: SuiteDisk, unit: number) => Promise<void>} work @param {Partial<SuiteDisk>} [facts] */
  const add = (name, work, facts = {}) => {
    const run = async () => {
      const disk = Object.assign(new SuiteDisk(), facts);
      const guest = await connect(disk);
      try {
        await work(guest, disk, guest.unit ?? 1);
      } finally {
        await guest.close?.();
      }
    };
    cases.push({ name: `adapter: ${name}`, run });
  };
  /** @param {string} name @param {(guest: Required<Guest>, disk: SuiteDisk, unit: number) => Promise<void>} work */
  const addWrite = (name, work) =>
    add(name, async (guest, disk, unit) => {
      if (guest.write) await work(/** @type {Required<Guest>} */ (guest), disk, unit);
    });

  add("the guest sees the whole disk", async (guest, disk, unit) => {
    equal(guest.size, disk.size - (disk.size % unit), "the size");
  });
  add("reads have the bytes of their place, beyond 4 GiB too", async (guest, disk, unit) => {
    const lengths = [unit, 3 * unit, 16 * SECTOR, 128 * SECTOR];
    for (const offset of [0, unit, 16384 - unit, 4 * GIB - unit, 5 * GIB + 3 * unit]) {
      for (const length of lengths) sameBytes(await guest.read(offset, length), disk.content(offset, length), offset);
    }
    sameBytes(await guest.read(SIZE - 5 * unit, 5 * unit), disk.content(SIZE - 5 * unit, 5 * unit), SIZE - 5 * unit);
  });
  add("a read that fails is an error for the guest, and the next one works", async (guest, disk, unit) => {
    disk.failNext("read");
    await fails(() => guest.read(GIB, unit), "a failed read");
    sameBytes(await guest.read(GIB, unit), disk.content(GIB, unit), GIB);
  });
  add("what another thread changed is read", async (guest, disk, unit) => {
    await guest.read(8 * SECTOR, unit);
    disk.change(8 * SECTOR, new Uint8Array(SECTOR).fill(200));
    sameBytes(await guest.read(8 * SECTOR, unit), new Uint8Array(unit).fill(200), 8 * SECTOR);
  });
  addWrite("writes are where they belong, and read again", async (guest, disk, unit) => {
    for (const offset of [0, 7 * unit, 5 * GIB + unit, SIZE - unit]) {
      const around = disk.content(offset < unit ? 0 : offset - unit, unit);
      const data = pattern(unit, offset);
      await guest.write(offset, data);
      sameBytes(await guest.read(offset, unit), pattern(unit, offset), offset);
      await guest.flush?.();
      sameBytes(disk.content(offset, unit), pattern(unit, offset), offset);
      if (offset >= unit) sameBytes(disk.content(offset - unit, unit), around, offset - unit);
    }
  });
  addWrite("the guest may use its buffer again once the call returns", async (guest, disk, unit) => {
    const data = pattern(8 * SECTOR, 1);
    const written = guest.write(64 * unit, data);
    data.fill(0);
    await written;
    await guest.flush?.();
    sameBytes(disk.content(64 * unit, 8 * SECTOR), pattern(8 * SECTOR, 1), 64 * unit);
  });
  for (const error of ["NetworkError", "StorageFullError"]) {
    addWrite(`a write that fails with a ${error} is an error for the guest`, async (guest, disk, unit) => {
      const before = disk.content(GIB, unit);
      disk.failNext("write", error);
      await fails(() => guest.write(GIB, pattern(unit, 3)), "a failed write");
      sameBytes(disk.content(GIB, unit), before, GIB);
      await guest.write(GIB, pattern(unit, 4));
      sameBytes(await guest.read(GIB, unit), pattern(unit, 4), GIB);
    });
  }
  add(
    "a read-only disk is not written to",
    async (guest, disk, unit) => {
      sameBytes(await guest.read(0, unit), disk.content(0, unit), 0);
      if (guest.write) await fails(() => guest.write?.(0, pattern(unit, 5)), "a write to a read-only disk");
      equal(disk.calls.filter(([kind]) => kind === "write").length, 0, "the writes");
    },
    { readOnly: true },
  );
  addWrite("what the guest flushed is durable", async (guest, disk, unit) => {
    if (!guest.flush) return;
    await guest.write(5 * unit, pattern(unit, 6));
    await guest.flush();
    equal(disk.isDurable, true, "what is durable after a flush");
  });
  addWrite("a flush that fails is an error for the guest, and the next one makes the write durable", async (guest, disk, unit) => {
    if (!guest.flush) return;
    await guest.write(5 * unit, pattern(unit, 7));
    disk.failNext("flush");
    await fails(() => guest.flush(), "a failed flush");
    await guest.flush();
    equal(disk.isDurable, true, "what is durable after the second flush");
  });
  return cases;
}

/** @param {number} length @param {number} seed */
function pattern(length, seed) {
  return Uint8Array.from({ length }, (_, at) => (at * 13 + (seed % 241) + 5) & 255);
}

/** @param {unknown} found @param {unknown} expected @param {string} what */
function equal(found, expected, what) {
  if (found !== expected) throw new Error(`${what}: ${found} instead of ${expected}`);
}

/** @param {Uint8Array} found @param {Uint8Array} expected @param {number} offset */
function sameBytes(found, expected, offset) {
  equal(found.length, expected.length, `the bytes read at ${offset}`);
  const wrong = expected.findIndex((byte, at) => byte !== found[at]);
  if (wrong >= 0) throw new Error(`byte ${offset + wrong} is ${found[wrong]} instead of ${expected[wrong]}`);
}

/** @param {() => unknown} work @param {string} what */
async function fails(work, what) {
  try {
    await work();
  } catch {
    return;
  }
  throw new Error(`${what} was no error for the guest`);
}
