/**
 * The screen, keys and buttons of a DOSBox that runs in the page. What its programs print is in a log too,
 * for who cannot see the screen.
 */

import { make, makeButton, setText } from "./elements.mjs";
import { keyOf } from "./dosbox-keys.mjs";

/** @typedef {import("../adapters/dosbox.mjs").DriveFailure} DriveFailure */

/**
 * The `CommandInterface` of `emulators`, as far as the page uses it.
 * @typedef {object} Dos
 * @property {() => number} width
 * @property {() => number} height
 * @property {() => void} pause
 * @property {() => void} resume
 * @property {() => void} mute
 * @property {() => Promise<void>} exit
 * @property {(key: number, pressed: boolean) => void} sendKeyEvent
 * @property {(x: number, y: number) => void} sendMouseMotion from 0 to 1
 * @property {(button: number, pressed: boolean) => void} sendMouseButton
 * @property {() => { onFrame(draw: (rgb: Uint8Array | null, rgba: Uint8Array | null) => void): void, onStdout(print: (text: string) => void): void }} events
 */

/** Of what was printed, the characters that are kept. */
const LOG_LENGTH = 4000;
const ESCAPES = /\x1b\[[\d;]*[A-Za-z]|[^\n\x20-\x7e]/g;

export class DosboxScreen {
  #texts;
  #canvas = make("canvas");
  #screen;
  #log;
  #status = make("p", { class: "boot-status", role: "status" });
  #failure = make("div", { class: "boot-failure", role: "alert" });
  #pause;
  #bar;
  #root;
  /** @type {Dos | null} */
  #dos = null;
  #isPaused = false;
  /** The keys that are down. @type {Set<number>} */
  #down = new Set();

  /**
   * @param {HTMLElement} container
   * @param {Record<string, string>} texts
   * @param {() => unknown} stop the user wants it to end
   */
  constructor(container, texts, stop) {
    this.#texts = texts;
    this.#screen = make("div", { class: "boot-screen", tabindex: "-1", role: "application", "aria-label": this.#text("screen") }, this.#canvas);
    this.#log = make("pre", { class: "visually-hidden", role: "log", "aria-label": this.#text("log") });
    this.#pause = makeButton(this.#text("pause"), () => this.#togglePause());
    this.#bar = make(
      "div",
      { class: "boot-bar", role: "group", "aria-label": this.#text("controls") },
      this.#pause,
      makeButton(this.#text("stop"), stop),
      makeButton(this.#text("keys"), () => this.#screen.focus()),
    );
    if (document.fullscreenEnabled) {
      // It can be left meanwhile, and not be allowed here.
      const show = () => void this.#screen.requestFullscreen().catch(() => {});
      this.#bar.append(makeButton(this.#text("fullscreen"), show));
    }
    this.#root = make("div", { class: "dosbox-machine" }, this.#screen, this.#failure, this.#bar, this.#status, this.#log);
    container.replaceChildren(this.#root);
    this.#listen();
    this.#show("starting");
  }

  /** @param {Dos} dos that has started */
  connect(dos) {
    this.#dos = dos;
    dos.mute();
    dos.events().onFrame((rgb, rgba) => this.#draw(dos.width(), dos.height(), rgb, rgba));
    dos.events().onStdout((text) => this.#print(text));
    this.#show("running");
    this.#screen.focus();
  }

  /** Shows a failure of a disk, for which DOSBox stands still. @param {DriveFailure} failure */
  fail({ letter, message, retry }) {
    const again = makeButton(this.#text("retry"), () => {
      this.#failure.replaceChildren();
      this.#show("running");
      retry();
    });
    this.#failure.replaceChildren(make("p", {}, message), again);
    this.#show("failed", letter.toUpperCase());
  }

  remove() {
    this.#dos = null;
    this.#root.remove();
  }

  /** @param {number} width @param {number} height @param {Uint8Array | null} rgb @param {Uint8Array | null} rgba */
  #draw(width, height, rgb, rgba) {
    const pixels = width * height;
    if (!pixels || (rgb ?? rgba)?.length !== pixels * (rgb ? 3 : 4)) return; // of a size that is just changing
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    const picture = new ImageData(width, height);
    const { data } = picture;
    if (rgb) for (let at = 0, from = 0; at < data.length; at += 4, from += 3) {
      data[at] = rgb[from] ?? 0;
      data[at + 1] = rgb[from + 1] ?? 0;
      data[at + 2] = rgb[from + 2] ?? 0;
    }
    else if (rgba) data.set(rgba);
    for (let at = 3; at < data.length; at += 4) data[at] = 255;
    this.#canvas.getContext("2d")?.putImageData(picture, 0, 0);
  }

  /** @param {string} text */
  #print(text) {
    const all = `${this.#log.textContent}${text.replaceAll(ESCAPES, "")}`;
    this.#log.textContent = all.slice(-LOG_LENGTH);
  }

  #togglePause() {
    if (!this.#dos) return;
    this.#isPaused = !this.#isPaused;
    if (this.#isPaused) this.#dos.pause();
    else this.#dos.resume();
    setText(this.#pause, this.#text(this.#isPaused ? "resume" : "pause"));
    this.#show(this.#isPaused ? "paused" : "running");
  }

  // ── keys and mouse ──────────────────────────────────────────────────────────────────────────────

  #listen() {
    this.#screen.addEventListener("keydown", (event) => {
      if (event.ctrlKey && event.altKey && event.code === "KeyG") {
        event.preventDefault();
        return this.#bar.querySelector("button")?.focus();
      }
      this.#key(event, true);
    });
    this.#screen.addEventListener("keyup", (event) => this.#key(event, false));
    this.#screen.addEventListener("blur", () => {
      for (const key of this.#down) this.#dos?.sendKeyEvent(key, false);
      this.#down.clear();
    });
    this.#canvas.addEventListener("pointermove", ({ offsetX, offsetY }) => {
      const { clientWidth, clientHeight } = this.#canvas;
      this.#dos?.sendMouseMotion(offsetX / clientWidth, offsetY / clientHeight);
    });
    this.#canvas.addEventListener("pointerdown", ({ button }) => {
      this.#screen.focus();
      this.#dos?.sendMouseButton(button === 2 ? 1 : 0, true);
    });
    this.#canvas.addEventListener("pointerup", ({ button }) => this.#dos?.sendMouseButton(button === 2 ? 1 : 0, false));
    this.#canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  /** @param {KeyboardEvent} event @param {boolean} isDown */
  #key(event, isDown) {
    const key = keyOf(event.code);
    if (!key) return;
    event.preventDefault();
    if (isDown === this.#down.has(key)) return; // the browser repeats a key, DOSBox does so by itself
    if (isDown) this.#down.add(key);
    else this.#down.delete(key);
    this.#dos?.sendKeyEvent(key, isDown);
  }

  // ── texts ───────────────────────────────────────────────────────────────────────────────────────

  /** @param {"starting" | "running" | "paused" | "failed"} state @param {string} [letter] */
  #show(state, letter = "") {
    this.#root.dataset.state = state;
    setText(this.#status, this.#text(state).replace("{letter}", letter));
  }

  /** @param {string} name */
  #text(name) {
    return this.#texts[name] ?? "";
  }
}
