/**
 * Imports, exports and copies: one at a time, with progress and a cancel button.
 */

import { element, onPress, setText } from "./elements.mjs";

/** @typedef {{ onProgress: (done: number, total: number | null | undefined) => void, signal: AbortSignal }} Reporting */

export class Transfers {
  /** @type {AbortController | null} */
  #underWay = null;

  constructor() {
    onPress("library-cancel", () => this.#underWay?.abort());
  }

  /**
   * Shows the progress of `work`. Returns null if the user cancels.
   * @template T
   * @param {string} text with `{done}` and `{size}`
   * @param {(reporting: Reporting) => Promise<T>} work
   * @returns {Promise<T | null>}
   */
  async run(text, work) {
    this.#underWay?.abort();
    const mine = (this.#underWay = new AbortController());
    const box = element("library-progress", HTMLElement);
    const bar = element("library-progress-bar", HTMLProgressElement);
    element("library-cancel", HTMLButtonElement).disabled = false;
    bar.removeAttribute("value");
    setText(element("library-progress-text", HTMLElement), text.split(":")[0] ?? text);
    box.hidden = false;
    /** @param {number} done @param {number | null | undefined} total */
    const onProgress = (done, total) => {
      if (!total) return;
      bar.max = total;
      bar.value = done;
      const amounts = text.replace("{done}", mebibytes(done)).replace("{size}", mebibytes(total));
      setText(element("library-progress-text", HTMLElement), amounts);
    };
    try {
      return await work({ onProgress, signal: mine.signal });
    } catch (error) {
      if (mine.signal.aborted) return null;
      throw error;
    } finally {
      if (this.#underWay === mine) {
        this.#underWay = null;
        box.hidden = true;
      }
    }
  }
}

/** @param {number} bytes */
export function mebibytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(bytes < 2 ** 20 * 100 ? 1 : 0)} MiB`;
}
