/**
 * The demo page: sends the user's actions to the worker and draws the views that it returns.
 */

import { wireBoot } from "./boot-part.mjs";
import { wireDosbox } from "./dosbox-part.mjs";
import { element, isAvailable, messageOf, onPress, setText } from "./elements.mjs";
import { FileBrowser } from "./file-browser.mjs";
import { wireFileCommit } from "./file-commit.mjs";
import { FileInPlace } from "./file-in-place.mjs";
import { wireDoctor } from "./findings.mjs";
import { wireKeeping } from "./keeping.mjs";
import { LibraryList } from "./library-list.mjs";
import { wireLinks } from "./links.mjs";
import { DiskMap } from "./map.mjs";
import { installSiteWorker } from "../lib/offline.mjs";
import { PageSession } from "./page-session.mjs";
import { renderFailure, renderPanel, renderStarting } from "./panel.mjs";
import { clearReadResult, showReadResult } from "./read-result.mjs";
import { wireSamples } from "./samples.mjs";
import { wireSaves } from "./saves-part.mjs";
import { wireSaving } from "./saving.mjs";
import { wireSettings } from "./settings.mjs";
import { StartBar } from "./start-bar.mjs";
import { wireTabs } from "./tabs.mjs";
import { Transfers } from "./transfers.mjs";

/** @typedef {import("./panel.mjs").View} View */

const KEPT = "aero-browser-disk.panel";

const url = element("url", HTMLInputElement);
const remote = element("remote", HTMLInputElement);
const startBar = new StartBar();
const session = new PageSession((loaded, total) => startBar.show(loaded, total));

/** @type {View} */
const first = await (await fetch("panel-first-view.json")).json();
// Only after Python has started, so that nothing is fetched twice.
const started = start();
installSiteWorker(started);
await started;
sayWhatLacks();

async function start() {
  renderStarting(first);
  startBar.name(first.texts.downloading ?? "");
  session.onView(draw);
  wireTabs(session); // first: what is hidden has no size to draw in
  new DiskMap(session);
  new FileBrowser(session);
  const transfers = new Transfers(session.losses);
  const libraryList = new LibraryList(session, transfers);
  wireFileCommit(session, new FileInPlace(session), libraryList);
  wireBoot(session);
  wireDosbox(session);
  wireDoctor(session, transfers);
  wireSettings(session);
  wireSamples(session);
  wireSaving(session);
  wireSaves(session, () => libraryList.refresh());
  wireLinks(session);
  wireKeeping(session);
  listen();
  const asked = new URLSearchParams(location.search);
  const prefilled = asked.get("image");
  if (prefilled && !url.value) url.value = prefilled;
  try {
    await session.call("panel.restore", { remembered: readKept() }).finally(() => startBar.end());
  } catch (error) {
    const { startFailedTitle = "", startFailed = "" } = first.texts;
    const status = { text: startFailedTitle, tone: "bad" };
    renderPanel({ ...first, remote: { ...first.remote, disabled: true }, status }, { editing: true });
    renderFailure({ title: startFailedTitle, text: `${startFailed} (${messageOf(error)})` });
    return;
  }
  libraryList.refresh();
  // Typed, or taken from this page's URL, while Python was starting.
  if (url.value) await session.edit("panel.setUrl", { url: url.value });
  const catalog = asked.get("catalog");
  if (catalog) await session.act("panel.setCatalog", { url: catalog });
  session.ready();
  if (prefilled && asked.has("boot") && url.value === prefilled) {
    await session.invite?.(prefilled, asked.get("overlay") ?? "");
  }
  // Remove a secret from this page's URL, so that it is not copied or reloaded.
  if (prefilled && session.view?.url.secret) history.replaceState(null, "", location.pathname);
}

/** Shows what this browser, or the server of this page, does not support, and what is used instead. */
function sayWhatLacks() {
  const lacking = [];
  if (!crossOriginIsolated) lacking.push("isolation");
  if (!("showSaveFilePicker" in globalThis)) lacking.push("save");
  setText(element("lacks", HTMLElement), lacking.map((what) => first.texts.lacks[what]).join(" "));
}

function listen() {
  remote.addEventListener("change", switchRemote);
  url.addEventListener("input", () => session.view && session.edit("panel.setUrl", { url: url.value }));
  element("open-form", HTMLFormElement).addEventListener("submit", async (event) => {
    event.preventDefault();
    await session.settled(); // turning remote images off, or a new URL, may be on its way
    if (isAvailable(element("open", HTMLButtonElement))) session.act("panel.open", { overlay: element("overlay", HTMLInputElement).value.trim() });
  });
  onPress("close", () => session.close());
  onPress("clear-cache", () => session.act("panel.clearCache"));
  onPress("keep-all", () => session.act("panel.keepAll", { on: !session.view?.keepAll.on }));
  element("read-form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    if (isAvailable(element("read", HTMLButtonElement))) read();
  });
}

/** Turning remote images off closes a remote image. */
async function switchRemote() {
  const enabled = remote.checked;
  const ask = !enabled && session.view?.remote.closes ? session.beforeClosing : null;
  // Without a question it is on its way at once: see `settled`.
  if (ask && !(await ask())) return session.redraw();
  await session.edit("panel.setRemote", { enabled });
}

async function read() {
  const started = performance.now();
  const response = await session.act("panel.read", {
    offset: element("offset", HTMLInputElement).value,
    length: element("length", HTMLInputElement).value,
  });
  const seconds = (performance.now() - started) / 1000;
  const range = response?.view.read.range;
  if (response?.bytes && range) await showReadResult(response.bytes, range.offset, seconds);
}

/** @param {View} view @param {{ editing: boolean }} state */
function draw(view, state) {
  renderPanel(view, state);
  if (!view.read.range) clearReadResult();
  keep(view.remembered);
}

function readKept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT) ?? "{}");
  } catch {
    return {}; // no access to storage, or something else wrote there
  }
}

/** @param {Record<string, unknown>} remembered */
function keep(remembered) {
  try {
    const text = JSON.stringify(remembered);
    if (text !== (localStorage.getItem(KEPT) ?? "{}")) localStorage.setItem(KEPT, text);
  } catch {
    // Without storage the page works but remembers nothing.
  }
}
