/**
 * How fast work goes on, from its progress over the last seconds.
 */

const WINDOW_MS = 10_000;
const LEAST_MS = 1000; // before that a rate would be a guess

export class Rate {
  #now;
  /** @type {{ at: number, done: number }[]} */
  #points = [];

  /** @param {() => number} [now] milliseconds */
  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  /** @param {number} done so far */
  note(done) {
    const at = this.#now();
    this.#points.push({ at, done });
    while (at - (this.#points[1]?.at ?? at) >= WINDOW_MS) this.#points.shift();
  }

  /** Null as long as it is not known. */
  get perSecond() {
    const [first] = this.#points;
    const last = this.#points.at(-1);
    if (!first || !last || last.at - first.at < LEAST_MS) return null;
    return ((last.done - first.done) * 1000) / (last.at - first.at);
  }

  /** Until `total` is done; null if it is not known. @param {number} total */
  secondsLeft(total) {
    const rate = this.perSecond;
    return rate ? Math.max(0, total - (this.#points.at(-1)?.done ?? 0)) / rate : null;
  }
}

/** Such as "2 min 5 s". @param {number} seconds */
export function duration(seconds) {
  const whole = Math.ceil(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}
