/**
 * What disks and the boot component need from v86 beyond its published interface: stopping for several
 * reasons at once, an ATA drive that reports flushes and failures, and a slower pace.
 *
 * It was written for v86 0.5.462, whose internal names are used here and nowhere else. If another version
 * lacks them, `driveOf` returns null, `Pace` does nothing, and the features that depend on them are
 * reduced.
 */

import { GuestClock } from "./v86-clock.mjs";

/**
 * The parts of v86's machine that are used. v86's own types are not needed, so it need not be installed.
 * @typedef {object} V86
 * @property {() => Promise<void>} run
 * @property {() => Promise<void>} stop
 * @property {() => Promise<void>} destroy
 * @property {() => boolean} is_running
 * @property {(event: any, listener: (value: any) => void) => void} add_listener its events are in v86's types
 * @property {{ send(event: string): void }} [bus]
 * @property {() => Promise<ArrayBuffer>} save_state
 * @property {(state: ArrayBuffer) => Promise<void>} restore_state
 * @property {() => number} get_instruction_counter
 * @property {(codes: number[]) => void} keyboard_send_scancodes
 * @property {(enabled: boolean) => void} keyboard_set_enabled
 * @property {(enabled: boolean) => void} mouse_set_enabled
 * @property {(text: string, delayMs?: number) => void | Promise<void>} keyboard_send_text
 * @property {() => HTMLElement | null} screen_make_screenshot an image
 */

/**
 * @typedef {object} Drive v86's IDE interface: one drive with its registers
 * @property {unknown} buffer
 * @property {boolean} is_atapi
 * @property {number} current_command
 * @property {number} status_reg
 * @property {number} error_reg
 * @property {Uint8Array} data
 * @property {Map<number, AbortController>} in_progress_io_ids
 * @property {{ dma_status: number }} channel
 * @property {() => void} push_irq
 * @property {(command: number) => void} ata_command
 * @property {() => void} create_identify_packet
 */

// ATA/ATAPI-6: §6.3 (status and error), §8 (commands), §8.15 (IDENTIFY DEVICE).
const FLUSH_CACHE = 0xe7;
const FLUSH_CACHE_EXT = 0xea;
const DMA_WRITES = new Set([0xca, 0x35]);
const BUSY = 0x80;
const READY = 0x40;
const SEEK_COMPLETE = 0x10;
const ERROR = 0x01;
const UNCORRECTABLE = 0x40;
const ABORTED = 0x04;
const DMA_ACTIVE = 0x01;
// Intel 82077AA: status registers 0 (ended with an error) and 1 (CRC error in the data).
const FLOPPY_FAILED = 0x40;
const FLOPPY_DATA_ERROR = 0x20;
const WRITE_CACHE = 1 << 5;
const COMMANDS_SUPPORTED = 82 * 2; // byte offsets of two words of the response to IDENTIFY DEVICE
const COMMANDS_ENABLED = 85 * 2;

/**
 * The reasons why a machine is stopped. It runs if it should run and there is no such reason. The guest's
 * time stands still while it is stopped.
 */
export class MachineHold {
  /** @type {WeakMap<V86, MachineHold>} */
  static #holds = new WeakMap();

  /**
   * The machine's hold, shared by everyone who stops it.
   * @param {V86} machine
   */
  static of(machine) {
    const hold = MachineHold.#holds.get(machine) ?? new MachineHold(machine);
    MachineHold.#holds.set(machine, hold);
    return hold;
  }

  #machine;
  #clock;
  /** @type {Set<unknown>} */
  #reasons = new Set();
  #wanted = false;
  #turn = Promise.resolve();

  /** @param {V86} machine */
  constructor(machine) {
    this.#machine = machine;
    this.#clock = new GuestClock(machine);
  }

  /** @returns {boolean} */
  get isHeld() {
    return this.#reasons.size > 0;
  }

  /** @param {unknown} reason */
  isHeldBy(reason) {
    return this.#reasons.has(reason);
  }

  /** Lets the machine run, now or once there is no reason left to stop it. */
  run() {
    this.#wanted = true;
    return this.#apply();
  }

  /**
   * Stops the machine until `release`. Resolves when it has stopped.
   * @param {unknown} reason
   */
  hold(reason) {
    this.#wanted ||= this.#machine.is_running();
    this.#reasons.add(reason);
    return this.#apply();
  }

  /** @param {unknown} reason */
  release(reason) {
    this.#reasons.delete(reason);
    return this.#apply();
  }

  /** In sequence: v86 forgets a stop if it has to run before it has stopped. */
  #apply() {
    this.#turn = this.#turn.then(async () => {
      if (this.isHeld) await this.#stop();
      else if (this.#wanted && !this.#machine.is_running()) await this.#run();
    });
    return this.#turn;
  }

  async #stop() {
    if (!this.#machine.is_running()) return;
    await this.#machine.stop();
    this.#clock.stop();
  }

  async #run() {
    this.#clock.run();
    await this.#machine.run();
  }
}

/**
 * The drive with this buffer, or null.
 * @param {V86 | null} machine
 * @param {unknown} buffer
 * @returns {Drive | null}
 */
export function driveOf(machine, buffer) {
  const ide = /** @type {any} */ (machine)?.v86?.cpu?.devices?.ide;
  for (const channel of [ide?.primary, ide?.secondary]) {
    for (const drive of [channel?.master, channel?.slave]) {
      if (drive?.buffer === buffer && "status_reg" in drive && "push_irq" in drive) return drive;
    }
  }
  return null;
}

/**
 * @typedef {object} FloppyDrive v86's
 * @property {unknown} buffer
 * @property {boolean} read_only
 */

/**
 * The floppy drive with this buffer, and its controller; or null.
 * @param {V86 | null} machine
 * @param {unknown} buffer
 * @returns {{ drive: FloppyDrive, controller: { end_read_write: (...status: number[]) => void } } | null}
 */
export function floppyOf(machine, buffer) {
  const controller = /** @type {any} */ (machine)?.v86?.cpu?.devices?.fdc;
  const drive = controller?.drives?.find((/** @type {FloppyDrive} */ one) => one.buffer === buffer);
  return drive && "read_only" in drive && "end_read_write" in controller ? { drive, controller } : null;
}

/**
 * Ends the floppy controller's command with an error, as for a bad sector.
 * @param {{ end_read_write: (...status: number[]) => void }} controller
 */
export function failFloppy(controller) {
  controller.end_read_write(FLOPPY_FAILED, FLOPPY_DATA_ERROR, 0);
}

/**
 * Puts a disk into a drive of a loaded machine. v86's own methods take no object of another class.
 * @param {V86} machine
 * @param {"cdrom" | "fda" | "fdb"} name
 * @param {unknown} buffer
 */
export function insertDisk(machine, name, buffer) {
  const devices = /** @type {any} */ (machine)?.v86?.cpu?.devices;
  const [fda, fdb] = devices?.fdc?.drives ?? [];
  const drive = { cdrom: devices?.cdrom, fda, fdb }[name];
  if (!drive) throw new TypeError(`The machine is not loaded, or has no drive ${name} whose disk can be changed.`);
  if (name === "cdrom") drive.set_cdrom(buffer);
  else drive.insert_disk(buffer);
}

/**
 * Makes the drive pass on FLUSH CACHE and report a write cache. v86 completes a flush at once and reports
 * no cache, so guests believe that a write is durable when it is not.
 * @param {Drive} drive
 * @param {() => Promise<void>} flush resolves once all writes are durable; if it rejects, the
 *   guest's flush fails
 * @returns {boolean} whether the guest's flushes arrive
 */
export function passFlushesOn(drive, flush) {
  if (drive.is_atapi || !("ata_command" in drive) || !("create_identify_packet" in drive)) return false;
  flushes.set(drive.buffer, flush);
  const shared = Object.getPrototypeOf(drive); // drives are sealed: only their prototype can be wrapped
  if (wrapped.has(shared)) return true;
  wrapped.add(shared);
  const { ata_command: obey, create_identify_packet: identify } = shared;
  shared.ata_command = function (/** @type {number} */ command) {
    const isFlush = command === FLUSH_CACHE || command === FLUSH_CACHE_EXT;
    const found = isFlush && flushes.get(this.buffer);
    if (found) flushDrive(this, command, found);
    else obey.call(this, command);
  };
  shared.create_identify_packet = function () {
    identify.call(this);
    if (!flushes.has(this.buffer)) return;
    this.data[COMMANDS_SUPPORTED] |= WRITE_CACHE;
    this.data[COMMANDS_ENABLED] |= WRITE_CACHE;
  };
  return true;
}

/** @type {WeakMap<any, () => Promise<void>>} By the drive's buffer. */
const flushes = new WeakMap();
/** @type {WeakSet<object>} */
const wrapped = new WeakSet();

/**
 * @param {Drive} drive
 * @param {number} command
 * @param {() => Promise<void>} flush
 */
async function flushDrive(drive, command, flush) {
  drive.current_command = command;
  drive.error_reg = 0;
  drive.status_reg = BUSY | READY;
  let error = 0;
  try {
    await flush();
  } catch {
    error = ABORTED;
  }
  if (drive.current_command !== command || !(drive.status_reg & BUSY)) return; // it was reset
  drive.error_reg = error;
  drive.status_reg = READY | SEEK_COMPLETE | (error && ERROR);
  drive.push_irq();
}

/**
 * Whether the guest still waits for this write, so that an error can be reported. Without DMA v86 has
 * already reported success.
 * @param {Drive | null} drive
 * @returns {drive is Drive}
 */
export function awaitsWrite(drive) {
  return drive !== null && !drive.is_atapi && DMA_WRITES.has(drive.current_command);
}

/**
 * Ends the drive's current write with an error, as a real drive does.
 * @param {Drive} drive
 */
export function failWrite(drive) {
  endTransfer(drive, ABORTED);
}

/**
 * Ends the drive's current read with an error, as a drive with a bad sector does.
 * @param {Drive} drive
 * @param {AbortSignal} signal passed by v86 with the read
 */
export function failRead(drive, signal) {
  for (const [id, { signal: own }] of drive.in_progress_io_ids) {
    if (own === signal) drive.in_progress_io_ids.delete(id);
  }
  endTransfer(drive, UNCORRECTABLE);
}

/** @param {Drive} drive @param {number} error */
function endTransfer(drive, error) {
  drive.error_reg = error;
  drive.status_reg = READY | SEEK_COMPLETE | ERROR;
  drive.channel.dma_status &= ~DMA_ACTIVE;
  drive.current_command = -1;
  drive.push_irq();
}

/** Limits the processor share of a machine. The guest's clocks stay correct. */
export class Pace {
  #share = 1;
  #restUntil = 0;

  /** @param {V86} machine one that is loaded */
  constructor(machine) {
    const main = /** @type {any} */ (machine).v86;
    if (typeof main?.do_tick !== "function" || typeof main.yield !== "function") return;
    const { do_tick: tick, yield: sleep } = main;
    /** @type {number | null} */
    let started = null;
    main.do_tick = () => {
      started = performance.now();
      tick.call(main);
      started = null;
    };
    // Called at the end of a tick, and when an interrupt ends the guest's idling.
    main.yield = (/** @type {number} */ ms, /** @type {number} */ number) => {
      const now = performance.now();
      if (started !== null) this.#restUntil = now + (now - started) * (1 / this.#share - 1);
      sleep.call(main, Math.max(ms, this.#restUntil - now), number);
    };
  }

  /** From above 0 to 1. */
  get share() {
    return this.#share;
  }

  set share(share) {
    if (!(share > 0 && share <= 1)) throw new RangeError(`${share} is not a share of the processor (above 0, at most 1)`);
    this.#share = share;
  }
}
