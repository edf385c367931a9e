/**
 * The page's side of the panel: sends the user's actions to the worker, and passes the returned view to
 * everything that draws it.
 */

import { connect } from "../lib/aero-disk.mjs";
import { messageOf } from "./elements.mjs";
import { Losses } from "./losses.mjs";

/** @typedef {import("./panel.mjs").View} View */
/** @typedef {import("./panel.mjs").Failure} Failure */
/** @typedef {(view: View, state: { editing: boolean }) => void} Drawer */

const BUSY_MS = 250;
const OPEN_MS = 1000; // an emulator reads without calling the page

export class PageSession {
  worker;
  /** @type {View | null} */
  view = null;
  /** A failure that no view shows: a bug, or a worker that died. @type {Failure | null} */
  #defect = null;
  /** @type {Drawer[]} */
  #drawers = [];
  #underWay = 0;
  #editsUnderWay = 1; // until the worker has the text typed while Python was starting
  /** @type {Promise<void>} */
  #lastEdit = Promise.resolve();
  /** @type {ReturnType<typeof setTimeout> | null} */
  #poll = null;
  #polledBusy = false;
  losses = new Losses();
  /**
   * Prepares what uses the open disk for its closing, and asks the user if that loses something. False: the disk
   * must stay open. Null if nothing uses it. `action` names another question than that of closing.
   * @type {((action?: "dosbox") => Promise<boolean>) | null}
   */
  beforeClosing = null;
  /** Boots the open disk, or resumes its saved machine. @type {((how?: "anew" | "resume") => Promise<void>) | null} */
  boot = null;
  /** Offers to open an image and to boot it. @type {((url: string, overlay: string) => Promise<void>) | null} */
  invite = null;

  /** @param {import("../lib/aero-disk.mjs").OnStartProgress} onStartProgress */
  constructor(onStartProgress) {
    this.worker = connect({ onStartProgress });
    document.addEventListener("visibilitychange", () => this.#keepLooking());
  }

  /** Closes what is open, unless the user wants to keep what that loses. Returns whether nothing is open. */
  async close() {
    if (this.view?.phase === "closed") return true;
    if ((await this.beforeClosing?.()) === false) return false;
    await this.act("panel.close");
    return true;
  }

  /** @param {Drawer} draw called with every view */
  onView(draw) {
    this.#drawers.push(draw);
  }

  /** Called once the worker has everything that the user typed early. */
  ready() {
    this.#editsUnderWay -= 1;
    this.redraw();
  }

  redraw() {
    if (this.view) this.#draw(this.view);
  }

  /**
   * Calls the worker and draws the view in its response. Responses arrive in order.
   * @param {string} operation
   * @param {Record<string, unknown>} [values]
   * @returns {Promise<{ view: View, bytes?: Uint8Array<ArrayBuffer> }>}
   */
  async call(operation, values = {}) {
    this.#underWay += 1;
    this.#keepLooking();
    try {
      const response = await this.worker.call(operation, values);
      const result = "view" in response ? response : { view: response };
      this.#draw(result.view);
      return result;
    } finally {
      this.#underWay -= 1;
    }
  }

  /**
   * Sends a user's action and draws the result; shows unexpected errors too.
   * @param {string} operation
   * @param {Record<string, unknown>} [values]
   */
  async act(operation, values = {}) {
    this.#defect = null;
    const responding = this.call(operation, values);
    this.look(); // at once, to show that it has begun
    try {
      return await responding;
    } catch (error) {
      await this.look();
      if (!this.view?.error) this.report(error);
      return null;
    }
  }

  /**
   * Sends a setting. Until the worker has it, no view overwrites it on the page.
   * @param {string} operation
   * @param {Record<string, unknown>} values
   */
  edit(operation, values) {
    return (this.#lastEdit = this.#edit(operation, values));
  }

  /** Waits until the view has every setting sent so far: only then it says what can be pressed. */
  settled() {
    return this.#lastEdit; // responses arrive in order
  }

  /** @param {string} operation @param {Record<string, unknown>} values */
  async #edit(operation, values) {
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
   * Shows an error from outside the panel, until the next action.
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

  /** Draws the panel as it is now. */
  async look() {
    if (!this.view) return;
    try {
      await this.call("panel.view");
    } catch {
      // The operation under way reports the error.
    }
  }

  /** Polls the panel while a disk is open, more often while something is going on. */
  #keepLooking() {
    const isBusy = this.#underWay > 0 || this.view?.busy;
    if (document.hidden || !(isBusy || this.view?.phase === "open")) return;
    if (this.#poll !== null) {
      if (!isBusy || this.#polledBusy) return;
      clearTimeout(this.#poll);
    }
    this.#polledBusy = Boolean(isBusy);
    this.#poll = setTimeout(async () => {
      await this.look();
      this.#poll = null;
      this.#keepLooking();
    }, isBusy ? BUSY_MS : OPEN_MS);
  }
}
