/**
 * The files of the open disk: partitions, folders, and single files to save.
 */

import { element, make, makeButton, messageOf, onPress, redraw, setText, showFailure } from "./elements.mjs";
import { Files } from "../lib/files.mjs";
import { download } from "./save.mjs";

/**
 * @typedef {import("./page-session.mjs").PageSession} PageSession
 * @typedef {import("./panel.mjs").View} View
 * @typedef {{ name: string, path: string, fileName: string, kind: string, note: string, size: string,
 *   changed: string, opens: boolean, saves: boolean, spoken: string }} Row
 * @typedef {{ path: string, crumbs: { name: string, path: string }[], columns: string[], rows: Row[],
 *   text: string }} Folder
 */

export class FileBrowser {
  #session;
  /** @type {number | null} */
  #disk = null;
  /** @type {AbortController | null} */
  #underWay = null;
  #table = element("file-table", HTMLElement);
  #hint = element("files-hint", HTMLElement);

  /** @param {PageSession} session */
  constructor(session) {
    this.#session = session;
    session.onView((view) => this.#follow(view));
    onPress("browse", () => this.#open("/"));
  }

  /** @param {View} view */
  #follow(view) {
    const disk = view.phase === "open" ? (view.disk?.disk ?? null) : null;
    if (disk === this.#disk) return;
    this.#disk = disk;
    this.#underWay?.abort();
    this.#underWay = null;
    this.#table.hidden = true;
    element("crumbs-nav", HTMLElement).hidden = true;
    setText(this.#hint, view.files.hint);
    showFailure("files-error", null);
  }

  /** @param {string} path */
  async #open(path) {
    if (this.#disk === null) return;
    this.#underWay?.abort();
    const { signal } = (this.#underWay = new AbortController());
    showFailure("files-error", null);
    this.#table.setAttribute("aria-busy", "true");
    try {
      const folder = await this.#session.worker.call("page.files", { disk: this.#disk, path }, signal);
      this.#show(folder);
    } catch (error) {
      if (!signal.aborted) showFailure("files-error", { title: "", text: messageOf(error) });
    } finally {
      if (!signal.aborted) this.#table.removeAttribute("aria-busy");
    }
  }

  /** @param {Folder} folder */
  #show(folder) {
    setText(this.#hint, folder.text);
    const hadFocus = this.#table.contains(document.activeElement);
    const navigation = element("crumbs-nav", HTMLElement);
    navigation.hidden = false;
    redraw(element("crumbs", HTMLElement), folder.crumbs, () =>
      folder.crumbs.map(({ name, path }, index) => {
        const isHere = index === folder.crumbs.length - 1;
        const button = makeButton(name, () => this.#open(path), { class: "link" });
        if (isHere) button.setAttribute("aria-current", "page");
        return make("li", {}, button);
      }),
    );
    this.#table.hidden = folder.rows.length === 0;
    redraw(this.#table, folder, () => [this.#build(folder)]);
    this.#table.scrollTop = 0;
    // The pressed folder is gone from the list: focus its first entry.
    if (hadFocus) (this.#table.querySelector("button") ?? navigation.querySelector("button"))?.focus();
  }

  /** @param {Folder} folder */
  #build({ columns, rows }) {
    const head = make("tr");
    columns.forEach((column, index) => {
      head.append(make("th", index ? { scope: "col", class: "number" } : { scope: "col" }, column));
    });
    const body = make("tbody");
    for (const row of rows) {
      body.append(
        make(
          "tr",
          { "data-kind": row.kind },
          make("td", {}, this.#nameOf(row), " ", make("span", { class: "note wraps" }, row.note)),
          make("td", { class: "number" }, row.size),
          make("td", { class: "number" }, row.changed),
        ),
      );
    }
    return make("table", {}, make("thead", {}, head), body);
  }

  /** @param {Row} row */
  #nameOf(row) {
    if (row.opens) return makeButton(row.name, () => this.#open(row.path), { class: "link" });
    if (!row.saves) return make("span", {}, row.name);
    return makeButton(row.name, () => this.#save(row), { class: "link file", "aria-label": row.spoken });
  }

  /** @param {Row} row */
  async #save({ path, name, fileName }) {
    const disk = this.#disk;
    if (disk === null) return;
    this.#underWay?.abort();
    const { signal } = (this.#underWay = new AbortController());
    showFailure("files-error", null);
    const text = this.#hint.textContent ?? "";
    const template = this.#session.view?.texts.saving ?? "";
    /** @param {string} operation @param {Record<string, unknown>} values */
    const ask = (operation, values) => this.#session.worker.call(operation, { ...values, disk }, signal);
    try {
      const content = await new Files({ ask }).blob(path, {
        signal,
        onProgress: (done, size) => {
          const percent = String(Math.floor((done / size) * 100));
          setText(this.#hint, template.replace("{name}", name).replace("{percent}", percent));
        },
      });
      if (!signal.aborted) download(content, fileName);
    } catch (error) {
      if (!signal.aborted) showFailure("files-error", { title: name, text: messageOf(error) });
    } finally {
      setText(this.#hint, text);
    }
  }
}
