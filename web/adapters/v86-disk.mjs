/**
 * Connects a disk to v86.
 *
 *     import { openDisk } from "./aero-disk.mjs";
 *     import { v86Disk } from "./v86-disk.mjs";
 *     const hda = await v86Disk(await openDisk({ url, allowRemote: true, overlay: "work" }));
 *     const machine = new V86({ hda, … });
 *     hda.attach(machine);
 *     hda.addEventListener("failure", ({ failure }) => show(failure.message, () => failure.retry()));
 *
 * The guest gets the disk's bytes or an error. While a response is late the machine is stopped, so that
 * the guest's own time-outs do not fire. When the disk gives up reading, the machine stops with a
 * "failure" event and continues after `failure.retry()`; `failure.refuse()` reports a bad sector to the
 * guest instead. A write that the disk refuses for good (no free space, read-only) is a write error for
 * the guest, reported by a "refused" event.
 *
 * The guest's writes become durable when the guest flushes its disk, when nothing was written for a
 * second, at the latest after five, and at `flush()` and `flushForState()`. For a saved state, call
 * `await hda.flushForState()` with the machine stopped, before `save_state()` and before
 * `restore_state()`.
 *
 * @module v86-disk.mjs
 */

import { DiskContent } from "./disk-content.mjs";
import { FlushSchedule } from "./flush-schedule.mjs";
import { startTimerWhenPolled } from "./v86-clock.mjs";
import { checkFloppy, noFloppy } from "./v86-floppies.mjs";
import { awaitsWrite, driveOf, failFloppy, failRead, failWrite, floppyOf, insertDisk, passFlushesOn } from "./v86-machine.mjs";
import { PendingTransfers } from "./v86-transfers.mjs";

export { StateMismatchError } from "./disk-content.mjs";
export { EmulatorFileError, v86Files } from "./v86-files.mjs";
export { DiskFailureEvent, Failure } from "./v86-transfers.mjs";

/**
 * What an adapter needs from a disk; `Disk` of aero-disk.mjs has it. All offsets and lengths are in bytes.
 * @typedef {object} BlockDisk
 * @property {number} size
 * @property {string} version
 * @property {boolean | undefined} [readOnly]
 * @property {number | undefined} [sectorSize] in bytes; 2048 for a CD
 * @property {(offset: number, length: number, options?: { signal?: AbortSignal }) => Promise<Uint8Array>} read
 * @property {((offset: number, target: Uint8Array) => boolean) | undefined} [tryRead] reads from memory, or returns false
 * @property {((offset: number, data: Uint8Array) => Promise<void>) | undefined} [write]
 * @property {((offset: number, data: Uint8Array) => boolean) | undefined} [tryWrite]
 * @property {(() => Promise<void>) | undefined} [flush]
 * @property {(() => Promise<string>) | undefined} [overlayDigest] names the exact content of a writable disk
 */

/**
 * @typedef {import("./v86-transfers.mjs").DiskFailureEvent} FailureEvent
 * @typedef {{ activity: DiskActivityEvent, waiting: Event, arrived: Event, failure: FailureEvent, refused: FailureEvent }} V86DiskEvents
 * @typedef {import("./v86-files.mjs").V86Files} V86Files
 * @typedef {import("./v86-files.mjs").V86FileUrls} V86FileUrls
 * @typedef {(bytes: Uint8Array) => void} OnRead
 * @typedef {import("./v86-machine.mjs").V86} V86
 * @typedef {import("./v86-transfers.mjs").TransferKind} TransferKind
 */

/**
 * @typedef {object} V86DiskOptions
 * @property {number | undefined} [patienceMs] how long a response may take before the machine is stopped;
 *   less than any guest waits for its disk; 5 seconds by default, 2 for a floppy
 * @property {boolean | undefined} [floppy] whether the disk is for `fda` or `fdb`
 */

const SECTOR = 512;
/** v86 counts sectors in 32 bits. */
const LARGEST = (2 ** 32 - 1) * SECTOR;
const PATIENCE_MS = 5000;
/** The BIOS waits five seconds for a floppy. */
const FLOPPY_PATIENCE_MS = 2000;
/** Max. results of `get_and_cache` to keep; v86 requests one, the first sector. */
const MAX_KEPT = 16;

/**
 * Wraps a disk for v86's `hda`, `hdb` or `cdrom`, or with `floppy` for `fda` or `fdb`.
 * @param {BlockDisk} disk
 * @param {V86DiskOptions} [options]
 * @returns {Promise<V86Disk>} rejects with a `RangeError` for a size that v86 does not know, and as the disk
 *   does when its first sector cannot be read
 */
export async function v86Disk(disk, options) {
  const made = new V86Disk(disk, options);
  await made.flushForState();
  return made;
}

/** "activity": the guest has read or written. */
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
 * The object that v86 gets. Events: "activity", "waiting" and "arrived" (the machine
 * stops for a late response, and continues), "failure", "refused".
 */
export class V86Disk extends /** @type {import("../lib/typed-events.mjs").TypedEvents<V86DiskEvents>} */ (EventTarget) {
  /** For v86's types, which require a buffer in every image. v86 never uses it if the object has `get`. */
  url = "";
  /** Set by v86. @type {((event: object) => void) | undefined} */
  onload = undefined;
  /** Set by v86. @type {((event: object) => void) | undefined} */
  onprogress = undefined;

  #disk;
  #transfers;
  /** By offset. @type {Map<number, Uint8Array>} */
  #kept = new Map();
  #content;
  #schedule = new FlushSchedule(() => this.#flushInBackground());
  #flushing = Promise.resolve();
  #flushes = false;

  /**
   * @param {BlockDisk} disk
   * @param {V86DiskOptions} [options]
   */
  constructor(disk, { floppy = false, patienceMs = floppy ? FLOPPY_PATIENCE_MS : PATIENCE_MS } = {}) {
    super();
    if (disk.size < SECTOR) throw new RangeError("v86 needs a disk of at least one sector");
    if (disk.size > LARGEST) throw new RangeError("v86 counts sectors in 32 bits: a disk has less than 2 TiB");
    if (floppy) checkFloppy(disk.size);
    this.#disk = disk;
    this.#transfers = new PendingTransfers(this, patienceMs);
    /** In bytes, without an incomplete last sector. */
    this.byteLength = disk.size - (disk.size % SECTOR);
    this.#content = new DiskContent(disk, this.byteLength);
  }

  /**
   * Connects the disk to its machine, so that it can stop the machine. Call it once, before the machine
   * runs or at any time after.
   * @param {V86} machine
   */
  attach(machine) {
    this.#transfers.machine = machine;
    const drive = driveOf(machine, this);
    const floppy = floppyOf(machine, this);
    if (drive || floppy) startTimerWhenPolled(machine);
    if (drive) this.#flushes = passFlushesOn(drive, () => this.#flushForGuest());
    else if (floppy) floppy.drive.read_only = Boolean(this.#disk.readOnly) || !this.#disk.write;
    else machine.add_listener("emulator-ready", () => this.attach(machine));
  }

  /**
   * Puts this disk into a drive of a machine that is loaded, in place of what is there, and attaches it. The
   * guest is told that its medium was changed. `machine.eject_cdrom()`, `eject_fda()` and `eject_fdb()` empty a drive.
   * @param {V86} machine
   * @param {"cdrom" | "fda" | "fdb"} drive
   */
  insert(machine, drive) {
    insertDisk(machine, drive, this);
    this.attach(machine);
  }

  /**
   * Only read by v86 for a floppy of a size that it does not know, which it would show as zeros.
   * @internal
   * @returns {any}
   */
  get buffer() {
    throw noFloppy(this.#disk.size);
  }

  /** Whether the guest's own flushes reach this disk; if not, only timers make writes durable. */
  get passesFlushes() {
    return this.#flushes;
  }

  /** The failures that stop the machine. */
  get failures() {
    return this.#transfers.failures;
  }

  /** Retries everything that has failed. */
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
   * @param {OnRead} callback called at once if the bytes are in memory, never with wrong bytes
   * @param {{ signal?: AbortSignal }} [options]
   */
  get(offset, length, callback, { signal } = {}) {
    const finish = (/** @type {Uint8Array} */ bytes) => {
      callback(bytes);
      this.dispatchEvent(new DiskActivityEvent("read", offset, length));
    };
    const bytes = this.#fromMemory(offset, length);
    if (bytes) return finish(bytes);
    this.#transfers.begin({
      kind: "read",
      offset,
      length,
      signal,
      perform: () => this.#read(offset, length, signal),
      finish: (result) => finish(/** @type {Uint8Array} */ (result)),
      refusal: () => this.#refusal((drive) => (drive && !drive.is_atapi && signal ? () => failRead(drive, signal) : null)),
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
        if (this.#kept.size > MAX_KEPT) this.#kept.delete(first);
      }
      callback(bytes);
    };
    this.get(offset, length, keep, options);
  }

  /**
   * The bytes if they are available without waiting, else undefined.
   * @param {number} offset
   * @param {number} length
   * @returns {Uint8Array | undefined}
   */
  get_from_cache(offset, length) {
    const kept = this.#kept.get(offset);
    if (kept && kept.length >= length) return kept.slice(0, length);
    return this.#fromMemory(offset, length);
  }

  /**
   * @param {number} offset
   * @param {Uint8Array} data v86 reuses it when this returns
   * @param {() => void} callback
   */
  set(offset, data, callback) {
    const { length } = data;
    this.#content.noteWrite();
    for (const [at, kept] of this.#kept) {
      if (at < offset + length && offset < at + kept.length) this.#kept.delete(at);
    }
    const finish = () => {
      this.#schedule.note();
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
      refusal: () => this.#refusal((drive) => (wasAwaited && awaitsWrite(drive) ? () => failWrite(drive) : null)),
    });
  }

  /** For a saved state: names the disk and its content, and never contains the content. */
  get_state() {
    return this.#content.state(this.#transfers.count > 0);
  }

  /**
   * Throws `StateMismatchError` unless the saved state belongs to this disk with this content.
   * @param {unknown[]} state
   */
  set_state(state) {
    this.#content.check(state, this.#transfers.count > 0);
  }

  /** @param {(buffer?: ArrayBuffer) => void} callback called without a buffer: the disk may be larger than memory */
  get_buffer(callback) {
    callback();
  }

  // ── durability ──────────────────────────────────────────────────────────────────────────────────

  /** Resolves when all writes of the guest so far are durable. Rejects as the disk does. */
  async flush() {
    await Promise.all(this.#transfers.writes().map((write) => write.done));
    if (this.#schedule.begin()) this.#flushing = this.#flushAfter(this.#flushing);
    await this.#flushing;
  }

  /** @param {Promise<void>} earlier */
  async #flushAfter(earlier) {
    await earlier.catch(() => {}); // reported to its own caller
    try {
      await this.#disk.flush?.();
    } catch (error) {
      this.#schedule.note();
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

  /** Flushes in the background; a failure stops the machine and is shown. */
  #flushInBackground() {
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
   * Waits until nothing is under way, makes all writes durable, and records which content the disk now has,
   * for `save_state()` and `restore_state()`. It resolves only after every failure was retried with
   * success or refused.
   */
  async flushForState() {
    await this.#transfers.finished();
    await this.flush();
    const { writes } = this.#content;
    const first = this.#kept.get(0) ?? (await this.#read(0, SECTOR));
    await this.#content.record(writes);
    if (writes === this.#content.writes) this.#kept.set(0, first);
  }

  // ── the disk ────────────────────────────────────────────────────────────────────────────────────

  /** @param {number} offset @param {number} length */
  #fromMemory(offset, length) {
    if (!this.#disk.tryRead || this.#transfers.writes(offset, length).length) return undefined;
    const bytes = new Uint8Array(length);
    return this.#disk.tryRead(offset, bytes) ? bytes : undefined;
  }

  /** @param {number} offset @param {number} length @param {AbortSignal} [signal] */
  async #read(offset, length, signal) {
    const bytes = await this.#disk.read(offset, length, { signal });
    if (bytes.length !== length) throw new Error(`The disk returned ${bytes.length} bytes instead of ${length}.`);
    return bytes;
  }

  /** @param {number} offset @param {Uint8Array} data */
  async #write(offset, data) {
    const { write, readOnly } = this.#disk;
    if (!write || readOnly) throw named("ReadOnlyError", "This disk cannot be written to.");
    await this.#disk.write?.(offset, data);
  }

  /**
   * What tells the guest that a transfer failed; null if nothing can.
   * @param {(drive: ReturnType<typeof driveOf>) => (() => void) | null} ofDrive for a hard disk or CD
   */
  #refusal(ofDrive) {
    const { machine } = this.#transfers;
    const floppy = floppyOf(machine, this);
    return floppy ? () => failFloppy(floppy.controller) : ofDrive(driveOf(machine, this));
  }
}

/** @param {string} name @param {string} message */
function named(name, message) {
  return Object.assign(new Error(message), { name });
}
