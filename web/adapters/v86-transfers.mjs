/**
 * The guest's disk requests that take time. Keeps them in order, stops the machine while a response is
 * late, and after a failure until someone decides what to do.
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
 * @property {() => (() => void) | null} refusal returns a function that reports the failure to
 *   the guest, or null if that is not possible
 *
 * @typedef {GuestRequest & { after: Transfer[], done: Promise<unknown>, resolve: () => void }} Transfer
 *   `after`: earlier writes that must finish first
 */

/** Max. memory of writes that v86 does not wait for (those without DMA). */
const MAX_WRITING = 16 << 20;
/** Errors that a retry cannot fix, and that guests know from real disks. */
const REFUSALS = new Set(["StorageFullError", "ReadOnlyError"]);

/** A request that failed, for which the machine is stopped. */
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
    /** Whether the error can be reported to the guest; otherwise only a retry helps. */
    this.canRefuse = refuse !== undefined;
    this.#retry = retry;
    this.#refuse = refuse;
  }

  /** Tries again, and lets the machine continue if that works. */
  retry() {
    this.#retry?.();
  }

  /** Reports a disk error to the guest, and lets the machine continue. */
  refuse() {
    if (!this.#refuse) throw new TypeError("The error cannot be reported to the guest.");
    this.#refuse();
  }
}

/** "failure" (the machine is stopped) and "refused" (the guest got an error). */
export class DiskFailureEvent extends Event {
  /** @param {"failure" | "refused"} type @param {Failure} failure */
  constructor(type, failure) {
    super(type);
    this.failure = failure;
  }
}

/** All requests under way, including failed ones. */
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
  /** Why the machine is stopped. @type {Set<unknown>} */
  #holds = new Set();

  /**
   * @param {EventTarget} target gets "waiting", "arrived", "failure", "refused"
   * @param {number} patienceMs how long a response may take before the machine is stopped
   */
  constructor(target, patienceMs) {
    this.#target = target;
    this.#patienceMs = patienceMs;
  }

  /** How many requests are under way or have failed. */
  get count() {
    return this.#open.size;
  }

  get failures() {
    return [...this.#failures.values()];
  }

  /**
   * Writes that are under way or have failed.
   * @param {number} [offset]
   * @param {number} [length]
   */
  writes(offset = 0, length = Infinity) {
    const touches = (/** @type {Transfer} */ { kind, offset: start, length: size }) =>
      kind === "write" && start < offset + length && offset < start + size;
    return [...this.#open].filter(touches);
  }

  /** Resolves when nothing is under way. */
  async finished() {
    while (this.#open.size) await Promise.all([...this.#open].map(({ done }) => done));
  }

  /** @param {GuestRequest} request */
  begin(request) {
    let resolve = () => {};
    const done = new Promise((/** @type {(value?: unknown) => void} */ finish) => (resolve = finish));
    const after = this.writes(request.offset, request.length);
    const transfer = { ...request, after, done, resolve };
    this.#open.add(transfer);
    transfer.signal?.addEventListener("abort", () => this.#end(transfer), { once: true });
    if (transfer.kind === "write") this.#writing += transfer.length;
    if (this.#writing > MAX_WRITING) this.#wait(this);
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
   * Ends a request; does nothing if the guest has cancelled it.
   * @param {Transfer} transfer
   * @param {() => void} [notify] responds to the guest, before the machine continues
   */
  #end(transfer, notify) {
    if (!this.#open.delete(transfer)) return;
    this.#failures.delete(transfer);
    if (transfer.kind === "write") this.#writing -= transfer.length;
    notify?.();
    transfer.resolve();
    this.#release(transfer);
    if (this.#writing <= MAX_WRITING) this.#release(this);
  }

  /** @param {Transfer} transfer @param {Error} error */
  #fail(transfer, error) {
    if (!this.#open.has(transfer)) return;
    const notify = transfer.refusal();
    if (transfer.kind === "write" && REFUSALS.has(error.name) && notify) {
      this.#end(transfer, notify);
      this.#target.dispatchEvent(new DiskFailureEvent("refused", new Failure(transfer, error)));
      return;
    }
    const failure = new Failure(transfer, error, {
      retry: () => {
        if (this.#failures.delete(transfer)) this.#perform(transfer);
      },
      ...(notify && { refuse: () => this.#end(transfer, notify) }),
    });
    this.#failures.set(transfer, failure);
    this.#hold(transfer);
    if (!this.machine) console.error(`A disk without a machine failed: ${error.message}`);
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
