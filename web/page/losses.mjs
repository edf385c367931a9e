/**
 * What would be lost if this page were left now. While there is something, the browser asks before it leaves.
 */

export class Losses {
  /** @type {Set<unknown>} */
  #reasons = new Set();

  /**
   * Notes whether something would be lost.
   * @param {unknown} reason anything that stands for it
   * @param {boolean} is
   */
  note(reason, is) {
    if (is) this.#reasons.add(reason);
    else this.#reasons.delete(reason);
    // Not there all the time: pages with such a listener are not kept by the browser for going back to.
    if (this.#reasons.size) addEventListener("beforeunload", stay);
    else removeEventListener("beforeunload", stay);
  }
}

/** @param {BeforeUnloadEvent} event */
function stay(event) {
  event.preventDefault();
  event.returnValue = true; // for browsers that go by this alone
}
