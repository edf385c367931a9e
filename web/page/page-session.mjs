/**
 * The page's side of the panel: sends what the user does to the worker, and hands the view that comes
 * back to all who draw it.
 */

import { connect } from "../lib/aero-disk.mjs";
import { messageOf } from "./elements.mjs";

/** @typedef {import("./panel.mjs").View} View */
/** @typedef {import("./panel.mjs").Failure} Failure */
/** @typedef {(view: View, state: { editing: boolean }) => void} Drawer */

const BUSY_MS = 250;
const OPEN_MS = 1000; // an emulator reads without saying so here

export class PageSession {
  worker = connect();
  /** @type {View | null} */
  view = null;
  /** What no view tells of: a defect, a worker that died. @type {Failure | null} */
  #defect = null;
  /** @type {Drawer[]} */
  #drawers = [];
  #underWay = 0;
  #editsUnderWay = 1; // until the worker has what was typed while Python was starting
  /** @type {ReturnType<typeof setTimeout> | null} */
  #poll = null;
  #polledBusy = false;

  constructor() {
    document.addEventListener("visibilitychange", () => this.#keepLooking());
  }

  /** @param {Drawer} draw called with every view */
  onView(draw) {
    this.#drawers.push(draw);
  }

  /** Nothing that the user typed early is still on its way. */
  ready() {
    this.#editsUnderWay -= 1;
    this.redraw();
  }

  redraw() {
    if (this.view) this.#draw(this.view);
  }

  /**
   * Asks the worker and draws the view in its answer. Answers come in the order in which they were made.
   * @param {string} operation
   * @param {Record<string, unknown>} [values]
   * @returns {Promise<{ view: View, bytes?: Uint8Array<ArrayBuffer> }>}
   */
  async call(operation, values = {}) {
    this.#underWay += 1;
    this.#keepLooking();
    try {
      const answer = await this.worker.call(operation, values);
      const result = "view" in answer ? answer : { view: answer };
      this.#draw(result.view);
      return result;
    } finally {
      this.#underWay -= 1;
    }
  }

  /**
   * Sends an event of the user's and draws what came of it; what should not happen is shown too.
   * @param {string} operation
   * @param {Record<string, unknown>} [values]
   */
  async act(operation, values = {}) {
    this.#defect = null;
    const answer = this.call(operation, values);
    this.#look(); // at once, so that what has begun is seen
    try {
      return await answer;
    } catch (error) {
      await this.#look();
      if (!this.view?.error) this.report(error);
      return null;
    }
  }

  /**
   * Sends what the user set; until the worker has it, no view undoes it on the page.
   * @param {string} operation
   * @param {Record<string, unknown>} values
   */
  async edit(operation, values) {
    this.#defect = null;
    this.#editsUnderWay += 1;
    try {
      await this.call(operation, values);
    } catch (error) {
      this.report(error);
    } finally {
      this.#editsUnderWay -= 1;
      this.redraw();
    }
  }

  /**
   * Shows an error that the panel knows nothing of, until the user does something else.
   * @param {unknown} error
   */
  report(error) {
    const name = error instanceof Error ? error.name : "";
    this.#defect = { name, title: this.view?.texts.unexpectedTitle ?? "", text: messageOf(error) };
    this.redraw();
  }

  /** @param {View} next */
  #draw(next) {
    this.view = next;
    const shown = { ...next, error: next.error ?? this.#defect };
    for (const draw of this.#drawers) draw(shown, { editing: this.#editsUnderWay > 0 });
  }

  async #look() {
    if (!this.view) return;
    try {
      await this.call("panel.view");
    } catch {
      // The operation that is under way says what is wrong.
    }
  }

  /** Looks at the panel now and then while a disk is open, more often while something is going on. */
  #keepLooking() {
    const isBusy = this.#underWay > 0 || this.view?.busy;
    if (document.hidden || !(isBusy || this.view?.phase === "open")) return;
    if (this.#poll !== null) {
      if (!isBusy || this.#polledBusy) return;
      clearTimeout(this.#poll);
    }
    this.#polledBusy = Boolean(isBusy);
    this.#poll = setTimeout(async () => {
      await this.#look();
      this.#poll = null;
      this.#keepLooking();
    }, isBusy ? BUSY_MS : OPEN_MS);
  }
}
