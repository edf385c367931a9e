/**
 * Draws the image panel from the view that `panel.py` makes. It decides nothing and writes nothing
 * but text: what a host or an image says is never markup here.
 */

/** @typedef {{ label: string, value: string, note: string }} Row */
/** @typedef {{ code: string, title: string, text: string }} Notice */
/** @typedef {{ name: string, title: string, text: string }} Failure */

/**
 * What `Panel.view()` returns. Python's None comes as null in JSON and as undefined from the worker.
 * @typedef {object} View
 * @property {"closed" | "opening" | "open"} phase
 * @property {boolean} busy
 * @property {{ checked: boolean, disabled: boolean, hint: string }} remote
 * @property {{ value: string, readOnly: boolean, invalid: boolean, secret: boolean, hint: string }} url
 * @property {{ disabled: boolean }} open
 * @property {{ disabled: boolean }} close
 * @property {{ disabled: boolean }} clearCache
 * @property {{ disabled: boolean, hint: string, range: { offset: number, length: number } | null | undefined }} read
 * @property {{ text: string, tone: string }} status
 * @property {Failure | null | undefined} error
 * @property {Notice[]} notices
 * @property {Row[]} image
 * @property {Row[]} activity
 * @property {{ value: number, max: number, text: string, limit: string, note: string }} cache
 * @property {Record<string, string>} remembered
 * @property {Record<string, string> & { warning: string[] }} texts
 */

/**
 * The element with that id, which must be of that kind.
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new TypeError(`#${id} is no ${kind.name}`);
  return found;
}

/**
 * Shows `view`. What the user sets (the switch, the address) is left alone while `editing`: it has not
 * come back in a view yet.
 * @param {View} view
 * @param {{ editing?: boolean }} [options]
 */
export function renderPanel(view, { editing = false } = {}) {
  const panel = element("panel", HTMLElement);
  setAttribute(panel, "data-phase", view.phase);
  renderTexts(panel, view);

  const remote = element("remote", HTMLInputElement);
  if (!editing) remote.checked = view.remote.checked;
  remote.disabled = view.remote.disabled;

  const url = element("url", HTMLInputElement);
  if (!editing && url.value !== view.url.value) url.value = view.url.value;
  url.readOnly = view.url.readOnly;
  setAttribute(url, "placeholder", view.texts.urlExample ?? "");
  setAttribute(url, "aria-invalid", String(view.url.invalid));

  setAvailable("open", !view.open.disabled);
  setAvailable("close", !view.close.disabled);
  setAvailable("clear-cache", !view.clearCache.disabled);
  setAvailable("read", !view.read.disabled);

  setAttribute(element("status-line", HTMLElement), "data-tone", view.status.tone);
  setAttribute(element("working", HTMLElement), "data-on", String(view.busy));
  renderFailure(view.error);
  renderNotices(view.notices);

  const meter = element("cache-meter", HTMLMeterElement);
  meter.max = view.cache.max;
  meter.value = view.cache.value;
}

/**
 * Shows the panel before Python is there: it can be read, and an address typed, but nothing opened.
 * @param {View} view the first view, made when the site was built
 */
export function renderStarting(view) {
  const starting = { text: view.texts.starting ?? "", tone: "busy" };
  const remote = { ...view.remote, disabled: true };
  renderPanel({ ...view, busy: true, status: starting, remote }, { editing: true });
}

/**
 * Shows what failed, or nothing.
 * @param {{ title: string, text: string } | null | undefined} failure
 */
export function renderFailure(failure) {
  const box = element("error", HTMLElement);
  const key = failure ? `${failure.title}\n${failure.text}` : "";
  if ((box.dataset.key ?? "") === key) return; // a live region speaks whenever it is written to
  box.dataset.key = key;
  box.replaceChildren(...(failure ? [textElement("strong", failure.title), textElement("p", failure.text)] : []));
}

/**
 * Whether a button takes a press. A button that does not keeps its place in the tab order, so that a
 * keyboard finds it and a screen reader says why not.
 * @param {string} id
 * @returns {boolean}
 */
export function isAvailable(id) {
  return element(id, HTMLButtonElement).getAttribute("aria-disabled") !== "true";
}

/** @param {string} id @param {boolean} available */
function setAvailable(id, available) {
  const button = element(id, HTMLButtonElement);
  button.disabled = false;
  setAttribute(button, "aria-disabled", String(!available));
}

/** @param {HTMLElement} root @param {View} view */
function renderTexts(root, view) {
  for (const target of root.querySelectorAll("[data-text]")) {
    setText(target, String(valueAt(view, target.getAttribute("data-text") ?? "")));
  }
  for (const list of root.querySelectorAll("[data-lines]")) {
    const lines = /** @type {string[]} */ (valueAt(view, list.getAttribute("data-lines") ?? ""));
    matchChildren(list, lines.length, () => document.createElement("li"));
    lines.forEach((line, index) => setText(list.children[index], line));
  }
  for (const list of root.querySelectorAll("[data-rows]")) {
    const rows = /** @type {Row[]} */ (valueAt(view, list.getAttribute("data-rows") ?? ""));
    matchChildren(list, rows.length, () => {
      const row = document.createElement("div");
      row.append(document.createElement("dt"), document.createElement("dd"));
      return row;
    });
    rows.forEach((row, index) => renderRow(list.children[index], row));
  }
}

/** @param {Element | undefined} target @param {Row} row */
function renderRow(target, row) {
  const term = target?.querySelector("dt");
  const description = target?.querySelector("dd");
  if (!term || !description) return;
  setText(term, row.label);
  const key = `${row.value}\n${row.note}`;
  if (description.dataset.key === key) return;
  description.dataset.key = key;
  description.replaceChildren(row.value);
  if (row.note) {
    const note = textElement("span", row.note);
    note.className = "note";
    description.append(" ", note);
  }
}

/** @param {Notice[]} notices */
function renderNotices(notices) {
  const list = element("notices", HTMLElement);
  const key = JSON.stringify(notices);
  if ((list.dataset.key ?? "[]") === key) return;
  list.dataset.key = key;
  list.replaceChildren(
    ...notices.map((notice) => {
      const item = document.createElement("li");
      item.dataset.code = notice.code;
      item.append(textElement("strong", notice.title), textElement("p", notice.text));
      return item;
    }),
  );
}

/** @param {View} view @param {string} path such as `url.hint` @returns {unknown} */
function valueAt(view, path) {
  /** @type {any} */
  let value = view;
  for (const name of path.split(".")) value = value?.[name];
  return value ?? "";
}

/** @param {Element} list @param {number} count @param {() => Element} make */
function matchChildren(list, count, make) {
  while (list.children.length > count) list.lastElementChild?.remove();
  while (list.children.length < count) list.append(make());
}

/** @param {string} tag @param {string} text */
function textElement(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

/** @param {Element | undefined} target @param {string} text */
function setText(target, text) {
  if (target && target.textContent !== text) target.textContent = text;
}

/** @param {Element} target @param {string} name @param {string} value */
function setAttribute(target, name, value) {
  if (target.getAttribute(name) !== value) target.setAttribute(name, value);
}
