/**
 * The demo page: what the user does goes to the worker, and the view that comes back is drawn.
 */

import { wireBoot } from "./boot-part.mjs";
import { element, isAvailable, messageOf, onPress, setText } from "./elements.mjs";
import { FileBrowser } from "./file-browser.mjs";
import { wireDoctor } from "./findings.mjs";
import { LibraryList } from "./library-list.mjs";
import { DiskMap } from "./map.mjs";
import { installSiteWorker } from "../lib/offline.mjs";
import { PageSession } from "./page-session.mjs";
import { renderFailure, renderPanel, renderStarting } from "./panel.mjs";
import { clearReadResult, showReadResult } from "./read-result.mjs";
import { wireSamples } from "./samples.mjs";
import { wireSaving } from "./saving.mjs";
import { wireSettings } from "./settings.mjs";

/** @typedef {import("./panel.mjs").View} View */

const KEPT = "aero-browser-disk.panel";

const url = element("url", HTMLInputElement);
const remote = element("remote", HTMLInputElement);
const session = new PageSession();

/** @type {View} */
const first = await (await fetch("panel-first-view.json")).json();
// Not before Python is there, so that nothing is fetched twice at the same time.
const started = start();
installSiteWorker(started);
await started;
sayWhatLacks();

async function start() {
  renderStarting(first);
  session.onView(draw);
  new DiskMap(session);
  new FileBrowser(session);
  const libraryList = new LibraryList(session);
  wireBoot(session);
  wireDoctor(session);
  wireSettings(session);
  wireSamples(session);
  wireSaving(session);
  listen();
  const asked = new URLSearchParams(location.search);
  const prefilled = asked.get("image");
  if (prefilled && !url.value) url.value = prefilled;
  try {
    await session.call("panel.restore", { remembered: readKept() });
  } catch (error) {
    const { startFailedTitle = "", startFailed = "" } = first.texts;
    const status = { text: startFailedTitle, tone: "bad" };
    renderPanel({ ...first, remote: { ...first.remote, disabled: true }, status }, { editing: true });
    renderFailure({ title: startFailedTitle, text: `${startFailed} (${messageOf(error)})` });
    return;
  }
  libraryList.refresh();
  // Typed, or come with this page's address, while Python was starting.
  if (url.value) await session.edit("panel.setUrl", { url: url.value });
  const catalog = asked.get("catalog");
  if (catalog) await session.act("panel.setCatalog", { url: catalog });
  session.ready();
  // A secret in this page's own address is not left there to be copied or reloaded.
  if (prefilled && session.view?.url.secret) history.replaceState(null, "", location.pathname);
}

/** What this browser, or the server of this page, does not offer, and what is done instead. */
function sayWhatLacks() {
  const lacking = [];
  if (!crossOriginIsolated) lacking.push("isolation");
  if (!("showSaveFilePicker" in globalThis)) lacking.push("save");
  setText(element("lacks", HTMLElement), lacking.map((what) => first.texts.lacks[what]).join(" "));
}

function listen() {
  remote.addEventListener("change", () => session.edit("panel.setRemote", { enabled: remote.checked }));
  url.addEventListener("input", () => session.view && session.edit("panel.setUrl", { url: url.value }));
  element("open-form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    if (isAvailable(element("open", HTMLButtonElement))) session.act("panel.open", { overlay: element("overlay", HTMLInputElement).value.trim() });
  });
  onPress("close", () => session.act("panel.close"));
  onPress("clear-cache", () => session.act("panel.clearCache"));
  onPress("keep-all", () => session.act("panel.keepAll", { on: !session.view?.keepAll.on }));
  element("read-form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    if (isAvailable(element("read", HTMLButtonElement))) read();
  });
}

async function read() {
  const started = performance.now();
  const answer = await session.act("panel.read", {
    offset: element("offset", HTMLInputElement).value,
    length: element("length", HTMLInputElement).value,
  });
  const seconds = (performance.now() - started) / 1000;
  const range = answer?.view.read.range;
  if (answer?.bytes && range) await showReadResult(answer.bytes, range.offset, seconds);
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
    return {}; // storage is forbidden here, or something else wrote there
  }
}

/** @param {Record<string, unknown>} remembered */
function keep(remembered) {
  try {
    const text = JSON.stringify(remembered);
    if (text !== (localStorage.getItem(KEPT) ?? "{}")) localStorage.setItem(KEPT, text);
  } catch {
    // Without storage the page works and remembers nothing.
  }
}
