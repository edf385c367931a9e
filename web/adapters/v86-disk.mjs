/**
 * A disk as v86 takes it.
 *
 *     import { openDisk } from "./aero-disk.mjs";
 *     import { v86Disk } from "./v86-disk.mjs";
 *     const hda = await v86Disk(await openDisk({ url, allowRemote: true, overlay: "work" }));
 *     const machine = new V86({ hda, … });
 *     hda.attach(machine);
 *     hda.addEventListener("failure", ({ failure }) => show(failure.message, () => failure.retry()));
 *
 * The guest sees the disk's bytes or an error. While an answer is late the machine stands still, so
 * that the guest's own time-outs do not fire. When the disk gives up reading, the machine stops with a
 * "failure" event and goes on after `failure.retry()`; `failure.refuse()` lets the guest see a bad
 * sector instead. A write that the disk refuses for good (no room, read-only) is a write error for the
 * guest, told by a "refused" event.
 *
 * What the guest writes is durable when the guest flushes its disk, when nothing was written for a
 * second, at the latest after five, and at `settle()`. For a saved state: `await hda.settle()` with the
 * machine stopped, before `save_state()` and before `restore_state()`.
 *
 * @module v86-disk.mjs
 */

import { awaitsWrite, driveOf, failRead, failWrite, passFlushesOn } from "./v86-machine.mjs";
import { PendingTransfers } from "./v86-transfers.mjs";

export { DiskFailureEvent, Failure } from "./v86-transfers.mjs";

/**
 * What is asked of a disk; `Disk` of aero-disk.mjs has it. All offsets and lengths are in bytes.
 * @typedef {object} BlockDisk
 * @property {number} size
 * @property {string} version
 * @property {boolean} [readOnly]
 * @property {number} [sectorSize] in bytes; 2048 for a CD
 * @property {(offset: number, length: number, options?: { signal?: AbortSignal }) => Promise<Uint8Array>} read
 * @property {(offset: number, target: Uint8Array) => boolean} [tryRead] what is at hand, or false
 * @property {(offset: number, data: Uint8Array) => Promise<void>} [write]
 * @property {(offset: number, data: Uint8Array) => boolean} [tryWrite]
 * @property {() => Promise<void>} [flush]
 * @property {() => Promise<string>} [overlayDigest] names the exact content of a writable disk
 */

/**
 * @typedef {(bytes: Uint8Array) => void} OnRead
 * @typedef {import("./v86-machine.mjs").V86} V86
 * @typedef {import("./v86-transfers.mjs").TransferKind} TransferKind
 */

/**
 * @typedef {object} V86DiskOptions
 * @property {number} [patienceMs] how long an answer may take before the machine stands still: less
 *   than any guest waits for its disk, 5 seconds by default
 */

const SECTOR = 512;
/** v86 counts sectors in 32 bits. */
const LARGEST = (2 ** 32 - 1) * SECTOR;
const PATIENCE_MS = 5000;
const IDLE_FLUSH_MS = 1000;
const LATEST_FLUSH_MS = 5000;
/** So many answers of `get_and_cache` are kept; v86 asks for one, the first sector. */
const MOST_KEPT = 16;
const STATE_FORMAT = 1;

/**
 * Makes a disk one for v86's `hda`, `hdb` or `cdrom`.
 * @param {BlockDisk} disk
 * @param {V86DiskOptions} [options]
 * @returns {Promise<V86Disk>} rejects as the disk does when its first sector cannot be read
 */
export async function v86Disk(disk, options) {
  const made = new V86Disk(disk, options);
  await made.settle();
  return made;
}

/** A saved state that belongs to another disk, or to this one with another content. */
export class StateMismatchError extends Error {
  name = "StateMismatchError";
}

/** "activity": the guest has its bytes, or has handed some over. */
export class DiskActivityEvent extends Event {
  /** @param {"read" | "write"} kind @param {number} offset @param {number} length in bytes */
  constructor(kind, offset, length) {
    super("activity");
    this.kind = kind;
    this.offset = offset;
    this.length = length;
  }
}

/**
 * The object that v86 gets. Events: "activity", "waiting" and "arrived" (the machine stands still for
 * a late answer, and goes on), "failure", "refused".
 */
export class V86Disk extends EventTarget {
  /** Set by v86. @type {((event: object) => void) | undefined} */
  onload = undefined;
  /** Set by v86. @type {((event: object) => void) | undefined} */
  onprogress = undefined;

  #disk;
  #transfers;
  /** By offset. @type {Map<number, Uint8Array>} */
  #kept = new Map();
  #writesBegun = 0;
  #isDirty = false;
  #dirtySince = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #flushTimer;
  #flushing = Promise.resolve();
  #flushes = false;
  /** How many writes there were when this disk was last settled. */
  #settledAt = -1;
  /** What this disk held then. @type {string | null} */
  #content = null;

  /**
   * @param {BlockDisk} disk
   * @param {V86DiskOptions} [options]
   */
  constructor(disk, { patienceMs = PATIENCE_MS } = {}) {
    super();
    if (disk.size < SECTOR) throw new RangeError("v86 needs a disk of at least one sector");
    if (disk.size > LARGEST) throw new RangeError("v86 reaches no more than 2 TiB of a disk");
    this.#disk = disk;
    this.#transfers = new PendingTransfers(this, patienceMs);
    /** In bytes; of a last sector that is not whole the guest sees nothing. */
    this.byteLength = disk.size - (disk.size % SECTOR);
  }

  /**
   * Tells the disk its machine, so that it can stop it. Called once, before the machine runs or at any
   * time after.
   * @param {V86} machine
   */
  attach(machine) {
    this.#transfers.machine = machine;
    const drive = driveOf(machine, this);
    if (drive) this.#flushes = passFlushesOn(drive, () => this.#flushForGuest());
    else machine.add_listener("emulator-ready", () => this.attach(machine));
  }

  /** Whether the guest's own flushes reach this disk; else only its timers make writes durable. */
  get passesFlushes() {
    return this.#flushes;
  }

  /** What has failed and holds the machine. */
  get failures() {
    return this.#transfers.failures;
  }

  /** Tries everything again that has failed. */
  retry() {
    for (const failure of this.failures) failure.retry();
  }

  // ── what v86 calls ──────────────────────────────────────────────────────────────────────────────

  load() {
    this.onload?.({});
  }

  /**
   * @param {number} offset
   * @param {number} length
   * @param {OnRead} callback called at once with what is at hand, never with wrong bytes
   * @param {{ signal?: AbortSignal }} [options]
   */
  get(offset, length, callback, { signal } = {}) {
    const finish = (/** @type {Uint8Array} */ bytes) => {
      callback(bytes);
      this.dispatchEvent(new DiskActivityEvent("read", offset, length));
    };
    const bytes = this.#atHand(offset, length);
    if (bytes) return finish(bytes);
    this.#transfers.begin({
      kind: "read",
      offset,
      length,
      signal,
      perform: () => this.#read(offset, length, signal),
      finish: (result) => finish(/** @type {Uint8Array} */ (result)),
      refusal: () => {
        const drive = driveOf(this.#transfers.machine, this);
        return drive && !drive.is_atapi && signal ? () => failRead(drive, signal) : null;
      },
    });
  }

  /**
   * @param {number} offset
   * @param {number} length
   * @param {OnRead} callback
   * @param {{ signal?: AbortSignal }} [options]
   */
  get_and_cache(offset, length, callback, options) {
    const bytes = this.get_from_cache(offset, length);
    if (bytes) return callback(bytes);
    const keep = (/** @type {Uint8Array} */ bytes) => {
      this.#kept.set(offset, bytes.slice());
      for (const first of this.#kept.keys()) {
        if (this.#kept.size > MOST_KEPT) this.#kept.delete(first);
      }
      callback(bytes);
    };
    this.get(offset, length, keep, options);
  }

  /**
   * What can be had without waiting, or undefined.
   * @param {number} offset
   * @param {number} length
   * @returns {Uint8Array | undefined}
   */
  get_from_cache(offset, length) {
    const kept = this.#kept.get(offset);
    if (kept && kept.length >= length) return kept.slice(0, length);
    return this.#atHand(offset, length);
  }

  /**
   * @param {number} offset
   * @param {Uint8Array} data v86 uses it again when this returns
   * @param {() => void} callback
   */
  set(offset, data, callback) {
    const { length } = data;
    this.#writesBegun++;
    for (const [at, kept] of this.#kept) {
      if (at < offset + length && offset < at + kept.length) this.#kept.delete(at);
    }
    const finish = () => {
      this.#soil();
      callback();
      this.dispatchEvent(new DiskActivityEvent("write", offset, length));
    };
    if (!this.#transfers.writes(offset, length).length && this.#disk.tryWrite?.(offset, data)) return finish();
    const bytes = data.slice();
    const wasAwaited = awaitsWrite(driveOf(this.#transfers.machine, this));
    this.#transfers.begin({
      kind: "write",
      offset,
      length,
      perform: () => this.#write(offset, bytes),
      finish,
      refusal: () => {
        const drive = driveOf(this.#transfers.machine, this);
        return wasAwaited && awaitsWrite(drive) ? () => failWrite(drive) : null;
      },
    });
  }

  /** For a saved state: which disk with which content, never the content itself. */
  get_state() {
    return [STATE_FORMAT, this.#settled(), this.byteLength];
  }

  /**
   * Throws `StateMismatchError` unless the disk is the one of the saved state, with the same content.
   * @param {unknown[]} state
   */
  set_state([format, content, size]) {
    if (format !== STATE_FORMAT) throw new StateMismatchError("The saved state is of another kind of disk.");
    if (content === this.#settled() && size === this.byteLength) return;
    throw new StateMismatchError(
      "The saved state belongs to another disk, or to what this disk held before it was written to: " +
        "going on with it would destroy the guest's files. Start the machine anew, or bring that disk back.",
    );
  }

  /** @param {(buffer?: ArrayBuffer) => void} callback gets nothing: the disk may be larger than memory */
  get_buffer(callback) {
    callback();
  }

  // ── what lasts ──────────────────────────────────────────────────────────────────────────────────

  /** Resolves when all that the guest has written so far is durable. Rejects as the disk does. */
  async flush() {
    await Promise.all(this.#transfers.writes().map((write) => write.done));
    clearTimeout(this.#flushTimer);
    if (this.#isDirty) this.#flushing = this.#flushAfter(this.#flushing);
    await this.#flushing;
  }

  /** @param {Promise<void>} earlier */
  async #flushAfter(earlier) {
    this.#isDirty = false;
    await earlier.catch(() => {}); // it was told to who asked for it
    try {
      await this.#disk.flush?.();
    } catch (error) {
      this.#soil();
      throw error;
    }
  }

  /** The guest sees an error when this rejects. */
  #flushForGuest() {
    return new Promise((resolve, reject) => {
      this.#transfers.begin({
        kind: "flush",
        offset: 0,
        length: 0,
        perform: () => this.flush(),
        finish: resolve,
        refusal: () => reject,
      });
    });
  }

  /** Nobody waits for it, but who looks at the machine is told when it fails. */
  #flushUnasked() {
    this.#transfers.begin({
      kind: "flush",
      offset: 0,
      length: 0,
      perform: () => this.flush(),
      finish: () => {},
      refusal: () => null,
    });
  }

  /**
   * Waits until nothing is under way, makes all of it durable, and learns what the disk now holds.
   * What has failed must have been tried again with success, or refused, before this resolves.
   */
  async settle() {
    await this.#transfers.settle();
    await this.flush();
    const writes = this.#writesBegun;
    const first = this.#kept.get(0) ?? (await this.#read(0, SECTOR));
    const content = await this.#identify();
    if (writes === this.#writesBegun) this.#kept.set(0, first);
    this.#content = content;
    this.#settledAt = writes;
  }

  /** Names this disk and what it holds. Null for a writable disk that cannot tell. */
  async #identify() {
    if (this.#disk.readOnly || !this.#disk.write) return this.#disk.version;
    return (await this.#disk.overlayDigest?.()) ?? null;
  }

  /** What identifies this disk and its content. Throws unless it is settled. */
  #settled() {
    if (this.#settledAt !== this.#writesBegun || this.#transfers.count) {
      throw new Error("The disk is not settled: stop the machine and await settle() first.");
    }
    if (this.#content === null) throw new Error("The disk cannot say what it holds, so no state can name it.");
    return this.#content;
  }

  /** Something was written that is not durable yet. */
  #soil() {
    const now = performance.now();
    if (!this.#isDirty) this.#dirtySince = now;
    this.#isDirty = true;
    clearTimeout(this.#flushTimer);
    const latest = this.#dirtySince + LATEST_FLUSH_MS - now;
    this.#flushTimer = setTimeout(() => this.#flushUnasked(), Math.max(0, Math.min(IDLE_FLUSH_MS, latest)));
  }

  // ── the disk ────────────────────────────────────────────────────────────────────────────────────

  /** @param {number} offset @param {number} length */
  #atHand(offset, length) {
    if (!this.#disk.tryRead || this.#transfers.writes(offset, length).length) return undefined;
    const bytes = new Uint8Array(length);
    return this.#disk.tryRead(offset, bytes) ? bytes : undefined;
  }

  /** @param {number} offset @param {number} length @param {AbortSignal} [signal] */
  async #read(offset, length, signal) {
    const bytes = await this.#disk.read(offset, length, { signal });
    if (bytes.length !== length) throw new Error(`The disk gave ${bytes.length} bytes instead of ${length}.`);
    return bytes;
  }

  /** @param {number} offset @param {Uint8Array} data */
  async #write(offset, data) {
    const { write, readOnly } = this.#disk;
    if (!write || readOnly) throw named("ReadOnlyError", "This disk cannot be written to.");
    await this.#disk.write?.(offset, data);
  }
}

/** @param {string} name @param {string} message */
function named(name, message) {
  return Object.assign(new Error(message), { name });
}
