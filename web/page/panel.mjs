/**
 * Draws the image panel from the view of `panel.py`. It decides nothing and writes only text.
 */

import { element, make, matchChildren, redraw, setAttribute, setAvailable, setText } from "./elements.mjs";

/** @typedef {{ label: string, value: string, note: string }} Row */
/** @typedef {{ code: string, title: string, text: string }} Notice */
/** @typedef {{ name: string, title: string, text: string }} Failure */
/** @typedef {import("../lib/shared-client.mjs").DiskFacts & { sectorSize: number, entry: string }} DiskFacts `entry`: its row in the library */
/** @typedef {{ url: string, name: string, note: string, size: string, spoken: string }} Sample */
/** @typedef {{ value: string, label: string }} Choice */
/** @typedef {{ name: string, label: string, hint: string, value: string, choices: Choice[] }} Setting */

/**
 * What `Panel.view()` returns. Python's None arrives as null in JSON and as undefined from the worker.
 * @typedef {object} View
 * @property {"closed" | "opening" | "open"} phase
 * @property {boolean} busy
 * @property {DiskFacts | null | undefined} disk the open disk, for a `Disk`
 * @property {{ checked: boolean, disabled: boolean, closes: boolean, hint: string }} remote
 * @property {{ value: string, readOnly: boolean, invalid: boolean, secret: boolean, hint: string }} url
 * @property {{ disabled: boolean }} open
 * @property {{ disabled: boolean }} close
 * @property {{ disabled: boolean, isAtFailure: boolean, label: string, isUnderWay: boolean }} diagnose
 * @property {{ disabled: boolean }} clearCache
 * @property {{ disabled: boolean }} saveProfile
 * @property {{ disabled: boolean, hint: string, range: { offset: number, length: number } | null | undefined }} read
 * @property {{ text: string, tone: string }} status
 * @property {Failure | null | undefined} error
 * @property {Notice[]} notices
 * @property {Row[]} image
 * @property {Row[]} activity
 * @property {{ value: number, max: number, text: string, share: string, limit: string, note: string }} cache
 * @property {{ label: string, disabled: boolean, on: boolean }} keepAll
 * @property {{ title: string, legend: Record<string, string> }} map
 * @property {{ disabled: boolean, hint: string }} files
 * @property {{ disabled: boolean, hint: string, asks: Record<string, import("./ask.mjs").Question> }} boot
 * @property {{ shown: boolean, query: string, ask: import("./ask.mjs").Question | null | undefined }} share
 * @property {{ shown: boolean, isOutdated: boolean, overlay: string, image: string }} saves
 * @property {{ shown: boolean, isAsked: boolean, hint: string, images: Sample[] }} samples
 * @property {{ changed: boolean, digests: string, sharedMemoryBytes: number | undefined, fields: Setting[] }} settings
 * @property {Record<string, unknown>} remembered
 * @property {Record<string, string> & { warning: string[], lacks: Record<string, string>, tabs: Record<string, string>,
 *   dosboxMachine: Record<string, string> }} texts
 */

/**
 * Shows `view`. While `editing`, leaves the user's inputs (the switch, the URL) alone: the view does not have
 * them yet.
 * @param {View} view
 * @param {{ editing?: boolean }} [options]
 */
export function renderPanel(view, { editing = false } = {}) {
  const panel = element("panel", HTMLElement);
  setAttribute(panel, "data-phase", view.phase);
  renderTexts(document.body, view);

  const remote = element("remote", HTMLInputElement);
  if (!editing) remote.checked = view.remote.checked;
  remote.disabled = view.remote.disabled;

  const url = element("url", HTMLInputElement);
  if (!editing && url.value !== view.url.value) url.value = view.url.value;
  url.readOnly = view.url.readOnly;
  setAttribute(url, "placeholder", view.texts.urlExample ?? "");
  setAttribute(url, "aria-invalid", String(view.url.invalid));

  const overlay = element("overlay", HTMLInputElement);
  overlay.readOnly = view.url.readOnly;
  setAttribute(overlay, "placeholder", view.texts.noOverlay ?? "");

  const isOpen = view.phase === "open";
  /** @type {Record<string, boolean>} */
  const available = {
    open: !view.open.disabled,
    close: !view.close.disabled,
    diagnose: !view.diagnose.disabled,
    "find-cause": view.diagnose.isAtFailure,
    "settings-open": true,
    "clear-cache": !view.clearCache.disabled,
    "keep-all": !view.keepAll.disabled,
    "save-trace": isOpen,
    "save-profile": !view.saveProfile.disabled,
    read: !view.read.disabled,
    browse: !view.files.disabled,
    boot: !view.boot.disabled,
  };
  for (const [id, is] of Object.entries(available)) setAvailable(element(id, HTMLButtonElement), is);
  const { disabled, isAtFailure } = view.diagnose;
  element("diagnose", HTMLButtonElement).dataset.unused = String(disabled || isAtFailure);
  element("find-cause", HTMLButtonElement).hidden = !isAtFailure;

  setAttribute(element("status-line", HTMLElement), "data-tone", view.status.tone);
  setAttribute(element("working", HTMLElement), "data-on", String(view.busy));
  renderFailure(view.error);
  renderNotices(view.notices);

  const meter = element("cache-meter", HTMLMeterElement);
  meter.max = view.cache.max;
  meter.value = view.cache.value;
}

/**
 * Shows the panel before Python has started: the user can read it and type a URL, but not open anything.
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
  redraw(element("error", HTMLElement), failure ? [failure.title, failure.text] : null, () =>
    failure ? [make("strong", {}, failure.title), make("p", {}, failure.text)] : [],
  );
}

/** @param {HTMLElement} root @param {View} view */
function renderTexts(root, view) {
  for (const target of root.querySelectorAll("[data-text]")) {
    setText(target, String(valueAt(view, target.getAttribute("data-text") ?? "")));
  }
  for (const target of root.querySelectorAll("[data-label]")) {
    setAttribute(target, "aria-label", String(valueAt(view, target.getAttribute("data-label") ?? "")));
  }
  for (const list of root.querySelectorAll("[data-lines]")) {
    const lines = /** @type {string[]} */ (valueAt(view, list.getAttribute("data-lines") ?? ""));
    matchChildren(list, lines.length, () => make("li"));
    lines.forEach((line, index) => setText(list.children[index], line));
  }
  for (const item of root.querySelectorAll("[data-cell]")) {
    setText(item, view.map.legend[item.getAttribute("data-cell") ?? ""] ?? "");
  }
  for (const list of root.querySelectorAll("[data-rows]")) {
    const rows = /** @type {Row[]} */ (valueAt(view, list.getAttribute("data-rows") ?? ""));
    matchChildren(list, rows.length, () => make("div", {}, make("dt"), make("dd")));
    rows.forEach((row, index) => renderRow(list.children[index], row));
  }
}

/** @param {Element | undefined} target @param {Row} row */
function renderRow(target, row) {
  const description = target?.querySelector("dd");
  if (!target || !description) return;
  setText(target.querySelector("dt"), row.label);
  redraw(description, [row.value, row.note], () =>
    row.note ? [row.value, " ", make("span", { class: "note" }, row.note)] : [row.value],
  );
}

/** @param {Notice[]} notices */
function renderNotices(notices) {
  const list = element("notices", HTMLElement);
  if (!notices.length && !list.dataset.key) return;
  redraw(list, notices, () =>
    notices.map((notice) =>
      make("li", { "data-code": notice.code }, make("strong", {}, notice.title), make("p", {}, notice.text)),
    ),
  );
}

/** @param {View} view @param {string} path such as `url.hint` @returns {unknown} */
function valueAt(view, path) {
  /** @type {any} */
  let value = view;
  for (const name of path.split(".")) value = value?.[name];
  return value ?? "";
}
