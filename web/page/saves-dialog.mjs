/**
 * "Save to…": pushes the open overlay to a server, and shows the saves there. Address and secrets are kept in memory
 * until the page is left; no request is made before a button is pressed.
 */

import { saves, serverOf } from "../lib/saves.mjs";
import { ask } from "./ask.mjs";
import { element, make, makeButton, messageOf, setText } from "./elements.mjs";
import { listOfSaves } from "./saves-list.mjs";
import { filled, momentOf, sizeOf } from "./saves-texts.mjs";

/** @typedef {import("./page-session.mjs").PageSession} PageSession */
/** @typedef {import("./saves-texts.mjs").Texts} Texts */
/** @typedef {import("../lib/saves.mjs").SavesOptions} SavesOptions */

export class SavesDialog {
  #session;
  #texts;
  #refresh;
  /** The push or download under way. @type {AbortController | null} */
  #abort = null;
  /** Where the disk is pushed to, as text. */
  #attached = "";
  #disk = -1;
  /** Whether something was begun with this disk. */
  #hasWorked = false;
  #parts;

  /** @param {PageSession} session @param {Texts} texts @param {() => unknown} refresh */
  constructor(session, texts, refresh) {
    this.#session = session;
    this.#texts = texts;
    this.#refresh = refresh;
    this.#parts = this.#build();
  }

  show() {
    const { saves: view, disk } = /** @type {import("./panel.mjs").View} */ (this.#session.view);
    const { intro, name, list, conflict, box, status } = this.#parts;
    setText(intro, filled(this.#texts.intro, { overlay: view.overlay }));
    if (disk && disk.disk !== this.#disk) {
      this.#disk = disk.disk;
      this.#hasWorked = false;
      name.value = view.overlay;
      list.replaceChildren();
      conflict.replaceChildren();
      setText(status, "");
      this.#showSent(disk.disk).catch((error) => this.#session.report(error));
    }
    box.showModal();
  }

  /** Says where the overlay was sent to at an earlier visit, unless there is news by then. @param {number} disk */
  async #showSent(disk) {
    const { sent } = await this.#session.worker.call("saves.here", {});
    if (this.#disk !== disk || this.#hasWorked) return;
    const text = sent ? filled(this.#texts.before, { save: sent.save, server: hostOf(sent.server) }) : this.#texts.never;
    setText(this.#parts.status, text);
  }

  #build() {
    const texts = this.#texts;
    const box = element("saves", HTMLDialogElement);
    const field = (/** @type {string} */ id, /** @type {string} */ label, hint = "", type = "text") => {
      const input = make("input", { id, type, autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
      if (hint) input.setAttribute("aria-describedby", `${id}-hint`);
      /** @type {HTMLElement[]} */
      const parts = [make("label", { for: id }, label), input];
      if (hint) parts.push(make("p", { class: "hint", id: `${id}-hint` }, hint));
      form.append(make("div", { class: "field" }, ...parts));
      return input;
    };
    const form = make("form", { novalidate: "" });
    const intro = make("p", { class: "hint" });
    form.append(make("h2", { id: "saves-heading" }, texts.heading), intro);
    const address = field("saves-address", texts.address, texts.addressHint);
    const token = field("saves-token", texts.token, texts.tokenHint, "password");
    const passphrase = field("saves-passphrase", texts.passphrase, texts.passphraseHint, "password");
    const name = field("saves-name", texts.name);
    const pushButton = make("button", { type: "submit", class: "primary" }, texts.push);
    const listButton = makeButton(texts.list, () => this.#work((reporting) => this.#list(reporting)));
    const close = makeButton(texts.done, () => box.close(), { class: "quiet" });
    form.append(make("div", { class: "actions" }, pushButton, listButton, close));
    const progress = make("progress", { "aria-labelledby": "saves-status" });
    const status = make("p", { role: "status", id: "saves-status", class: "hint" });
    const cancel = makeButton(texts.cancel, () => this.#abort?.abort(), { class: "quiet" });
    const running = make("div", { class: "actions", hidden: "" }, progress, cancel);
    const error = make("div", { role: "alert", class: "error" });
    const conflict = make("div", { role: "alert", class: "conflict" });
    const list = make("div", { class: "saves-there" });
    box.replaceChildren(form, status, running, error, conflict, list);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#work((reporting) => this.#push(reporting, name.value.trim()));
    });
    const buttons = [pushButton, listButton];
    return { box, intro, address, token, passphrase, name, progress, status, running, error, conflict, list, buttons };
  }

  /** What the fields say. @returns {SavesOptions} */
  get #server() {
    const { address, token, passphrase } = this.#parts;
    return {
      url: address.value.trim(),
      allowRemote: true, // the press of a button is the consent
      headers: token.value ? { Authorization: `Bearer ${token.value.trim()}` } : undefined,
      passphrase: passphrase.value || undefined,
    };
  }

  /** The same as the worker takes it, within other values: without what is undefined. */
  get #given() {
    return Object.fromEntries(Object.entries(serverOf(this.#server)).filter(([, value]) => value !== undefined));
  }

  /**
   * Shows the progress of `work` and how it ended; one at a time.
   * @param {(reporting: import("./transfers.mjs").Reporting) => Promise<void>} work
   * @param {string} [text] with `{done}` and `{size}`
   */
  async #work(work, text = "") {
    if (this.#abort) return;
    const { progress, status, running, error, conflict, buttons } = this.#parts;
    const { signal } = (this.#abort = new AbortController());
    this.#hasWorked = true;
    error.replaceChildren();
    conflict.replaceChildren();
    running.hidden = false;
    for (const button of buttons) button.disabled = true;
    progress.removeAttribute("value");
    const onProgress = (/** @type {number} */ done, /** @type {number | null | undefined} */ total) => {
      if (!total) return;
      progress.max = total;
      progress.value = done;
      if (text) setText(status, filled(text, { done: sizeOf(done), size: sizeOf(total) }));
    };
    this.#session.losses.note(this, true);
    try {
      await work({ onProgress, signal });
    } catch (failure) {
      if (signal.aborted) setText(status, this.#texts.cancelled);
      else if (failure instanceof Error && failure.name === "SaveConflictError") this.#showConflict(failure);
      else error.replaceChildren(make("p", {}, messageOf(failure)));
    } finally {
      this.#abort = null;
      running.hidden = true;
      for (const button of buttons) button.disabled = false;
      this.#session.losses.note(this, false);
    }
  }

  /** @param {import("./transfers.mjs").Reporting} reporting @param {string} name */
  async #push({ onProgress, signal }, name) {
    const disk = this.#session.view?.disk?.disk;
    const { worker } = this.#session;
    const server = this.#given;
    const to = JSON.stringify([disk, name, server]);
    if (to !== this.#attached) {
      this.#attached = "";
      await worker.call("saves.attach", { ...server, disk, name: name || undefined });
      this.#attached = to;
    }
    const shown = (/** @type {number} */ done, /** @type {number | null | undefined} */ total) => {
      onProgress(done, total);
      if (total) setText(this.#parts.status, filled(this.#texts.pushing, { done: sizeOf(done), size: sizeOf(total) }));
    };
    const pushed = await worker.call("saves.push", { disk, onProgress: shown }, signal);
    const { generation, chunkBytes, manifestBytes, unchanged } = pushed;
    const text = unchanged ? this.#texts.unchanged : this.#texts.pushed;
    const time = momentOf(new Date().toISOString());
    const save = name || (this.#session.view?.saves.overlay ?? "");
    setText(this.#parts.status, filled(text, { time, generation, save, sent: sizeOf(chunkBytes + manifestBytes) }));
  }

  /** @param {import("./transfers.mjs").Reporting} reporting */
  async #list({ signal }) {
    const texts = this.#texts;
    const { list } = this.#parts;
    list.replaceChildren(make("p", { class: "hint" }, texts.listing));
    const there = saves(this.#server);
    const here = this.#session.worker.call("saves.here", {});
    const found = await there.list({ signal }).finally(() => list.replaceChildren());
    const { baseVersion } = await here;
    const heading = found.length ? filled(texts.listed, { server: hostOf(String(this.#server.url)) }) : texts.none;
    const actions = {
      take: (/** @type {string} */ save, /** @type {number | undefined} */ generation) => this.#take(save, generation),
      look: (/** @type {string} */ save, /** @type {number | undefined} */ generation) => this.#look(save, generation),
      generations: (/** @type {string} */ save) => there.generations(save),
    };
    list.replaceChildren(make("h3", { id: "saves-there" }, heading), listOfSaves(found, baseVersion, texts, actions));
  }

  /** @param {any} failure a `SaveConflictError` */
  #showConflict(failure) {
    const texts = this.#texts;
    const { name } = failure;
    const save = String(failure.save ?? name);
    const when = (/** @type {string} */ time) => (time ? momentOf(time) : texts.noTime);
    const text = filled(texts.conflict, {
      theirsGeneration: failure.theirsGeneration,
      theirsTime: when(failure.theirsTime),
      theirsDevice: failure.theirsDevice,
      mineGeneration: failure.mineGeneration,
      mineTime: when(failure.mineTime),
      mineDevice: failure.mineDevice,
    });
    const actions = make(
      "div",
      { class: "actions" },
      makeButton(texts.keepMine, () => this.#keepMine()),
      makeButton(texts.takeTheirs, () => this.#take(save)),
      makeButton(texts.lookTheirs, () => this.#look(save)),
    );
    setText(this.#parts.status, "");
    this.#parts.conflict.replaceChildren(make("strong", {}, texts.conflictTitle), make("p", {}, text), actions);
  }

  async #keepMine() {
    const { keepTitle: title, keepText, keepYes: yes, name: label } = this.#texts;
    const { name } = this.#parts;
    const save = name.value.trim();
    const field = { name: "save", label, hint: "", value: `${save} 2`, choices: [] };
    const question = { title, text: filled(keepText, { save }), yes, danger: false, fields: [field] };
    const chosen = await ask(question, async (values) => values.save?.trim() || null);
    if (!chosen) return;
    name.value = chosen;
    await this.#work((reporting) => this.#push(reporting, chosen));
  }

  /** Downloads a save into a new overlay and opens that. @param {string} save @param {number} [generation] */
  async #take(save, generation) {
    const { takeTitle, takeText, takeYes: yes, overlayName: label, taking } = this.#texts;
    const { overlay, image } = this.#session.view?.saves ?? { overlay: "", image: "" };
    const field = { name: "overlay", label, hint: "", value: `${overlay} 2`, choices: [] };
    const title = filled(takeTitle, { save: this.#nameOf(save) });
    const question = { title, text: filled(takeText, { overlay }), yes, danger: false, fields: [field] };
    const chosen = await ask(question, async (values) => values.overlay?.trim() || null);
    if (!chosen) return;
    await this.#work(async ({ onProgress, signal }) => {
      const { worker } = this.#session;
      await worker.call("saves.take", { save, overlay: chosen, saves: this.#given, generation, onProgress }, signal);
      this.#refresh();
      if (!(await this.#session.close())) return;
      this.#parts.box.close();
      if (image) await this.#session.act("panel.openLocal", { image, overlay: chosen });
      else await this.#session.act("panel.open", { overlay: chosen });
    }, taking);
  }

  /** Opens a save over the same image, to be read only. @param {string} save @param {number} [generation] */
  async #look(save, generation) {
    const { lookTitle, lookText, lookYes: yes } = this.#texts;
    const overlay = this.#session.view?.saves.overlay ?? "";
    const title = filled(lookTitle, { save: this.#nameOf(save) });
    const question = { title, text: filled(lookText, { overlay }), yes, danger: false, fields: [] };
    if (!(await ask(question, async () => true))) return;
    if ((await this.#session.beforeClosing?.()) === false) return;
    await this.#work(async () => {
      const name = this.#nameOf(save);
      await this.#session.call("saves.look", { save, saves: this.#given, generation, name });
      this.#parts.box.close();
    });
  }

  /** The name of a save that may be named by its id. @param {string} save */
  #nameOf(save) {
    return /^[0-9a-f]{32}$/.test(save) ? this.#parts.name.value.trim() : save;
  }
}

/** @param {string} url */
function hostOf(url) {
  return new URL(url, location.href).host;
}
