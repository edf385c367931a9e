/**
 * Shows the download of Python, which a first visit waits for. A quick one, such as from the browser's
 * cache, shows nothing.
 */

import { element, setText } from "./elements.mjs";
import { mebibytes } from "./transfers.mjs";

const QUICK_MS = 500;

export class StartBar {
  #box = element("start", HTMLElement);
  #bar = element("start-bar", HTMLProgressElement);
  #text = "";
  #loaded = 0;
  #total = 0;
  #isSlow = false;
  #timer = setTimeout(() => {
    this.#isSlow = true;
    this.#draw();
  }, QUICK_MS);

  /** @param {string} text with `{done}` and `{size}` */
  name(text) {
    this.#text = text;
    this.#draw();
  }

  /** @param {number} loaded @param {number} total bytes */
  show(loaded, total) {
    this.#loaded = loaded;
    this.#total = total;
    this.#draw();
  }

  /** Python has started, or cannot. */
  end() {
    clearTimeout(this.#timer);
    this.#isSlow = false;
    this.#draw();
  }

  #draw() {
    const isShown = this.#isSlow && this.#loaded > 0 && this.#loaded < this.#total;
    this.#box.hidden = !isShown;
    if (!isShown) return;
    this.#bar.max = this.#total;
    this.#bar.value = this.#loaded;
    const text = this.#text.replace("{done}", mebibytes(this.#loaded)).replace("{size}", mebibytes(this.#total));
    setText(element("start-text", HTMLElement), text);
  }
}
