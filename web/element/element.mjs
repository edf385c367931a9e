/**
 * `<aero-disk>`: an element that opens a disk image and boots it in v86.
 *
 *     import "./element.mjs";
 *
 *     <aero-disk src="https://images.example/win.img" boot remote-consent overlay="work"></aero-disk>
 *
 * Attributes. URLs are relative to the page.
 *
 *     src             the image's URL; or `image`, a local image of the library by name
 *     remote-consent  asks the user before anything is requested; "given" if the page has asked
 *     boot            starts the machine as soon as the disk is open; without it the user does
 *     overlay         the overlay that takes the writes
 *     format          as for `openDisk`
 *     memory          the machine's memory in MiB, a power of two; 256 by default
 *     bios-url, vga-bios-url, wasm-url   the files of the machine, see `v86Files`
 *     v86-url         the folder with those of these files that are not given, and with `libv86.mjs`
 *     base-url        as for `openDisk`
 *
 * Properties: `disk`, `machine` (see boot.mjs), `V86` (v86's class, in place of `libv86.mjs`).
 * Methods: `open()`, once the user has agreed, and `close()`. Removing the element closes its disk.
 *
 * Events: "open", "close", "state" (of the machine), "activity", "progress" (a `ProgressEvent`, while Python
 * is downloaded), and "error", an `ErrorEvent`.
 *
 * Parts: consent, server, allow, failure, retry, status, machine, map, facts, and the classes of boot.mjs
 * without `boot-`. Custom properties: --ink, --paper, --soft, --edge, --accent, --on-accent, --bad,
 * --cell-missing, --cell-stored, --cell-read, --cell-now, --map-height, --mono.
 *
 * @module element.mjs
 */

import { Boot } from "../adapters/boot.mjs";
import { DiskActivityEvent } from "../adapters/v86-disk.mjs";
import { openDisk, preload } from "../lib/aero-disk.mjs";
import { ElementView, TEXTS } from "./element-view.mjs";
import { reportActivity } from "./machine-activity.mjs";
import { MapCanvas } from "./map-canvas.mjs";

/**
 * @typedef {import("../lib/aero-disk.mjs").Disk} Disk
 * @typedef {import("../lib/aero-disk.mjs").DiskOptions} DiskOptions
 * @typedef {import("../adapters/boot.mjs").EmulatorClass} EmulatorClass
 */

const NAME = "aero-disk";
const LOOK_MS = 500;

/** The class of `<aero-disk>`. */
export class AeroDiskElement extends HTMLElement {
  static observedAttributes = ["src", "image"];

  /** v86's class: `import { V86 } from "v86"`. @type {EmulatorClass | undefined} */
  V86 = undefined;
  /** The open disk. @type {Disk | null} */
  disk = null;
  /** The machine. @type {Boot | null} */
  machine = null;

  #view = new ElementView(this.attachShadow({ mode: "open" }));
  #map = new MapCanvas(this.#view.parts.map, () => this.#look());
  /** Counts calls to open: a response to an earlier one is dropped. */
  #turn = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  constructor() {
    super();
    const { allow } = this.#view.parts;
    allow.addEventListener("click", () => void this.open());
    for (const type of ["pointerenter", "focus"]) allow.addEventListener(type, () => this.#preload());
    this.#view.parts.retry.addEventListener("click", () => void this.open());
  }

  /** @internal */
  connectedCallback() {
    if (!this.disk) this.#begin();
  }

  /** @internal */
  disconnectedCallback() {
    // An element that is moved is disconnected for a moment.
    queueMicrotask(() => {
      if (!this.isConnected) void this.close();
    });
  }

  /** @internal @param {string} _name @param {string | null} before @param {string | null} now */
  attributeChangedCallback(_name, before, now) {
    if (this.isConnected && before !== now) void this.close().then(() => this.#begin());
  }

  /** Opens the disk. The user has agreed to that, or its image is a local one. */
  async open() {
    await this.close();
    const turn = ++this.#turn;
    this.#view.show("opening");
    try {
      const onStartProgress = (/** @type {number} */ loaded, /** @type {number} */ total) => {
        if (turn !== this.#turn) return;
        this.dispatchEvent(new ProgressEvent("progress", { lengthComputable: true, loaded, total }));
      };
      const disk = await openDisk({ ...this.#options(), onStartProgress });
      if (turn !== this.#turn) return void disk.close().catch(() => {});
      this.disk = disk;
      this.machine = this.#makeMachine(disk);
      this.#view.show("open");
      this.#look();
      this.dispatchEvent(new Event("open"));
      // If a machine is saved, the user chooses to resume it or to boot.
      if (this.hasAttribute("boot") && !(await this.machine.saved())) await this.machine?.start();
    } catch (error) {
      if (turn !== this.#turn) return;
      const message = error instanceof Error ? error.message : String(error);
      if (!this.disk) this.#view.show("failed", message); // otherwise the machine shows it
      this.dispatchEvent(new ErrorEvent("error", { error, message }));
    }
  }

  /** Switches the machine off and closes the disk. */
  async close() {
    this.#turn++;
    clearTimeout(this.#timer);
    const { disk, machine } = this;
    this.disk = this.machine = null;
    this.#map.show(null);
    this.#view.show("closed");
    if (!disk) return;
    try {
      await machine?.dispose();
    } finally {
      await disk.close().catch(() => {}); // its worker has ended
      this.dispatchEvent(new Event("close"));
    }
  }

  /** Starts Python, since the user is about to agree; the image's server is not asked for anything. */
  #preload() {
    preload({ baseUrl: this.#text("base-url") });
  }

  /** Opens the disk, or asks first. */
  #begin() {
    if (!this.isConnected) return;
    const src = this.getAttribute("src");
    if (this.hasAttribute("image") || (src && this.getAttribute("remote-consent") === "given")) void this.open();
    else if (!src) this.#view.show("closed");
    else if (this.hasAttribute("remote-consent")) this.#view.show("asking", serverOf(src));
    else this.#view.show("failed", TEXTS.refused);
  }

  /** @returns {DiskOptions} */
  #options() {
    const image = this.getAttribute("image");
    const common = { overlay: this.#text("overlay"), baseUrl: this.#text("base-url") };
    if (image) return { image, ...common };
    const url = new URL(this.getAttribute("src") ?? "", document.baseURI);
    return { url, allowRemote: true, format: this.#text("format"), ...common };
  }

  /** @param {Disk} disk */
  #makeMachine(disk) {
    const megabytes = this.#text("memory");
    const machine = new Boot(this.#view.parts.machine, {
      disk,
      V86: this.V86,
      memoryBytes: megabytes === undefined ? undefined : Number(megabytes) << 20,
      filesUrl: this.#text("v86-url"),
      wasmUrl: this.#text("wasm-url"),
      biosUrl: this.#text("bios-url"),
      vgaBiosUrl: this.#text("vga-bios-url"),
    });
    reportActivity(machine, (events) => disk.ask("activity.report", { events }));
    machine.addEventListener("state", () => this.dispatchEvent(new Event("state")));
    machine.addEventListener("activity", ({ kind, offset, length }) => {
      this.dispatchEvent(new DiskActivityEvent(kind, offset, length));
    });
    return machine;
  }

  /** Draws the map, and repeats it shortly while the disk is open and the page is visible. */
  async #look() {
    clearTimeout(this.#timer);
    const { disk } = this;
    const { maxCells: cells } = this.#map;
    if (!disk || !cells) return;
    try {
      if (!document.hidden) {
        const shown = { start: 0, length: disk.size, cells };
        const [{ map }, stats] = await Promise.all([disk.ask("activity.look", shown), disk.stats()]);
        if (disk !== this.disk) return;
        this.#map.show(map);
        this.#view.showFacts(stats, disk.size);
      }
    } catch {
      return; // the disk was closed meanwhile
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), LOOK_MS);
  }

  /** @param {string} name */
  #text(name) {
    return this.getAttribute(name) || undefined;
  }
}

/** @param {string} src */
function serverOf(src) {
  try {
    return new URL(src, document.baseURI).origin;
  } catch {
    return src;
  }
}

if (!customElements.get(NAME)) customElements.define(NAME, AeroDiskElement);
