/**
 * What a guest has asked of its disk and what takes time: in the right order, with the machine standing
 * still while an answer is late, and stopped until someone decides when it has failed.
 */

import { MachineHold } from "./v86-machine.mjs";

/**
 * @typedef {"read" | "write" | "flush"} TransferKind
 * @typedef {import("./v86-machine.mjs").V86} V86
 *
 * @typedef {object} GuestRequest
 * @property {TransferKind} kind
 * @property {number} offset in bytes
 * @property {number} length in bytes
 * @property {AbortSignal} [signal] aborted when the guest resets its drive
 * @property {() => Promise<unknown>} perform
 * @property {(result: any) => void} finish hands the result to the guest
 * @property {() => (() => void) | null} refusal a way to tell the guest that it failed, if it can be told
 *
 * @typedef {GuestRequest & { after: Transfer[], done: Promise<unknown>, resolve: () => void }} Transfer
 *   `after`: earlier writes that it must see, or must not overtake
 */

/** Writes that v86 does not wait for (those without DMA) may hold so much memory. */
const MOST_WRITING = 16 << 20;
/** What trying again cannot change, and every guest knows from real disks. */
const REFUSALS = new Set(["StorageFullError", "ReadOnlyError"]);

/** What a disk could not do while the machine waits for it. */
export class Failure {
  #retry;
  #refuse;

  /**
   * @internal
   * @param {GuestRequest} request
   * @param {Error} error
   * @param {{ retry?: () => void, refuse?: () => void }} [ways]
   */
  constructor({ kind, offset, length }, error, { retry, refuse } = {}) {
    this.kind = kind;
    /** In bytes. */
    this.offset = offset;
    /** In bytes. */
    this.length = length;
    this.error = error;
    this.message = error.message;
    /** Whether the guest can be told; else trying again is the only way on. */
    this.canRefuse = refuse !== undefined;
    this.#retry = retry;
    this.#refuse = refuse;
  }

  /** Tries again, and lets the machine go on when that works. */
  retry() {
    this.#retry?.();
  }

  /** Lets the guest see an error of its disk, and go on. */
  refuse() {
    if (!this.#refuse) throw new TypeError("The guest cannot be told of the error.");
    this.#refuse();
  }
}

/** "failure" (the machine stands still) and "refused" (the guest was told). */
export class DiskFailureEvent extends Event {
  /** @param {"failure" | "refused"} type @param {Failure} failure */
  constructor(type, failure) {
    super(type);
    this.failure = failure;
  }
}

/** All that is under way, and what has failed of it. */
export class PendingTransfers {
  /** @type {V86 | null} */
  machine = null;

  #target;
  #patienceMs;
  /** @type {Set<Transfer>} */
  #open = new Set();
  /** @type {Map<Transfer, Failure>} */
  #failures = new Map();
  #writing = 0;
  /** Why the machine is held. @type {Set<unknown>} */
  #holds = new Set();

  /**
   * @param {EventTarget} target gets "waiting", "arrived", "failure", "refused"
   * @param {number} patienceMs how long an answer may take before the machine stands still
   */
  constructor(target, patienceMs) {
    this.#target = target;
    this.#patienceMs = patienceMs;
  }

  /** How many have not come to their end, be they failed or under way. */
  get count() {
    return this.#open.size;
  }

  get failures() {
    return [...this.#failures.values()];
  }

  /**
   * Writes that have not come to their end.
   * @param {number} [offset]
   * @param {number} [length]
   */
  writes(offset = 0, length = Infinity) {
    const touches = (/** @type {Transfer} */ { kind, offset: start, length: size }) =>
      kind === "write" && start < offset + length && offset < start + size;
    return [...this.#open].filter(touches);
  }

  /** Resolves when there is none. */
  async settle() {
    while (this.#open.size) await Promise.all([...this.#open].map(({ done }) => done));
  }

  /** @param {GuestRequest} request */
  begin(request) {
    let resolve = () => {};
    const done = new Promise((/** @type {(value?: unknown) => void} */ settle) => (resolve = settle));
    const after = this.writes(request.offset, request.length);
    const transfer = { ...request, after, done, resolve };
    this.#open.add(transfer);
    transfer.signal?.addEventListener("abort", () => this.#end(transfer), { once: true });
    if (transfer.kind === "write") this.#writing += transfer.length;
    if (this.#writing > MOST_WRITING) this.#wait(this);
    this.#perform(transfer);
  }

  /** @param {Transfer} transfer */
  async #perform(transfer) {
    const late = setTimeout(() => this.#wait(transfer), this.#patienceMs);
    try {
      await Promise.all(transfer.after.map(({ done }) => done));
      const result = await transfer.perform();
      this.#end(transfer, () => transfer.finish(result));
    } catch (error) {
      this.#fail(transfer, error instanceof Error ? error : new Error(String(error)));
    } finally {
      clearTimeout(late);
    }
  }

  /**
   * Does nothing for what the guest has given up.
   * @param {Transfer} transfer
   * @param {() => void} [tell] what the guest gets, before the machine goes on: its clock has not stopped
   */
  #end(transfer, tell) {
    if (!this.#open.delete(transfer)) return;
    this.#failures.delete(transfer);
    if (transfer.kind === "write") this.#writing -= transfer.length;
    tell?.();
    transfer.resolve();
    this.#release(transfer);
    if (this.#writing <= MOST_WRITING) this.#release(this);
  }

  /** @param {Transfer} transfer @param {Error} error */
  #fail(transfer, error) {
    if (!this.#open.has(transfer)) return;
    const tell = transfer.refusal();
    if (transfer.kind === "write" && REFUSALS.has(error.name) && tell) {
      this.#end(transfer, tell);
      this.#target.dispatchEvent(new DiskFailureEvent("refused", new Failure(transfer, error)));
      return;
    }
    const failure = new Failure(transfer, error, {
      retry: () => {
        if (this.#failures.delete(transfer)) this.#perform(transfer);
      },
      ...(tell && { refuse: () => this.#end(transfer, tell) }),
    });
    this.#failures.set(transfer, failure);
    this.#hold(transfer);
    if (!this.machine) console.error(`A disk failed that is attached to no machine: ${error.message}`);
    this.#target.dispatchEvent(new DiskFailureEvent("failure", failure));
  }

  /** @param {unknown} reason */
  #wait(reason) {
    this.#hold(reason);
    this.#target.dispatchEvent(new Event("waiting"));
  }

  /** @param {unknown} reason */
  #hold(reason) {
    this.#holds.add(reason);
    if (this.machine) MachineHold.of(this.machine).hold(reason);
  }

  /** @param {unknown} reason */
  #release(reason) {
    if (!this.#holds.delete(reason)) return;
    if (this.machine) MachineHold.of(this.machine).release(reason);
    if (!this.#holds.size) this.#target.dispatchEvent(new Event("arrived"));
  }
}
