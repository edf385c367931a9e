/**
 * Small operations on the page's elements. Text is always set as text: strings from a server or an image
 * are never parsed as markup.
 */

/**
 * The element with an id; throws unless it has the given type.
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new TypeError(`#${id} is not a ${kind.name}`);
  return found;
}

/**
 * A new element with text, attributes and children.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/**
 * A new button with an action.
 * @param {string} text
 * @param {() => unknown} press
 * @param {Record<string, string>} [attributes]
 */
export function makeButton(text, press, attributes = {}) {
  const button = make("button", { type: "button", ...attributes }, text);
  button.addEventListener("click", () => isAvailable(button) && press());
  return button;
}

/** @param {Element | null | undefined} target @param {string} text */
export function setText(target, text) {
  if (target && target.textContent !== text) target.textContent = text;
}

/** @param {Element} target @param {string} name @param {string} value */
export function setAttribute(target, name, value) {
  if (target.getAttribute(name) !== value) target.setAttribute(name, value);
}

/** @param {Element} list @param {number} count @param {() => Element} build */
export function matchChildren(list, count, build) {
  while (list.children.length > count) list.lastElementChild?.remove();
  while (list.children.length < count) list.append(build());
}

/**
 * Redraws the children of an element only if their data has changed: a live region speaks on every
 * write, and focus would be lost.
 * @param {HTMLElement} target
 * @param {unknown} source
 * @param {() => (Node | string)[]} build
 * @returns {boolean} whether they were redrawn
 */
export function redraw(target, source, build) {
  const key = JSON.stringify(source ?? null);
  if (target.dataset.key === key) return false;
  target.dataset.key = key;
  target.replaceChildren(...build());
  return true;
}

/**
 * Whether a button can be pressed. A button that cannot be pressed stays in the tab order, so that keyboard
 * users find it and a screen reader says why.
 * @param {Element} button
 */
export function isAvailable(button) {
  return button.getAttribute("aria-disabled") !== "true";
}

/** @param {HTMLButtonElement | HTMLSelectElement} control @param {boolean} available */
export function setAvailable(control, available) {
  control.disabled = false;
  setAttribute(control, "aria-disabled", String(!available));
}

/**
 * Runs an action at each press, if the button can be pressed.
 * @param {string} id
 * @param {() => unknown} press
 */
export function onPress(id, press) {
  const button = element(id, HTMLButtonElement);
  button.addEventListener("click", () => isAvailable(button) && press());
}

/**
 * Shows a failure in its element, or hides it.
 * @param {string} id
 * @param {{ title: string, text: string } | null | undefined} failure
 */
export function showFailure(id, failure) {
  redraw(element(id, HTMLElement), failure ?? null, () =>
    failure ? [make("strong", {}, failure.title), make("span", {}, failure.text)] : [],
  );
}

/** @param {unknown} error */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/** What `showFailure` shows of an error that needs no title. @param {unknown} error */
export function failureOf(error) {
  return { title: "", text: messageOf(error) };
}
