/**
 * The elements and texts of the boot component. `boot.mjs` lists the classes.
 */

/**
 * @typedef {import("./v86-disk.mjs").Failure} Failure
 * @typedef {"off" | "starting" | "running" | "waiting" | "failed" | "paused" | "saving"} State
 */

export const TEXTS = {
  screen: "Screen of the machine. Keys go to it while it has the focus; Ctrl+Alt+G leaves it.",
  controls: "Machine",
  start: "Boot",
  pause: "Pause",
  resume: "Resume",
  save: "Save and pause",
  stop: "Switch off",
  keys: "Use the keyboard",
  secure: "Ctrl+Alt+Del",
  fullscreen: "Full screen",
  mouse: "Capture the mouse",
  mute: "Mute",
  speed: "Processor",
  typing: "Type to the machine",
  disk: "Disk activity",
  off: "The machine is off.",
  offSaved: "The machine is off. The saved one can be resumed.",
  starting: "Starting the machine…",
  running: "The machine is running.",
  waiting: "The machine is waiting for its disk.",
  failed: "The machine is stopped: its disk failed.",
  paused: "The machine is paused.",
  saving: "Saving the machine…",
  saved: "The machine is saved and paused. You can close this page and resume it later, as long as nothing else writes to its disk.",
  readFailed: "The disk could not be read",
  writeFailed: "The disk could not be written to",
  flushFailed: "Written data could not be saved",
  giveUp: "Switch it off again to discard what was written last.",
  startFailed: "The machine did not start",
  saveFailed: "The machine was not saved",
  retry: "Try again",
  refuse: "Report an error to the machine",
  refused: "The disk refused a write, and the machine got an error:",
};

/** The speeds to choose from, in percent. */
const SPEEDS = [100, 50, 25, 10];
const LIGHT_MS = 120;

/** @param {typeof TEXTS} texts */
function makeParts(texts) {
  const root = make("div", "boot");
  // No stop of the Tab key, which it would keep: boot and a button lead to it.
  const screen = make("div", "boot-screen", { tabIndex: -1, role: "application", ariaLabel: texts.screen });
  const failure = make("div", "boot-failure", { role: "alert", hidden: true });
  const failureTitle = make("strong", "");
  const failureText = make("p", "");
  const retry = make("button", "boot-retry", { type: "button", textContent: texts.retry });
  const refuse = make("button", "boot-refuse", { type: "button", textContent: texts.refuse });
  failure.append(failureTitle, failureText, retry, refuse);
  const bar = make("div", "boot-bar", { role: "group", ariaLabel: texts.controls });
  const button = (
    /** @type {"start" | "pause" | "resume" | "save" | "stop" | "keys" | "secure" | "fullscreen" | "mouse" | "mute"} */ name,
  ) =>
    make("button", `boot-${name}`, { type: "button", textContent: texts[name] });
  const buttons = {
    start: button("start"),
    resume: button("resume"),
    pause: button("pause"),
    save: button("save"),
    stop: button("stop"),
    keys: button("keys"),
    secure: button("secure"),
    fullscreen: button("fullscreen"),
    mouse: button("mouse"),
    mute: button("mute"),
  };
  const speed = make("select", "boot-speed");
  speed.append(...SPEEDS.map((share) => new Option(`${share} %`, String(share))));
  const speedLabel = make("label", "");
  speedLabel.append(texts.speed, " ", speed);
  const light = make("span", "boot-light", { role: "img", ariaLabel: texts.disk });
  const pace = make("span", "boot-pace");
  const gauge = make("span", "boot-gauge");
  gauge.append(light, pace);
  bar.append(...Object.values(buttons), speedLabel, gauge);
  const status = make("p", "boot-status", { role: "status" });
  const typing = make("textarea", "phone_keyboard", { rows: 1, autocapitalize: "off", spellcheck: false });
  const typingLabel = make("label", "boot-typing");
  typingLabel.append(texts.typing, " ", typing);
  root.append(screen, failure, bar, status, typingLabel);
  return { root, screen, failure, failureTitle, failureText, retry, refuse, bar, ...buttons, speed, light, pace, status, typing };
}

/** Draws a machine. It decides nothing. */
export class BootView {
  #texts;
  #hasSaved = false;
  /** @type {State} */
  #state = "off";
  #note = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #lightTimer;

  /**
   * @param {HTMLElement} container
   * @param {typeof TEXTS} texts
   */
  constructor(container, texts) {
    this.#texts = texts;
    this.parts = makeParts(texts);
    container.replaceChildren(this.parts.root);
    this.showMuted(false);
    this.show("off");
  }

  /**
   * @param {State} state
   * @param {string} [note] an additional message
   */
  show(state, note = "") {
    this.#state = state;
    this.#note = note;
    const { root, status, start, pause, resume, save, stop, speed, keys, secure, fullscreen, mouse, mute } = this.parts;
    const isOn = state !== "off" && state !== "starting";
    root.dataset.state = state;
    setText(status, [this.#sentence, note].filter(Boolean).join(" "));
    start.hidden = state !== "off";
    pause.hidden = !isOn || state === "paused" || state === "saving";
    resume.hidden = state !== "paused" && !(state === "off" && this.#hasSaved);
    save.hidden = !isOn || state === "saving" || state === "failed";
    stop.hidden = keys.hidden = secure.hidden = mute.hidden = !isOn;
    mouse.hidden = !isOn || !("requestPointerLock" in root);
    fullscreen.hidden = !isOn || !document.fullscreenEnabled;
    speed.disabled = !isOn;
  }

  /** Sets whether a saved machine exists. @param {boolean} has */
  showSaved(has) {
    this.#hasSaved = has;
    this.show(this.#state, this.#note);
  }

  /** Shows a failure of the disk. @param {Failure} failure */
  showDiskFailure(failure) {
    const { readFailed, writeFailed, flushFailed } = this.#texts;
    const titles = { read: readFailed, write: writeFailed, flush: flushFailed };
    this.showFailure(titles[failure.kind], failure.message, failure);
  }

  /** Shows what failed; nothing without a title. @param {string} [title] @param {string} [text] @param {Failure} [failure] */
  showFailure(title = "", text = "", failure) {
    const { failure: box, failureTitle, failureText, retry, refuse } = this.parts;
    box.dataset.of = failure ? "disk" : "";
    setText(failureTitle, title);
    setText(failureText, text);
    box.hidden = !title;
    retry.hidden = !failure;
    refuse.hidden = !failure?.canRefuse;
  }

  /** Hides the disk's failure, and nothing else. */
  hideDiskFailure() {
    if (this.parts.failure.dataset.of === "disk") this.showFailure();
  }

  /** @param {"read" | "write"} kind */
  light(kind) {
    const { light } = this.parts;
    if (light.dataset.on !== kind) light.dataset.on = kind;
    clearTimeout(this.#lightTimer);
    this.#lightTimer = setTimeout(() => (light.dataset.on = ""), LIGHT_MS);
  }

  /** @param {boolean} is */
  showMuted(is) {
    this.parts.mute.ariaPressed = String(is);
  }

  /** @param {number | null} millions of instructions a second */
  showPace(millions) {
    setText(this.parts.pace, millions === null ? "" : `${millions.toFixed(millions < 10 ? 1 : 0)} MIPS`);
  }

  /** Focuses the first available control. */
  focusBar() {
    [...this.parts.bar.querySelectorAll("button")].find((button) => !button.hidden)?.focus();
  }

  get #sentence() {
    const { saved, offSaved } = this.#texts;
    if (this.#state === "paused" && this.#note === saved) return ""; // the note covers it
    return this.#state === "off" && this.#hasSaved ? offSaved : this.#texts[this.#state];
  }
}

/**
 * The two elements that v86 draws on, recreated for each machine.
 * @param {HTMLElement} screen
 */
export function makeScreen(screen) {
  const text = make("div", "boot-text");
  // Without this the letters are not on a grid. A strict CSP allows it: it is neither style sheet nor attribute.
  text.style.whiteSpace = "pre";
  screen.replaceChildren(text, make("canvas", "boot-graphics"));
  return screen;
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string} className
 * @param {Partial<HTMLElementTagNameMap[T]>} [properties]
 * @returns {HTMLElementTagNameMap[T]}
 */
function make(tag, className, properties = {}) {
  return Object.assign(document.createElement(tag), className ? { className } : {}, properties);
}

/** @param {HTMLElement} element @param {string} text */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
