/**
 * The last minute of the open disk: a row of bars for each counter.
 */

import { element, setText } from "./elements.mjs";
import { paletteOf } from "../element/map-canvas.mjs";

/** @typedef {{ name: string, label: string, values: number[], rate: string }} Track */

const NO_RATE = "–";

export class Timeline {
  /** @type {Track[]} */
  #tracks = [];
  #list = element("tracks", HTMLElement);

  constructor() {
    const redraw = () => this.#paint();
    new ResizeObserver(redraw).observe(this.#list);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }

  /** @param {{ tracks: Track[] } | null} timeline */
  show(timeline) {
    this.#tracks = timeline?.tracks ?? [];
    for (const [index, item] of [...this.#list.children].entries()) {
      const track = this.#tracks[index];
      if (track) setText(item.querySelector(".track-label"), track.label);
      setText(item.querySelector(".track-rate"), track?.rate ?? NO_RATE);
    }
    this.#paint();
  }

  #paint() {
    for (const [index, canvas] of [...this.#list.querySelectorAll("canvas")].entries()) {
      paintTrack(canvas, this.#tracks[index]?.values ?? []);
    }
  }
}

/** @param {HTMLCanvasElement} canvas @param {number[]} values */
function paintTrack(canvas, values) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  if (!context) return;
  const palette = paletteOf(canvas);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.fillStyle = palette.missing;
  context.fillRect(0, height - 1, width, 1);
  const largest = Math.max(1, ...values);
  const step = width / Math.max(1, values.length);
  context.fillStyle = palette.stored;
  for (const [index, value] of values.entries()) {
    if (!value) continue;
    const bar = Math.max(1.5, (value / largest) * (height - 1));
    context.fillRect(index * step, height - bar, Math.max(1, step - 1), bar);
  }
}
