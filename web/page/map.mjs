/**
 * The live map of the open disk: polls the worker a few times a second, and moves from square to square by
 * pointer and keyboard.
 */

import { element, onPress, setAttribute, setAvailable, setText } from "./elements.mjs";
import { MapCanvas } from "../element/map-canvas.mjs";
import { Timeline } from "./timeline.mjs";

/** @typedef {import("./page-session.mjs").PageSession} PageSession */
/** @typedef {import("./panel.mjs").View} View */

const BUSY_MS = 250;
const QUIET_MS = 1000;
const ZOOM = 4;
const SMALLEST_PART = 64; // blocks

export class DiskMap {
  #session;
  #canvas = element("map", HTMLCanvasElement);
  #map = new MapCanvas(this.#canvas, () => this.#look());
  #timeline = new Timeline();
  /** @type {number | null} */
  #disk = null;
  #size = 0;
  #start = 0;
  #length = 0;
  #looking = false;
  #again = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** The square whose text has been requested, and the one to request next. */
  #asked = -1;
  #spoken = "";

  /** @param {PageSession} session */
  constructor(session) {
    this.#session = session;
    session.onView((view) => this.#follow(view));
    document.addEventListener("visibilitychange", () => this.#look());
    onPress("zoom-in", () => this.#zoom(1 / ZOOM));
    onPress("zoom-out", () => this.#zoom(ZOOM));
    onPress("zoom-all", () => this.#showAll());
    const canvas = this.#canvas;
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("pointermove", (event) => this.#point(event));
    canvas.addEventListener("pointerdown", (event) => this.#point(event));
    canvas.addEventListener("pointerleave", () => this.#goTo(-1));
    canvas.addEventListener("blur", () => this.#goTo(-1));
    canvas.addEventListener("dblclick", () => this.#zoom(1 / ZOOM));
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** @param {View} view */
  #follow(view) {
    const disk = view.phase === "open" ? (view.disk?.disk ?? null) : null;
    if (disk === this.#disk) return;
    this.#disk = disk;
    this.#size = view.disk?.size ?? 0;
    this.#start = 0;
    this.#length = this.#size;
    this.#map.at = -1;
    element("map-empty", HTMLElement).hidden = disk !== null;
    if (disk === null) {
      this.#map.show(null);
      this.#timeline.show(null);
      setText(element("map-readout", HTMLElement), "");
      setAttribute(this.#canvas, "aria-valuetext", view.map.title);
    }
    this.#showZoom();
    this.#look();
  }

  /** Polls now, and again shortly, while a disk is open and the page is visible. */
  async #look() {
    clearTimeout(this.#timer);
    const disk = this.#disk;
    const { maxCells } = this.#map;
    if (disk === null || !maxCells || document.hidden) return;
    if (this.#looking) {
      this.#again = true; // the shown range changed since the request
      return;
    }
    this.#looking = true;
    let quiet = true;
    try {
      const values = { disk, start: this.#start, length: this.#length, cells: maxCells };
      const { map, timeline } = await this.#session.worker.call("activity.look", values);
      if (disk === this.#disk) {
        this.#map.show(map);
        this.#timeline.show(timeline);
        quiet = !map.heat.some(Boolean) && !map.marks.some((/** @type {number} */ mark) => mark & 1);
        this.#describe();
      }
    } catch {
      // The disk was closed meanwhile, or the worker is gone, which the panel reports.
    } finally {
      this.#looking = false;
      const wait = this.#again ? 0 : quiet ? QUIET_MS : BUSY_MS;
      this.#again = false;
      this.#timer = setTimeout(() => this.#look(), wait);
    }
  }

  // ── range ──────────────────────────────────────────────────────────────────────────────────────

  /** @param {PointerEvent} event */
  #point(event) {
    this.#goTo(this.#map.cellAt(event.offsetX, event.offsetY));
  }

  /** @param {number} cell */
  #goTo(cell) {
    if (cell === this.#map.at) return;
    this.#map.at = cell;
    this.#map.draw();
    this.#describe();
  }

  /** Describes the square at the pointer or the keyboard's position; if none, what a square is. */
  async #describe() {
    const { cells, at } = this.#map;
    const disk = this.#disk;
    if (!cells || disk === null) return;
    setAttribute(this.#canvas, "aria-valuemax", String(cells.stored.length - 1));
    setAttribute(this.#canvas, "aria-valuenow", String(Math.max(at, 0)));
    if (at < 0) return this.#say(cells.hint);
    if (this.#asked >= 0) return; // the response triggers the next request
    this.#asked = at;
    try {
      const offset = cells.start + at * cells.cellSize;
      const [text, file] = await Promise.all([
        this.#session.worker.call("activity.cell", { disk, offset, length: cells.cellSize }),
        this.#session.worker.call("page.where", { disk, offset }),
      ]);
      this.#say(file ? `${text} · ${file}` : text);
    } catch {
      // Closed meanwhile.
    } finally {
      const before = this.#asked;
      this.#asked = -1;
      if (this.#map.at !== before) this.#describe();
    }
  }

  /** @param {string} text */
  #say(text) {
    if (text === this.#spoken) return;
    this.#spoken = text;
    setText(element("map-readout", HTMLElement), text);
    setAttribute(this.#canvas, "aria-valuetext", text);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { cells, columns, at } = this.#map;
    if (!cells || event.ctrlKey || event.metaKey || event.altKey) return;
    const here = Math.max(at, 0);
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowRight: () => this.#step(at < 0 ? 0 : here + 1),
      ArrowLeft: () => this.#step(here - 1),
      ArrowDown: () => this.#step(here + columns),
      ArrowUp: () => this.#step(here - columns),
      PageDown: () => this.#step(here + 8 * columns),
      PageUp: () => this.#step(here - 8 * columns),
      Home: () => this.#goTo(0),
      End: () => this.#goTo(cells.stored.length - 1),
      "+": () => this.#zoom(1 / ZOOM),
      "=": () => this.#zoom(1 / ZOOM),
      "-": () => this.#zoom(ZOOM),
      Escape: () => this.#showAll(),
    };
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /**
   * Moves to a square, and scrolls at the ends of the shown range.
   * @param {number} cell
   */
  #step(cell) {
    const { cells, columns } = this.#map;
    if (!cells) return;
    const last = cells.stored.length - 1;
    const beyond = cell < 0 ? -1 : cell > last ? 1 : 0;
    const isMore = beyond < 0 ? cells.start > 0 : cells.stop < cells.size;
    if (!beyond || !isMore) return this.#goTo(Math.min(Math.max(cell, 0), last));
    const rows = Math.max(1, Math.floor(cells.stored.length / columns / 2));
    this.#start = Math.min(
      Math.max(0, cells.start + beyond * rows * columns * cells.cellSize),
      Math.max(0, this.#size - this.#length),
    );
    this.#goTo(Math.min(Math.max(cell - beyond * rows * columns, 0), last));
    this.#look();
  }

  // ── zoom ───────────────────────────────────────────────────────────────────────────────────────

  /** @param {WheelEvent} event */
  #wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    this.#zoom(event.deltaY < 0 ? 1 / ZOOM : ZOOM);
  }

  /**
   * Zooms by a factor, around the current square.
   * @param {number} factor
   */
  #zoom(factor) {
    const { cells, at } = this.#map;
    if (!cells) return;
    const cell = at < 0 ? Math.floor(cells.stored.length / 2) : at;
    const centre = cells.start + (cell + 0.5) * cells.cellSize;
    const least = Math.min(this.#size, SMALLEST_PART * cells.blockSize);
    const length = Math.min(this.#size, Math.max(least, Math.round(this.#length * factor)));
    this.#length = length;
    this.#start = Math.round(Math.min(Math.max(0, centre - length / 2), this.#size - length));
    this.#map.at = -1;
    this.#showZoom();
    this.#look();
  }

  #showAll() {
    this.#start = 0;
    this.#length = this.#size;
    this.#map.at = -1;
    this.#showZoom();
    this.#look();
  }

  #showZoom() {
    const isOpen = this.#disk !== null;
    const all = this.#length >= this.#size;
    setAvailable(element("zoom-in", HTMLButtonElement), isOpen);
    setAvailable(element("zoom-out", HTMLButtonElement), isOpen && !all);
    setAvailable(element("zoom-all", HTMLButtonElement), isOpen && !all);
  }
}
