/**
 * The elements of the boot component, and every text that it shows. Boot.mjs says which classes they
 * have.
 */

export const TEXTS = {
  screen: "Screen of the machine. Keys go to it while it has the focus; Ctrl+Alt+G leaves it.",
  controls: "Machine",
  start: "Boot",
  pause: "Pause",
  resume: "Resume",
  save: "Save and pause",
  stop: "Switch off",
  speed: "Processor",
  typing: "Type to the machine",
  disk: "Disk activity",
  off: "The machine is off.",
  offSaved: "The machine is off. One that was saved can be resumed.",
  starting: "Starting the machine…",
  running: "The machine runs.",
  waiting: "The machine stands still: its disk is late to answer.",
  failed: "The machine stands still: its disk failed.",
  paused: "The machine is paused.",
  saving: "Saving the machine…",
  saved: "The machine is saved and paused. It can be resumed after this page was closed, as long as nothing else writes to its disk.",
  readFailed: "The disk could not be read",
  writeFailed: "The disk could not be written to",
  flushFailed: "What was written could not be made to last",
  giveUp: "Switch it off once more to give up what was written last.",
  startFailed: "The machine did not start",
  saveFailed: "The machine was not saved",
  retry: "Try again",
  refuse: "Let the machine see an error",
  refused: "The disk refused a write, and the machine was told:",
};

const SPEEDS = [100, 50, 25, 10];

/** @param {typeof TEXTS} texts */
export function makeParts(texts) {
  const root = make("div", "boot");
  const screen = make("div", "boot-screen", { tabIndex: 0, role: "application", ariaLabel: texts.screen });
  const failure = make("div", "boot-failure", { role: "alert", hidden: true });
  const failureTitle = make("strong", "");
  const failureText = make("p", "");
  const retry = make("button", "boot-retry", { type: "button", textContent: texts.retry });
  const refuse = make("button", "boot-refuse", { type: "button", textContent: texts.refuse });
  failure.append(failureTitle, failureText, retry, refuse);
  const bar = make("div", "boot-bar", { role: "group", ariaLabel: texts.controls });
  const button = (/** @type {"start" | "pause" | "resume" | "save" | "stop"} */ name) =>
    make("button", `boot-${name}`, { type: "button", textContent: texts[name] });
  const buttons = {
    start: button("start"),
    resume: button("resume"),
    pause: button("pause"),
    save: button("save"),
    stop: button("stop"),
  };
  const speed = make("select", "boot-speed");
  speed.append(...SPEEDS.map((share) => new Option(`${share} %`, String(share))));
  const speedLabel = make("label", "");
  speedLabel.append(texts.speed, " ", speed);
  const light = make("span", "boot-light", { role: "img", ariaLabel: texts.disk });
  const pace = make("span", "boot-pace");
  bar.append(...Object.values(buttons), speedLabel, light, pace);
  const status = make("p", "boot-status", { role: "status" });
  const typing = make("textarea", "phone_keyboard", { rows: 1, autocapitalize: "off", spellcheck: false });
  const typingLabel = make("label", "boot-typing");
  typingLabel.append(texts.typing, " ", typing);
  root.append(screen, failure, bar, status, typingLabel);
  return { root, screen, failure, failureTitle, failureText, retry, refuse, bar, ...buttons, speed, light, pace, status, typing };
}

/**
 * The two elements that v86 draws on, made anew for each machine.
 * @param {HTMLElement} screen
 */
export function makeScreen(screen) {
  const text = make("div", "boot-text");
  // Without this the letters are in no grid. A strict policy allows it: no style sheet, no attribute.
  Object.assign(text.style, { whiteSpace: "pre", fontFamily: "monospace", lineHeight: "1.15" });
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
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
