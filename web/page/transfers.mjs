/**
 * Imports, exports, copies and checks, with progress and a cancel button. The last one that was started is shown.
 */

import { element, onPress, setText } from "./elements.mjs";
import { Rate, duration } from "./rate.mjs";

/** @typedef {{ onProgress: (done: number, total: number | null | undefined) => void, signal: AbortSignal }} Reporting */
/** @typedef {{ text: string, done: number, total: number, rate: Rate, abort: AbortController, loses: boolean }} Transfer */

export class Transfers {
  /** In the order in which they were started. @type {Transfer[]} */
  #underWay = [];
  #note = "";
  #rateText = "";
  #losses;

  /** @param {import("./losses.mjs").Losses} losses */
  constructor(losses) {
    this.#losses = losses;
    onPress("library-cancel", () => this.#shown?.abort.abort());
  }

  /** @param {string} text with `{rate}` and `{left}` */
  nameRate(text) {
    this.#rateText = text;
  }

  /** Shows what is done after the transfers that are under way. @param {string} note */
  note(note) {
    this.#note = note;
    this.#draw();
  }

  /**
   * Shows the progress of `work`. Returns null if the user cancels. `loses`: leaving the page meanwhile loses something.
   * @template T
   * @param {string} text with `{done}` and `{size}`
   * @param {(reporting: Reporting) => Promise<T>} work
   * @param {{ abort?: AbortController, loses?: boolean }} [options]
   * @returns {Promise<T | null>}
   */
  async run(text, work, { abort = new AbortController(), loses = true } = {}) {
    const mine = { text, done: 0, total: 0, rate: new Rate(), abort, loses };
    this.#underWay.push(mine);
    this.#draw();
    const { signal } = mine.abort;
    /** @param {number} done @param {number | null | undefined} total */
    const onProgress = (done, total) => {
      if (!total) return;
      Object.assign(mine, { done, total });
      mine.rate.note(done);
      this.#draw();
    };
    try {
      return await work({ onProgress, signal });
    } catch (error) {
      if (signal.aborted) return null;
      throw error;
    } finally {
      this.#underWay.splice(this.#underWay.indexOf(mine), 1);
      this.#draw();
    }
  }

  get #shown() {
    return this.#underWay.at(-1);
  }

  #draw() {
    this.#losses.note(this, this.#underWay.some(({ loses }) => loses));
    const shown = this.#shown;
    element("library-progress", HTMLElement).hidden = !shown;
    if (!shown) return;
    const { text, done, total, rate } = shown;
    const bar = element("library-progress-bar", HTMLProgressElement);
    const cancel = element("library-cancel", HTMLButtonElement);
    cancel.disabled = false;
    if (total) {
      bar.max = total;
      bar.value = done;
    } else bar.removeAttribute("value");
    const amounts = text.replace("{done}", mebibytes(done)).replace("{size}", mebibytes(total));
    const what = total ? amounts : (text.split(":")[0] ?? text);
    const left = rate.secondsLeft(total);
    const pace = this.#rateText
      .replace("{rate}", mebibytes(rate.perSecond ?? 0))
      .replace("{left}", duration(left ?? 0));
    const parts = [what, total && left !== null ? pace : "", this.#note];
    setText(element("library-progress-text", HTMLElement), parts.filter(Boolean).join(", "));
  }
}

/** @param {number} bytes */
export function mebibytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(bytes < 2 ** 20 * 100 ? 1 : 0)} MiB`;
}
