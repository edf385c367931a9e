/**
 * A file of the user's, opened from where it is. The page remembers the last one, where the browser gives
 * it a handle.
 */

import { element, messageOf, onPress, setAvailable, setText, showFailure } from "./elements.mjs";
import { blobOf } from "../lib/local-file.mjs";

/**
 * @typedef {{ handle: FileSystemFileHandle, size: number, lastModified: number }} Remembered
 * @typedef {{ showOpenFilePicker?: () => Promise<FileSystemFileHandle[]> }} WithPicker
 */

const DATABASE = "aero-browser-disk";
const STORE = "files";
const LAST = "last";

export class FileInPlace {
  #session;
  /** @type {Remembered | null} */
  #last = null;
  /** @type {{ disk: number, file: import("../lib/commit-to-file.mjs").FileOfDisk } | null} */
  #opened = null;

  /** @param {import("./page-session.mjs").PageSession} session */
  constructor(session) {
    this.#session = session;
    onPress("use-file", () => this.#try(() => this.#choose()));
    onPress("use-file-again", () => this.#try(() => this.#useAgain()));
    session.onView(({ phase }) => {
      for (const id of ["use-file", "use-file-again"]) setAvailable(element(id, HTMLButtonElement), phase !== "opening");
      this.#draw();
    });
    recall().then((last) => {
      this.#last ??= last;
      this.#draw();
    });
  }

  /** @param {() => Promise<void>} act */
  async #try(act) {
    showFailure("library-error", null);
    try {
      await act();
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return; // nothing was chosen
      showFailure("library-error", { title: "", text: messageOf(error) });
    }
  }

  async #choose() {
    const { showOpenFilePicker } = /** @type {WithPicker} */ (globalThis);
    if (!showOpenFilePicker) return this.#chooseByInput();
    const [handle] = await showOpenFilePicker();
    if (!handle) return;
    await this.use(handle);
  }

  /** Opens a file, and remembers it. @param {FileSystemFileHandle} handle */
  async use(handle) {
    const file = /** @type {File} */ (await blobOf(handle));
    await this.#keep({ handle, size: file.size, lastModified: file.lastModified });
    const disk = await this.#use(file);
    this.#opened = disk === undefined ? null : { disk, file: { handle, file } };
    this.#session.redraw();
  }

  /** The file that the open disk lies over, as it was when it was opened; null without a handle. */
  get opened() {
    return this.#opened?.disk === this.#session.view?.disk?.disk ? (this.#opened?.file ?? null) : null;
  }

  #chooseByInput() {
    const input = element("use-file-input", HTMLInputElement);
    input.value = "";
    input.onchange = () => {
      const file = input.files?.[0];
      if (file) this.#use(file);
    };
    input.click();
  }

  async #useAgain() {
    const last = this.#last;
    if (!last) return;
    const { handle } = last;
    const file = /** @type {File} */ (await blobOf(handle));
    const isChanged = file.size !== last.size || file.lastModified !== last.lastModified;
    if (isChanged) showFailure("library-error", { title: this.#text("fileChangedTitle", handle.name), text: this.#text("fileChanged", handle.name) });
    await this.use(handle);
  }

  /** Returns the open disk, if it is open. @param {File} file */
  async #use(file) {
    if (!(await this.#session.close())) return undefined;
    const overlay = element("overlay", HTMLInputElement).value.trim();
    const response = await this.#session.act("panel.openFile", { file, overlay });
    return response?.view.disk?.disk;
  }

  /** @param {Remembered} used */
  async #keep(used) {
    this.#last = used;
    this.#draw();
    await remember(used);
  }

  #draw() {
    const button = element("use-file-again", HTMLButtonElement);
    button.hidden = !this.#last;
    setText(button, this.#last ? this.#text("useFileAgain", this.#last.handle.name) : "");
  }

  /** @param {string} text @param {string} name */
  #text(text, name) {
    return (this.#session.view?.texts[text] ?? "").replace("{name}", () => name);
  }
}

/** @returns {Promise<Remembered | null>} null also where the browser stores nothing */
async function recall() {
  try {
    return (await inStore("readonly", (store) => store.get(LAST))) ?? null;
  } catch {
    return null;
  }
}

/** @param {Remembered} used */
async function remember(used) {
  try {
    await inStore("readwrite", (store) => store.put(used, LAST));
  } catch {
    // Not in a private window, for example: the file is chosen again next time.
  }
}

/**
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest} act
 * @returns {Promise<any>}
 */
async function inStore(mode, act) {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const database = /** @type {IDBDatabase} */ (await done(opening));
  try {
    return await done(act(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

/** @param {IDBRequest} request */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
