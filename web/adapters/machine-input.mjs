/**
 * Keyboard, mouse and full screen of the boot component: which of its elements gives the machine its keys, and
 * what leaves it again.
 */

/** @typedef {import("./v86-machine.mjs").V86} V86 */

/** Releases left and right Control, Alt and Shift: PS/2 set 1. */
const LET_GO = [0x9d, 0xb8, 0xaa, 0xb6];
/** Presses and releases Control, Alt and Delete. */
const CTRL_ALT_DEL = [0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d];

export class MachineInput {
  #view;
  #machine;

  /**
   * @param {import("./boot-view.mjs").BootView} view
   * @param {() => V86 | null} machine null while it is off
   */
  constructor(view, machine) {
    this.#view = view;
    this.#machine = machine;
    this.#listen();
  }

  /** Puts the focus on the screen of a machine that was just switched on. */
  begin() {
    const { screen } = this.#view.parts;
    screen.focus();
    this.#takeKeys(/** @type {Document | ShadowRoot} */ (screen.getRootNode()).activeElement === screen);
  }

  #listen() {
    const { screen, typing, keys, secure, fullscreen, mouse } = this.#view.parts;
    keys.addEventListener("click", () => screen.focus());
    secure.addEventListener("click", () => this.#machine()?.keyboard_send_scancodes(CTRL_ALT_DEL));
    fullscreen.addEventListener("click", () => void screen.requestFullscreen().catch(() => {})); // not allowed here
    mouse.addEventListener("click", () => void this.#captureMouse().catch(() => {}));
    screen.addEventListener("fullscreenchange", () => captureKeys(screen));
    for (const part of /** @type {HTMLElement[]} */ ([screen, typing])) {
      part.addEventListener("focus", () => this.#takeKeys(true));
      part.addEventListener("blur", () => this.#takeKeys(false));
      part.addEventListener("keydown", (event) => this.#leave(event), { capture: true });
    }
    // The field is a stop on the way to what comes after it: its Tab is not the machine's.
    typing.addEventListener("keydown", (event) => event.key === "Tab" && event.stopPropagation(), { capture: true });
    typing.addEventListener("input", () => queueMicrotask(() => (typing.value = "")));
    screen.addEventListener("pointerdown", () => screen.focus());
  }

  /** Escape gives the mouse back. */
  async #captureMouse() {
    const { screen } = this.#view.parts;
    screen.focus();
    await screen.requestPointerLock();
  }

  /** @param {boolean} on */
  #takeKeys(on) {
    const machine = this.#machine();
    machine?.keyboard_set_enabled(on);
    machine?.mouse_set_enabled(on);
    if (!on) machine?.keyboard_send_scancodes(LET_GO);
  }

  /** v86 takes every key while the screen has the focus, so one key must leave it. @param {KeyboardEvent} event */
  #leave(event) {
    if (!(event.ctrlKey && event.altKey && event.code === "KeyG")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this.#view.focusBar();
  }
}

/**
 * In full screen the machine also gets the keys of the browser and the system, if the browser allows that.
 * @param {HTMLElement} screen
 */
function captureKeys(screen) {
  const root = /** @type {Document | ShadowRoot} */ (screen.getRootNode());
  const { keyboard } = /** @type {{ keyboard?: { lock(): Promise<void>, unlock(): void } }} */ (navigator);
  if (root.fullscreenElement === screen) {
    screen.focus();
    keyboard?.lock().catch(() => {}); // full screen was left meanwhile
  } else keyboard?.unlock();
}
