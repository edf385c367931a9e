/**
 * Draws the map of a disk: one square for each cell, as large as possible.
 *
 * Shape as well as colour shows a square's state: a square being fetched is hollow, one in the boot
 * profile has a dot.
 */

/**
 * @typedef {object} Cells the result of `activity_view.map_view`
 * @property {number} start
 * @property {number} stop
 * @property {number} size of the disk
 * @property {number} blockSize
 * @property {number} cellSize
 * @property {Uint8Array} stored
 * @property {Uint8Array} heat
 * @property {Uint8Array} marks
 * @property {string} hint
 */

const FETCHED_NOW = 1;
const IN_PROFILE = 2;
const LARGEST_PITCH = 26;
const SMALLEST_PITCH = 8;
const EMPTY_PITCH = 13;
const LEAST_SHARE = 0.3; // of a colour: a cell with few cached blocks is visible too

/** @typedef {{ x: number, y: number, width: number, height: number }} Square */
/** @typedef {Record<"missing" | "stored" | "read" | "now" | "ink" | "paper", string>} Palette */

export class MapCanvas {
  /** @type {Cells | null} */
  cells = null;
  /** The cell that the keyboard is at, or the pointer; -1 is none. */
  at = -1;
  /** How many cells are in a row. */
  columns = 1;
  #canvas;
  #pitch = LARGEST_PITCH; // from row to row; columns are spread over the full width
  #width = 0;
  #height = 0;
  /** @type {Palette | null} */
  #palette = null;
  #frame = 0;

  /** @param {HTMLCanvasElement} canvas @param {() => void} resized */
  constructor(canvas, resized) {
    this.#canvas = canvas;
    new ResizeObserver(() => {
      this.#fit();
      resized();
    }).observe(canvas);
    const forget = () => {
      this.#palette = null;
      this.draw();
    };
    for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)", "(prefers-contrast: more)"]) {
      matchMedia(query).addEventListener("change", forget);
    }
    this.#fit();
  }

  /** How many cells fit; 0 before layout. */
  get maxCells() {
    return Math.floor(this.#width / SMALLEST_PITCH) * Math.floor(this.#height / SMALLEST_PITCH);
  }

  /** @param {Cells | null} cells */
  show(cells) {
    this.cells = cells;
    this.draw();
  }

  /**
   * The cell at a point of the canvas; -1 if there is none.
   * @param {number} x
   * @param {number} y
   */
  cellAt(x, y) {
    const column = Math.floor((x * this.columns) / this.#width);
    const cell = Math.floor(y / this.#pitch) * this.columns + column;
    return column >= 0 && column < this.columns && y >= 0 && cell < (this.cells?.stored.length ?? 0) ? cell : -1;
  }

  /** Draws in the next frame, once, however often it is called before that. */
  draw() {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  }

  #fit() {
    const { clientWidth, clientHeight } = this.#canvas;
    this.#width = clientWidth;
    this.#height = clientHeight;
    const scale = devicePixelRatio || 1;
    this.#canvas.width = Math.round(clientWidth * scale);
    this.#canvas.height = Math.round(clientHeight * scale);
    this.draw();
  }

  #paint() {
    const context = this.#canvas.getContext("2d");
    if (!context || !this.#width) return;
    const scale = devicePixelRatio || 1;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, this.#width, this.#height);
    const palette = (this.#palette ??= paletteOf(this.#canvas));
    if (this.cells) this.#paintCells(context, palette, this.cells);
    else this.#paintEmpty(context, palette);
  }

  /** @param {CanvasRenderingContext2D} context @param {Palette} palette @param {Cells} cells */
  #paintCells(context, palette, cells) {
    const count = cells.stored.length;
    this.#pitch = pitchFor(count, this.#width, this.#height, devicePixelRatio || 1);
    this.columns = Math.max(1, Math.floor(this.#width / this.#pitch));
    for (let cell = 0; cell < count; cell++) {
      const square = this.#square(cell);
      this.#paintCell(context, palette, square, {
        stored: (cells.stored[cell] ?? 0) / 255,
        heat: (cells.heat[cell] ?? 0) / 255,
        marks: cells.marks[cell] ?? 0,
      });
      if (cell === this.at) outline(context, palette.ink, square);
    }
  }

  /**
   * Where a cell is drawn. Its edges are on whole screen pixels, so that none is blurred next to a sharp
   * one. Columns differ in width by a pixel, so that the last one ends at the map's edge.
   * @param {number} cell
   * @returns {Square}
   */
  #square(cell) {
    const scale = devicePixelRatio || 1;
    const column = cell % this.columns;
    /** @param {number} at */
    const edge = (at) => Math.round((at * this.#width * scale) / this.columns) / scale;
    const gap = gapOf(this.#pitch);
    const x = edge(column);
    const right = column + 1 === this.columns ? this.#width : edge(column + 1) - gap;
    return {
      x,
      y: Math.floor(cell / this.columns) * this.#pitch,
      width: right - x,
      height: this.#pitch - gap,
    };
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Palette} palette
   * @param {Square} square
   * @param {{ stored: number, heat: number, marks: number }} cell
   */
  #paintCell(context, palette, square, { stored, heat, marks }) {
    fill(context, palette.missing, 1, square);
    if (stored) fill(context, palette.stored, LEAST_SHARE + (1 - LEAST_SHARE) * stored, square);
    if (heat) {
      // The square shrinks as it cools, which shows how long ago it was read.
      fill(context, palette.read, 1, inset(square, Math.round(0.3 * (1 - heat) * square.height)));
    }
    if (marks & FETCHED_NOW) {
      const rim = Math.max(1, Math.round(square.height / 4));
      fill(context, palette.now, 1, square);
      fill(context, palette.paper, 1, inset(square, rim));
    }
    if (marks & IN_PROFILE && square.height >= 5) {
      const margin = Math.floor((square.height - Math.max(2, Math.round(square.height / 4))) / 2);
      fill(context, stored || heat ? palette.paper : palette.ink, 1, inset(square, margin));
    }
  }

  /**
   * What is drawn without a disk: a field of blocks that shows this page's logo.
   * @param {CanvasRenderingContext2D} context
   * @param {Palette} palette
   */
  #paintEmpty(context, palette) {
    this.#pitch = EMPTY_PITCH;
    this.columns = Math.max(1, Math.floor(this.#width / EMPTY_PITCH));
    const rows = Math.floor(this.#height / EMPTY_PITCH);
    for (let cell = 0; cell < rows * this.columns; cell++) {
      const [row, column] = [Math.floor(cell / this.columns), cell % this.columns];
      const alpha = inMark(row / rows, column / this.columns) ? 1 : 0.42;
      fill(context, palette.missing, alpha, this.#square(cell));
    }
  }
}

/**
 * The size of the largest squares of which `count` fit, in whole screen pixels.
 * @param {number} count
 * @param {number} width
 * @param {number} height
 * @param {number} scale screen pixels per page pixel
 */
function pitchFor(count, width, height, scale) {
  const step = 1 / scale;
  for (let pitch = Math.floor(LARGEST_PITCH * scale) * step; pitch > 2; pitch -= step) {
    if (Math.floor(width / pitch) * Math.floor(height / pitch) >= count) return pitch;
  }
  return 2;
}

/** @param {number} pitch */
function gapOf(pitch) {
  return pitch >= 6 ? 2 : pitch >= 4 ? 1 : 0;
}

/**
 * Whether a point (0 to 1 in both directions) is in one of the three bars of the logo.
 * @param {number} y
 * @param {number} x
 */
function inMark(y, x) {
  const bar = [
    { top: 0.12, bottom: 0.32, length: 7 / 16 },
    { top: 0.4, bottom: 0.6, length: 1 },
    { top: 0.68, bottom: 0.88, length: 11 / 16 },
  ].find(({ top, bottom }) => y >= top && y < bottom);
  return bar !== undefined && x >= 0.04 && x < 0.04 + bar.length * 0.92;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} colour
 * @param {number} alpha
 * @param {Square} square
 */
function fill(context, colour, alpha, { x, y, width, height }) {
  context.globalAlpha = alpha;
  context.fillStyle = colour;
  context.fillRect(x, y, width, height);
}

/** @param {Square} square @param {number} margin @returns {Square} */
function inset({ x, y, width, height }, margin) {
  return { x: x + margin, y: y + margin, width: width - 2 * margin, height: height - 2 * margin };
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} colour
 * @param {Square} square
 */
function outline(context, colour, square) {
  const { x, y, width, height } = inset(square, 1);
  context.globalAlpha = 1;
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.strokeRect(x, y, width, height);
}

/** @param {Element} element @returns {Palette} */
export function paletteOf(element) {
  const style = getComputedStyle(element);
  /** @param {string} name */
  const colour = (name) => style.getPropertyValue(name).trim();
  return {
    missing: colour("--cell-missing"),
    stored: colour("--cell-stored"),
    read: colour("--cell-read"),
    now: colour("--cell-now"),
    ink: colour("--ink"),
    paper: colour("--paper"),
  };
}
