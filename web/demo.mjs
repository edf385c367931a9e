/**
 * The demo page: sends what the user does to the worker, and draws the view that comes back.
 */

import { connect } from "./aero-disk.mjs";
import { element, isAvailable, renderFailure, renderPanel, renderStarting } from "./panel.mjs";
import { clearReadResult, showReadResult } from "./read-result.mjs";

/** @typedef {import("./panel.mjs").View} View */
/** @typedef {import("./panel.mjs").Failure} Failure */

const KEPT = "aero-browser-disk.panel";
const POLL_MS = 250;

const url = element("url", HTMLInputElement);
const remote = element("remote", HTMLInputElement);
const worker = connect();

/** @type {View | null} */
let view = null;
/** What no view tells of: a defect, a worker that died. @type {Failure | null} */
let defect = null;
let underWay = 0;
let editsUnderWay = 1; // until the worker has what was typed while Python was starting
/** @type {ReturnType<typeof setTimeout> | null} */
let poll = null;

await start();

async function start() {
  /** @type {View} */
  const first = await (await fetch("panel-first-view.json")).json();
  renderStarting(first);
  listen();
  const prefilled = new URLSearchParams(location.search).get("image");
  if (prefilled && !url.value) url.value = prefilled;
  try {
    await call("panel.restore", { remembered: readKept() });
  } catch (error) {
    const { startFailedTitle = "", startFailed = "" } = first.texts;
    const status = { text: startFailedTitle, tone: "bad" };
    renderPanel({ ...first, remote: { ...first.remote, disabled: true }, status }, { editing: true });
    renderFailure({ title: startFailedTitle, text: `${startFailed} (${messageOf(error)})` });
    return;
  }
  // Typed, or come with this page's address, while Python was starting.
  if (url.value) await edit("panel.setUrl", { url: url.value });
  editsUnderWay -= 1;
  if (view) draw(view);
  // A secret in this page's own address is not left there to be copied or reloaded.
  if (prefilled && view?.url.secret) history.replaceState(null, "", location.pathname);
}

function listen() {
  remote.addEventListener("change", () => edit("panel.setRemote", { enabled: remote.checked }));
  url.addEventListener("input", () => view && edit("panel.setUrl", { url: url.value }));
  element("open-form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    if (isAvailable("open")) act("panel.open", {});
  });
  onPress("close", () => act("panel.close", {}));
  onPress("clear-cache", () => act("panel.clearCache", {}));
  element("read-form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    if (isAvailable("read")) read();
  });
  document.addEventListener("visibilitychange", keepLooking);
}

/** @param {string} id @param {() => void} action */
function onPress(id, action) {
  element(id, HTMLButtonElement).addEventListener("click", () => isAvailable(id) && action());
}

/**
 * Sends what the user set; until the worker has it, no view undoes it on the page.
 * @param {string} operation
 * @param {Record<string, unknown>} values
 */
async function edit(operation, values) {
  defect = null;
  editsUnderWay += 1;
  try {
    await call(operation, values);
  } catch (error) {
    report(error);
  } finally {
    editsUnderWay -= 1;
    if (view) draw(view);
  }
}

async function read() {
  const started = performance.now();
  const answer = await act("panel.read", {
    offset: element("offset", HTMLInputElement).value,
    length: element("length", HTMLInputElement).value,
  });
  const seconds = (performance.now() - started) / 1000;
  const range = answer?.view.read.range;
  if (answer?.bytes && range) await showReadResult(answer.bytes, range.offset, seconds);
}

/**
 * Sends an event of the user's and draws what came of it; what should not happen is shown too.
 * @param {string} operation
 * @param {Record<string, unknown>} values
 */
async function act(operation, values) {
  defect = null;
  const answer = call(operation, values);
  look(); // at once, so that what has begun is seen
  try {
    return await answer;
  } catch (error) {
    await look();
    if (!view?.error) report(error);
    return null;
  }
}

/**
 * Shows an error that the panel knows nothing of, until the user does something else.
 * @param {unknown} error
 */
function report(error) {
  const name = error instanceof Error ? error.name : "";
  defect = { name, title: view?.texts.unexpectedTitle ?? "", text: messageOf(error) };
  renderFailure(defect);
}

/**
 * Asks the worker and draws the view in its answer. Answers come in the order in which they were made.
 * @param {string} operation
 * @param {Record<string, unknown>} values
 * @returns {Promise<{ view: View, bytes?: Uint8Array<ArrayBuffer> }>}
 */
async function call(operation, values) {
  underWay += 1;
  keepLooking();
  try {
    const answer = await worker.call(operation, values);
    const result = "view" in answer ? answer : { view: answer };
    draw(result.view);
    return result;
  } finally {
    underWay -= 1;
  }
}

/** @param {View} next */
function draw(next) {
  view = next;
  renderPanel({ ...next, error: next.error ?? defect }, { editing: editsUnderWay > 0 });
  if (!next.read.range) clearReadResult();
  keep(next.remembered);
}

async function look() {
  if (!view) return;
  try {
    await call("panel.view", {});
  } catch {
    // The operation that is under way says what is wrong.
  }
}

/** Looks at the panel a few times a second while something is going on and the page is seen. */
function keepLooking() {
  if (poll !== null || document.hidden || !(underWay > 0 || view?.busy)) return;
  poll = setTimeout(async () => {
    await look();
    poll = null;
    keepLooking();
  }, POLL_MS);
}

function readKept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT) ?? "{}");
  } catch {
    return {}; // storage is forbidden here, or something else wrote there
  }
}

/** @param {Record<string, string>} remembered */
function keep(remembered) {
  try {
    const text = JSON.stringify(remembered);
    if (text !== (localStorage.getItem(KEPT) ?? "{}")) localStorage.setItem(KEPT, text);
  } catch {
    // Without storage the page works and remembers nothing.
  }
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
