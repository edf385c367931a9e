/**
 * What a guest sees of time. v86's clocks follow the page's, which also runs while the machine is stopped or
 * has no processor. A BIOS that waits for its disk in a loop would then give up at once when the machine
 * continues. (Seen: SeaBIOS fails the read, and GRUB reports "attempt to read or write outside of disk".)
 *
 * It was written for v86 0.5.462, whose internal names are used here. If another version lacks them, the
 * guest sees the page's time.
 */

/** @typedef {import("./v86-machine.mjs").V86} V86 */

const SPEAKER_PORT = 0x61; // bit 5: the output of timer 2
const TIMER = 2;
const ONE_SHOT = 0; // the mode that counts down once

/** The time-stamp counter of a machine, which stands still while the machine is stopped. */
export class GuestClock {
  #machine;
  /** @type {[low: number, high: number] | null} */
  #stopped = null;

  /** @param {V86} machine */
  constructor(machine) {
    this.#machine = machine;
  }

  /** The machine has stopped. */
  stop() {
    this.#stopped = this.#now;
  }

  /** The machine is about to continue. */
  run() {
    const { cpu } = /** @type {any} */ (this.#machine).v86;
    const now = this.#now;
    if (this.#stopped && now && typeof cpu.set_tsc === "function") {
      cpu.set_tsc(...now); // it adds the offset that it set before, which is 0 after this
      cpu.set_tsc(...this.#stopped);
    }
    this.#stopped = null;
  }

  /** @returns {[low: number, high: number] | null} */
  get #now() {
    const cpu = /** @type {any} */ (this.#machine).v86?.cpu;
    if (typeof cpu?.store_current_tsc !== "function" || !cpu.current_tsc) return null;
    cpu.store_current_tsc();
    return [cpu.current_tsc[0], cpu.current_tsc[1]];
  }
}

/** @type {WeakSet<object>} */
const measured = new WeakSet();

/**
 * Lets the machine's timer 2 start when the guest first looks at it. A BIOS measures its clock with it: it
 * starts the timer, notes the time and polls. A processor that is taken from the page between the first two
 * would make the clock seem slow, and all of the BIOS' time-outs as much shorter.
 * @param {V86} machine one that is loaded
 */
export function startTimerWhenPolled(machine) {
  const { io, devices } = /** @type {any} */ (machine).v86?.cpu ?? {};
  const port = io?.ports?.[SPEAKER_PORT];
  const pit = devices?.pit;
  if (typeof port?.read8 !== "function" || !pit?.counter_start_time || !pit.counter_mode || measured.has(pit)) return;
  measured.add(pit);
  const { read8 } = port;
  let started = 0;
  port.read8 = function (/** @type {number} */ address) {
    const times = pit.counter_start_time;
    if (times[TIMER] !== started && pit.counter_mode[TIMER] === ONE_SHOT) times[TIMER] = started = performance.now();
    return read8.call(this, address);
  };
}
