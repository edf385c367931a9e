/**
 * The library: the disks in this browser, as a list with actions. Questions and texts come from Python.
 */

import { ask } from "./ask.mjs";
import { element, failureOf, make, makeButton, matchChildren, onPress, redraw, setAvailable, setText, showFailure } from "./elements.mjs";
import { library } from "../lib/library.mjs";
import { SavedMachines } from "./saved-machines.mjs";

/**
 * @typedef {import("./ask.mjs").Question} Question
 * @typedef {import("./page-session.mjs").PageSession} PageSession
 * @typedef {{ name: string, label: string, spoken: string, disabled: boolean, ask: Question | null | undefined }} Action
 * @typedef {{ id: string, kind: string, base: string, name: string, facts: string, actions: Action[],
 *   used: { value: number, max: number, text: string }, overlays: Row[] }} Row
 * @typedef {{ flag: string, ask: Question }} Consent
 * @typedef {{ rows: Row[], overlays: string[], usage: string, create: Question, progress: Record<string, string>,
 *   recovered: Record<string, string>, commitCut: Record<string, string>, saved: Record<string, string>, removeMachine: Question, consents: Record<string, Consent>, error: { title: string, text: string } | null | undefined }} Library
 */

const GROWTH_MS = 2000;

export class LibraryList {
  #session;
  #transfers;
  /** Files that wait for the import before them. @type {File[]} */
  #waiting = [];
  /** The last import. @type {Promise<unknown>} */
  #importing = Promise.resolve();
  #machines = new SavedMachines();
  /** @type {Library | null} */
  #library = null;
  #list = element("library-list", HTMLElement);
  #wasOpen = false;
  #isStale = false;
  /** @type {Promise<void> | undefined} */
  #refreshing;
  #cached = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #growing;

  /** @param {PageSession} session @param {import("./transfers.mjs").Transfers} transfers */
  constructor(session, transfers) {
    this.#session = session;
    this.#transfers = transfers;
    onPress("library-create", () => this.#create());
    onPress("library-import", () => this.#choose((file) => this.#import(file)));
    onPress("library-prune", () => this.#prune());
    this.#listenForDrops();
    session.onView((view) => {
      const isOpen = view.phase === "open";
      if (isOpen !== this.#wasOpen && this.#library) this.refresh();
      else if (view.cache.value !== this.#cached) this.#refreshLater();
      this.#wasOpen = isOpen;
      this.#cached = view.cache.value;
    });
    library.addEventListener("change", () => this.refresh()); // a change in another tab
  }

  /** Reloads the list; one reload at a time, and another one if something changed meanwhile. */
  refresh() {
    this.#isStale = true;
    this.#refreshing ??= this.#look().finally(() => (this.#refreshing = undefined));
    return this.#refreshing;
  }

  async #look() {
    while (this.#isStale) {
      this.#isStale = false;
      try {
        const view = await this.#call("page.library");
        await this.#machines.look();
        this.#show(view);
      } catch (error) {
        this.#fail(error);
      }
    }
  }

  /** The cache of an open disk grows as it is read; its row is updated now and then. */
  #refreshLater() {
    if (!this.#library || this.#growing !== undefined) return;
    this.#growing = setTimeout(async () => {
      await this.refresh();
      this.#growing = undefined;
    }, GROWTH_MS);
  }

  /** @param {Library} library */
  #show(library) {
    this.#library = library;
    this.#transfers.nameRate(library.progress.rate ?? "");
    const works = !library.error;
    setText(element("library-usage", HTMLElement), library.usage);
    const alone = this.#machines.without(library.rows.flatMap((row) => [row, ...row.overlays]));
    element("library-empty", HTMLElement).hidden = library.rows.length + alone.length > 0;
    for (const id of ["library-create", "library-import", "library-prune"]) {
      setAvailable(element(id, HTMLButtonElement), works);
    }
    const prune = element("library-prune", HTMLButtonElement);
    const isFocused = prune === document.activeElement;
    prune.hidden = !library.rows.some(({ kind }) => kind === "cache");
    if (isFocused && prune.hidden) element("library-import", HTMLButtonElement).focus();
    if (library.error) showFailure("library-error", library.error);
    const focused = focusKey(document.activeElement);
    matchChildren(this.#list, library.rows.length + alone.length, () => make("li"));
    for (const [index, row] of library.rows.entries()) {
      const item = /** @type {HTMLElement} */ (this.#list.children[index]);
      item.dataset.kind = row.kind;
      redraw(item, [row, this.#machines.times([row, ...row.overlays])], () => this.#build(row)); // only changed rows: a press may be under way
    }
    for (const [index, state] of alone.entries()) {
      const item = /** @type {HTMLElement} */ (this.#list.children[library.rows.length + index]);
      item.dataset.kind = "machine";
      redraw(item, state, () => this.#buildMachine(state));
    }
    if (focused && focusKey(document.activeElement) !== focused) {
      const again = [...this.#list.querySelectorAll("button")].find((button) => focusKey(button) === focused);
      (again ?? element("library-import", HTMLButtonElement)).focus();
    }
    redraw(element("overlay-names", HTMLElement), library.overlays, () =>
      library.overlays.map((name) => make("option", { value: name })),
    );
  }

  /** @param {Row} row @returns {HTMLElement[]} */
  #build(row) {
    const { value, max, text } = row.used;
    const meter = make("meter", { min: "0", max: String(max), value: String(value), "aria-label": `${row.name}: ${text}` });
    const actions = make("div", { class: "row-actions" });
    for (const action of row.actions) {
      const button = makeButton(action.label, () => this.#act(row, action), {
        class: "link",
        "aria-label": action.spoken,
        "data-action": `${action.name} ${row.id}`,
      });
      setAvailable(button, !action.disabled);
      actions.append(button);
    }
    const isUsable = row.actions.some(({ disabled }) => !disabled);
    const saved = isUsable ? this.#machines.build(row, this.#library?.saved ?? {}, () => this.#resume(row)) : [];
    const parts = [
      make("p", { class: "title" }, make("span", { class: "name" }, row.name), make("span", { class: "note" }, text)),
      make("p", { class: "hint" }, row.facts),
      meter,
      ...saved,
      actions,
    ];
    if (!row.overlays.length) return parts;
    const overlays = row.overlays.map((overlay) => make("li", { "data-kind": overlay.kind }, ...this.#build(overlay)));
    return [...parts, make("ul", { class: "overlays" }, ...overlays)];
  }

  /** A saved machine whose disk is not in the list. @param {import("../adapters/machine-states.mjs").StateHeader} state */
  #buildMachine(state) {
    const resume = async () => {
      if (await this.#session.close()) await this.#session.invite?.(state.address ?? "", "");
    };
    const remove = async () => {
      const { removeMachine } = this.#library ?? {};
      if (removeMachine) await ask(removeMachine, () => this.#machines.remove(state));
      await this.refresh();
    };
    return this.#machines.buildAlone(state, this.#library?.saved ?? {}, { resume, remove });
  }

  // ── actions ────────────────────────────────────────────────────────────────────────────────────

  /** @param {Row} row @param {Action} action */
  async #act(row, action) {
    showFailure("library-error", null);
    /** @param {Record<string, string>} values */
    const perform = (values) => this.#perform(row, action.name, values);
    if (action.ask) await ask(action.ask, perform);
    else await perform({}).catch((error) => this.#fail(error));
    await this.refresh();
  }

  /**
   * @param {Row} row
   * @param {string} name
   * @param {Record<string, string>} values
   * @returns {Promise<unknown>}
   */
  async #perform(row, name, values) {
    const session = this.#session;
    const { id, base } = row;
    /** @type {Record<string, () => Promise<unknown>>} */
    const actions = {
      open: () => this.#open(row.name),
      openOverlay: () => this.#open(base, row.name),
      overlay: () => this.#open(row.name, values.name),
      use: () => this.#use(row.name, ""),
      useOverlay: () => this.#use(base, row.name),
      export: async () => this.#later(this.#export(row.name, [], values.compress)),
      exportOverlay: async () => this.#later(this.#export(base, [row.name], values.compress)),
      exportChanges: async () => this.#later(this.#exportChanges(row)),
      importChanges: async () => this.#choose((file) => this.#importChanges(row, file)),
      rename: () => library.rename(id, values.name ?? ""),
      duplicate: async () => this.#later(this.#duplicate(row, values.name ?? "")),
      recover: async () => this.#later(this.#recover(row, values.name ?? "")),
      resize: async () => {
        const size = await this.#bytes(values.size);
        return this.#consented((consent) => library.resize(id, size, consent));
      },
      commit: async () => this.#later(this.#commit(row)),
      reset: () => library.resetOverlay(id).then(() => this.#machines.forget([row, ...row.overlays])),
      // The user was warned about what is lost, and confirmed.
      remove: () => library.remove(id, { dropOverlays: true }).then(() => this.#machines.forget([row, ...row.overlays])),
      forget: () => library.remove(id),
      continue: async () => this.#choose((file) => this.#import(file)),
    };
    return actions[name]?.();
  }

  /** Opens a local disk in place of what is open. @param {string} image @param {string} [overlay] */
  async #open(image, overlay = "") {
    if (await this.#session.close()) await this.#session.act("panel.openLocal", { image, overlay });
  }

  /** Opens the disk of a saved machine and resumes it. @param {Row} row */
  async #resume(row) {
    const ways = new Set(row.actions.map(({ name }) => name));
    if (ways.has("open")) await this.#open(row.name);
    else if (ways.has("openOverlay")) await this.#open(row.base, row.name);
    else if (await this.#session.close()) {
      const [url, overlay] = ways.has("use") ? [row.name, ""] : [row.base, row.name];
      return this.#session.invite?.(url, overlay);
    }
    if (this.#session.view?.phase === "open") await this.#session.boot?.("resume");
  }

  async #create() {
    if (!this.#library) return;
    await ask(this.#library.create, async ({ name = "", size }) => library.create(name, { size: await this.#bytes(size) }));
    await this.refresh();
  }

  async #prune() {
    showFailure("library-error", null);
    try {
      const { ask: question, text } = await this.#call("page.prune", { dryRun: true });
      if (question) await ask(question, () => this.#call("page.prune", { dryRun: false }));
      else setText(element("library-usage", HTMLElement), text);
      if (question) await this.refresh();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** @param {string} url @param {string} overlay */
  async #use(url, overlay) {
    if (!(await this.#session.close())) return;
    element("overlay", HTMLInputElement).value = overlay;
    await this.#session.act("panel.setUrl", { url });
    element("url", HTMLInputElement).focus();
  }

  // ── transfers ──────────────────────────────────────────────────────────────────────────────────

  /** @param {(file: File) => unknown} take */
  #choose(take) {
    const input = element("library-file", HTMLInputElement);
    input.value = "";
    input.onchange = () => {
      const file = input.files?.[0];
      if (file) take(file);
    };
    input.click();
  }

  /** Takes files anywhere on the page: otherwise the browser opens them in place of it. */
  #listenForDrops() {
    const area = element("library", HTMLElement);
    const over = (/** @type {boolean} */ is) => (area.dataset.drop = String(is));
    document.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return; // text, for a field
      event.preventDefault();
      over(true);
    });
    document.addEventListener("dragleave", (event) => event.relatedTarget ?? over(false));
    document.addEventListener("drop", async (event) => {
      over(false);
      const files = [...(event.dataTransfer?.files ?? [])];
      if (!files.length) return;
      event.preventDefault();
      area.scrollIntoView({ block: "nearest" });
      if (!this.#library) await this.refresh(); // dropped while Python starts
      if (this.#library && !this.#library.error) for (const file of files) this.#import(file);
    });
    over(false);
  }

  /** Imports a file after those before it. @param {File} file */
  async #import(file) {
    showFailure("library-error", null);
    this.#waiting.push(file);
    this.#noteWaiting();
    const mine = this.#importing.then(() => this.#importNow(file));
    this.#importing = mine.catch(() => {}); // it is reported, and the next one does not depend on it
    await this.#later(mine);
  }

  /** @param {File} file */
  #importNow(file) {
    this.#waiting.shift();
    this.#noteWaiting();
    return this.#transfers.run(this.#progress("import", file.name), (reporting) =>
      this.#consented((consent) => library.import(file, { keep: true, media: "ask", ...reporting, ...consent })),
    );
  }

  #noteWaiting() {
    const names = this.#waiting.map(({ name }) => name).join(", ");
    this.#transfers.note(names && this.#progress("waiting", names));
  }

  /** @param {Row} row @param {string} to */
  #duplicate(row, to) {
    return this.#transfers.run(this.#progress("duplicate", row.name), (reporting) =>
      library.duplicate(row.id, to, reporting),
    );
  }

  /** @param {Row} row @param {string} to */
  async #recover(row, to) {
    const saved = await this.#transfers.run(this.#progress("recover", row.name), (reporting) =>
      library.recover(row.id, to, reporting),
    );
    const texts = this.#library?.recovered;
    if (!saved || !texts || (!saved.lost.length && saved.isLatest)) return;
    const { lost, isLatest } = saved;
    const bytes = lost.reduce((sum, [, length]) => sum + length, 0);
    const numbers = texts.lost?.replace("{bytes}", String(bytes)).replace("{ranges}", String(lost.length));
    const text = [lost.length ? numbers : "", isLatest ? "" : texts.earlier].filter(Boolean).join(" ");
    showFailure("library-error", { title: texts.title ?? "", text });
  }

  /**
   * Shows the progress of `work`, and asks for the consent that it needs. Returns null if the user cancels.
   * @param {string} kind of the text of its progress
   * @param {string} name
   * @param {(options: any) => Promise<any>} work
   * @returns {Promise<any>}
   */
  transfer(kind, name, work) {
    return this.#transfers.run(this.#progress(kind, name), (reporting) =>
      this.#consented((consent) => work({ ...reporting, ...consent })),
    );
  }

  /** Deletes the saved machine of a disk that has changed. @param {string} id */
  forgetMachine(id) {
    return this.#machines.forget([{ id, name: "" }]);
  }

  /** @param {Row} row of an overlay */
  async #commit(row) {
    let isCut = false;
    await this.#transfers.run(this.#progress("commit", row.name), ({ onProgress, signal }) =>
      this.#consented(async (consent) => {
        signal.addEventListener("abort", () => (isCut = true));
        await library.commitOverlay(row.id, { ...consent, onProgress, signal });
        await this.#machines.forget([row, ...row.overlays]);
      }),
    );
    const { title = "", text = "" } = this.#library?.commitCut ?? {};
    if (isCut) showFailure("library-error", { title: title.replace("{name}", () => row.name), text });
  }

  /** @param {string} name @param {string[]} overlays @param {string | undefined} compress */
  #export(name, overlays, compress) {
    const format = /** @type {"gzip" | "zstd" | undefined} */ (compress || undefined);
    return this.#transfers.run(this.#progress("export", name), (reporting) =>
      library.export(name, { overlays, compress: format, ...reporting }),
    );
  }

  /** @param {Row} row of an overlay */
  #exportChanges(row) {
    return this.#transfers.run(this.#progress("export", row.name), (reporting) => library.export(row.id, reporting));
  }

  /** @param {Row} row of an image or an address @param {File} file what `#exportChanges` made */
  async #importChanges(row, file) {
    const name = file.name.replace(/\.overlay$/, "");
    const base = row.kind === "cache" ? { url: row.name } : { image: row.id };
    await this.#later(library.importOverlay(file, { name, ...base }));
  }

  /** @param {string} kind @param {string} name */
  #progress(kind, name) {
    return (this.#library?.progress[kind] ?? "").replace("{name}", name);
  }

  /**
   * Lets a dialog close before its action has ended.
   * @param {Promise<unknown>} work
   */
  async #later(work) {
    work.catch((error) => this.#fail(error)).finally(() => this.refresh());
  }

  // ── the worker ─────────────────────────────────────────────────────────────────────────────────

  /** @param {string} operation @param {Record<string, unknown>} [values] */
  #call(operation, values = {}) {
    return this.#session.worker.call(operation, values);
  }

  /** @param {string | undefined} text @returns {Promise<number>} */
  #bytes(text) {
    return this.#call("page.bytes", { name: "size", text: text ?? "" });
  }

  /**
   * Runs an action. If it needs the user's consent, asks for it and runs the action again.
   * @param {(consent: Record<string, any>) => Promise<unknown>} act
   * @param {Record<string, unknown>} [consent]
   * @returns {Promise<unknown>}
   */
  async #consented(act, consent = {}) {
    try {
      return await act(consent);
    } catch (error) {
      const needed = this.#library?.consents[error instanceof Error ? error.name : ""];
      if (!needed || consent[needed.flag]) throw error;
      // What the user chose, if the question has a choice.
      return ask(needed.ask, (values) => this.#consented(act, { ...consent, [needed.flag]: true, ...values }));
    }
  }

  /** @param {unknown} error */
  #fail(error) {
    showFailure("library-error", failureOf(error));
  }
}

/** @param {Element | null} focused */
function focusKey(focused) {
  return focused?.getAttribute("data-action");
}
