/**
 * The library: local images, overlays and caches of this origin.
 *
 *     import { library, openDisk } from "./aero-disk.mjs";
 *     await library.import(file, { name: "my-disk", onProgress: (done, total) => … });
 *     const disk = await openDisk({ image: "my-disk" });
 *     await library.export("my-disk", { compress: "gzip" });
 *     library.addEventListener("change", redraw); // here or in another tab
 *
 * Name images by name or id, overlays and caches by id. Changing or removing anything that is open, here
 * or in another tab, is an `ImageBusyError`.
 */

import { connect } from "./disk-worker.mjs";
import { optionsOf, signalOf, urlOf } from "./arguments.mjs";
import { Disk } from "./disk.mjs";
import { invalidOption } from "./disk-error.mjs";
import { openSink } from "./export-sink.mjs";

const PULLED = 1 << 20; // bytes of a stream that go to the worker at once

/**
 * Sizes in bytes. `base` is the id of an overlay's base, `done` how many bytes of an
 * interrupted import are saved.
 * @typedef {object} LibraryEntry
 * @property {string} id
 * @property {"image" | "overlay" | "cache"} kind
 * @property {string} name
 * @property {number | null} size of the disk
 * @property {number} usedBytes storage that it uses
 * @property {string | null} version
 * @property {Date | null} createdAt
 * @property {Date} usedAt
 * @property {"ready" | "creating" | "importing" | "recovered"} state "importing": the import can be
 *   continued or removed; "recovered": its record was damaged and its name lost, use `rename`
 * @property {"disk" | "cd"} media
 * @property {string} format what was imported
 * @property {boolean} isOpen here or in another tab
 * @property {string | null} base
 * @property {string | null} baseName
 * @property {number | null} done
 * @property {string | null} damage what is wrong with its data: `recover` saves the intact parts
 */

/**
 * The result of recovering a damaged image or overlay. `lost` lists offset and length of unreadable ranges,
 * which are zeros in the new one. If `isLatest` is false, the last changes are missing.
 * @typedef {{ entry: LibraryEntry, lost: [number, number][], isLatest: boolean }} Recovery
 */

/**
 * @typedef {{ used: number, quota: number, images: number, overlays: number, caches: number }} LibraryUsage
 * @typedef {(done: number, total: number | null) => void} OnProgress bytes of the file, or of the disk
 */

/**
 * @typedef {object} ImportOptions
 * @property {string | undefined} [name] the image's name; by default the file's
 * @property {boolean | undefined} [pad] accepts a size that is not a multiple of 512 bytes, and adds zeros
 * @property {"auto" | "cd" | "disk" | "ask" | undefined} [media] what the image of a CD becomes that is a disk as
 *   well: "auto" makes a CD of it, "ask" throws a `HybridImageError`
 * @property {string | undefined} [format] of the file: "raw", "qcow2", …; by default recognised
 * @property {boolean | undefined} [keep] keeps the data of a cancelled import, so that it can be continued
 * @property {string | undefined} [fileName] names an image made from bytes or a stream
 * @property {OnProgress | undefined} [onProgress]
 * @property {AbortSignal | undefined} [signal]
 */

/**
 * An image on a server, as `openDisk` takes it; also one that cannot be streamed.
 * @typedef {object} RemoteFile
 * @property {string | URL} url
 * @property {boolean | undefined} [allowRemote]
 * @property {Record<string, string> | undefined} [headers]
 * @property {"omit" | "same-origin" | "include" | undefined} [credentials]
 * @property {number | undefined} [timeoutS]
 */

/** @typedef {File | Blob | Uint8Array | ReadableStream<Uint8Array> | RemoteFile} Importable */

/**
 * @typedef {object} ExportOptions
 * @property {string | string[] | undefined} [overlays] exports the image with these overlays applied
 * @property {"gzip" | "zstd" | undefined} [compress]
 * @property {import("./export-sink.mjs").Target | undefined} [to] by default the browser asks the user for a
 *   file, or downloads if it cannot ask
 * @property {string | undefined} [fileName] the file's name, or the suggested one
 * @property {((done: number, total: number) => void) | undefined} [onProgress] bytes of the disk
 * @property {AbortSignal | undefined} [signal]
 */

/** The images, overlays and caches of this origin. A `change` event reports any change. */
export class Library extends EventTarget {
  /** @type {BroadcastChannel | null} */
  #channel = null;

  /**
   * All entries, the most recently used first.
   * @returns {Promise<LibraryEntry[]>}
   */
  async list() {
    return (await this.#ask("list")).map(entryOf);
  }

  /** @returns {Promise<LibraryUsage>} */
  usage() {
    return this.#ask("usage");
  }

  /**
   * Creates a blank image, which takes almost no storage until it is written.
   * @param {string} name
   * @param {{ size: number }} options in bytes, a multiple of 512
   * @returns {Promise<LibraryEntry>}
   */
  async create(name, options) {
    return entryOf(await this.#ask("create", { ...optionsOf(options), name }));
  }

  /**
   * Creates an image from a file in any supported format: raw, ISO 9660, qcow2, VHD, VHDX, VMDK, VDI, BIN, or
   * compressed. An interrupted import continues when the same file is imported again.
   * @param {Importable} file
   * @param {ImportOptions} [options]
   * @returns {Promise<LibraryEntry>}
   */
  async import(file, options) {
    const { signal: _, fileName, ...values } = /** @type {ImportOptions} */ (optionsOf(options));
    const signal = signalOf(options);
    return entryOf(await this.#ask("import", { ...values, ...sourceOf(file, fileName) }, signal));
  }

  /**
   * Creates a local image from the current content of an open disk, overlay included. Missing blocks of a
   * remote disk are downloaded.
   * @param {import("./disk.mjs").Disk} disk
   * @param {{ name: string, onProgress?: OnProgress, signal?: AbortSignal | undefined }} options
   * @returns {Promise<LibraryEntry>}
   */
  async importDisk(disk, options) {
    if (!(disk instanceof Disk)) throw invalidOption("disk", disk, "an open disk");
    const signal = signalOf(options);
    const { signal: _, ...values } = optionsOf(options);
    return entryOf(await disk.ask("library.importDisk", values, signal));
  }

  /**
   * Writes an image to a file, optionally compressed. Nothing else can open the image meanwhile. An image
   * that this tab has open is exported as it is now, and fails if it is written to before the end. The id
   * of an overlay exports the overlay alone, for `importOverlay`.
   * @param {string} name
   * @param {ExportOptions} [options]
   * @returns {Promise<{ fileName: string, bytes: number, blob: Blob | null }>} `blob` where `to` asks for it
   */
  async export(name, options) {
    const signal = signalOf(options);
    const { overlays, compress, to, fileName, onProgress } = /** @type {ExportOptions} */ (optionsOf(options));
    const suffix = { gzip: ".gz", zstd: ".zst", none: "" }[compress ?? "none"] ?? "";
    // Before anything is awaited: browsers show a picker only shortly after a click.
    const sink = await openSink(to, fileName ?? `${name}.img${suffix}`);
    let number = 0;
    try {
      const found = await this.#ask("startExport", { name, overlays, compress }, signal);
      number = found.export;
      let next = this.#readExport(number, signal);
      for (;;) {
        const { bytes, hole, done } = await next;
        if (!bytes && !hole) break;
        next = this.#readExport(number, signal); // fetched while this one is written
        next.catch(() => {}); // it is awaited unless writing fails
        await (bytes ? sink.write(bytes) : sink.skip(hole));
        onProgress?.(done, found.size);
      }
      const blob = await sink.close(fileName ?? found.fileName);
      return { fileName: fileName ?? found.fileName, bytes: sink.written, blob };
    } catch (error) {
      await sink.abort(error);
      throw error;
    } finally {
      if (number) await this.#ask("endExport", { export: number });
    }
  }

  /**
   * @param {string} name
   * @param {string} to
   * @returns {Promise<LibraryEntry>}
   */
  async rename(name, to) {
    return entryOf(await this.#ask("rename", { name, to }));
  }

  /**
   * @param {string} name
   * @param {string} to the copy's name
   * @param {{ onProgress?: OnProgress, signal?: AbortSignal | undefined }} [options]
   * @returns {Promise<LibraryEntry>}
   */
  async duplicate(name, to, options) {
    const signal = signalOf(options);
    const { onProgress } = optionsOf(options);
    return entryOf(await this.#ask("duplicate", { name, to, onProgress }, signal));
  }

  /**
   * Saves the intact parts of a damaged image in a new image, or of an overlay (by id) in a new overlay.
   * The damaged one stays as it is.
   * @param {string} name
   * @param {string} to the new one's name
   * @param {{ onProgress?: OnProgress, signal?: AbortSignal }} [options]
   * @returns {Promise<Recovery>}
   */
  async recover(name, to, { onProgress, signal } = {}) {
    const saved = await this.#ask("recover", { name, to, onProgress }, signal);
    return { ...saved, entry: entryOf(saved.entry) };
  }

  /**
   * @param {string} name
   * @param {number} size in bytes
   * @param {{ cut?: boolean, dropOverlays?: boolean }} [consent] to cutting off data, or to losing overlays
   * @returns {Promise<void>}
   */
  async resize(name, size, consent) {
    return this.#ask("resize", { ...optionsOf(consent, "consent"), name, size });
  }

  /**
   * Removes an image, an overlay or a cache permanently.
   * @param {string} name
   * @param {{ dropOverlays?: boolean }} [consent] to losing the overlays over it
   * @returns {Promise<void>}
   */
  async remove(name, consent) {
    return this.#ask("remove", { ...optionsOf(consent, "consent"), name });
  }

  /**
   * Removes everything that can be downloaded again, or only lists it unless `dryRun` is false. Images and
   * overlays stay.
   * @param {{ unusedForS?: number, keepBytes?: number, kinds?: ("cache" | "import")[], dryRun?: boolean }} [options]
   * @returns {Promise<LibraryEntry[]>}
   */
  async prune(options) {
    return (await this.#ask("prune", optionsOf(options))).map(entryOf);
  }

  /**
   * The overlays of a local image, or of the image at a URL.
   * @param {{ image: string } | { url: string | URL, cacheKey?: string }} base
   * @returns {Promise<LibraryEntry[]>}
   */
  async overlays(base) {
    return (await this.#ask("overlays", baseOf(base, "base"))).map(entryOf);
  }

  /**
   * Creates an overlay from a file that `export` made. It only works with the image version that it
   * was created for, which is checked when it is opened.
   * @param {File | Blob | Uint8Array} file
   * @param {{ name: string } & ({ image: string } | { url: string | URL, cacheKey?: string })} options
   * @returns {Promise<LibraryEntry>}
   */
  async importOverlay(file, options) {
    return entryOf(await this.#ask("importOverlay", { ...baseOf(options, "options"), file }));
  }

  /**
   * Discards all writes to an overlay, even if its image has changed.
   * @param {string} id
   * @returns {Promise<void>}
   */
  resetOverlay(id) {
    return this.#ask("resetOverlay", { name: id });
  }

  /**
   * Writes an overlay's content into its base, a local image or another overlay. When it is cancelled, the overlay
   * still has all of it, and the base a part: commit it again before you use the base by itself.
   * @param {string} id
   * @param {{ dropOverlays?: boolean, onProgress?: OnProgress, signal?: AbortSignal }} [options] `dropOverlays`
   *   consents to losing the other overlays over its base
   * @returns {Promise<void>}
   */
  async commitOverlay(id, options) {
    const signal = signalOf(options);
    const { signal: _, ...given } = optionsOf(options);
    return this.#ask("commitOverlay", { ...given, name: id }, signal);
  }

  /**
   * @overload
   * @param {"change"} type something has changed, here or in another tab
   * @param {(event: CustomEvent<string>) => unknown} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @returns {void}
   *
   * @overload
   * @param {string} type
   * @param {EventListenerOrEventListenerObject | null} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @returns {void}
   *
   * @param {string} type
   * @param {any} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @override
   */
  addEventListener(type, listener, options) {
    if (!this.#channel) {
      this.#channel = new BroadcastChannel("aero-browser-disk/library");
      this.#channel.onmessage = ({ data }) =>
        this.dispatchEvent(new CustomEvent("change", { detail: data.changed }));
    }
    super.addEventListener(type, listener, options);
  }

  /**
   * @param {number} number
   * @param {AbortSignal} [signal]
   */
  #readExport(number, signal) {
    return this.#ask("readExport", { export: number }, signal);
  }

  /**
   * @param {string} operation
   * @param {Record<string, unknown>} [values]
   * @param {AbortSignal} [signal]
   */
  #ask(operation, values = {}, signal) {
    return connect().call(`library.${operation}`, values, signal);
  }
}

/** The library of this origin. */
export const library = new Library();

/**
 * An entry with Date objects, and null instead of undefined (Python's None).
 * @param {any} sent
 * @returns {LibraryEntry}
 */
export function entryOf(sent) {
  const entry = Object.fromEntries(Object.entries(sent).map(([name, value]) => [name, value ?? null]));
  const createdAt = entry.createdAt && new Date(entry.createdAt * 1000);
  return /** @type {any} */ ({ ...entry, createdAt, usedAt: new Date(entry.usedAt * 1000) });
}

/**
 * What is sent to the worker for an import.
 * @param {Importable} file
 * @param {string} [fileName]
 */
function sourceOf(file, fileName = "") {
  if (file instanceof Blob) return { file, fileName: undefined };
  if (file instanceof Uint8Array) return { file, fileName };
  if (file instanceof ReadableStream) return { pull: puller(file), fileName };
  const remote = optionsOf(file, "file");
  return { ...remote, url: urlOf(remote.url) };
}

/**
 * Options with the URL as text.
 * @param {unknown} options
 * @param {string} name
 */
function baseOf(options, name) {
  const values = optionsOf(options, name);
  return "url" in values ? { ...values, url: urlOf(values.url) } : values;
}

/**
 * A function that returns the next chunk of a stream.
 * @param {ReadableStream<Uint8Array>} stream
 */
function puller(stream) {
  const reader = stream.getReader();
  return async () => {
    /** @type {Uint8Array[]} */
    const chunks = [];
    let length = 0;
    while (length < PULLED) {
      const { done, value } = await reader.read();
      if (done) break;
      chunks.push(value);
      length += value.length;
    }
    if (!length) return {};
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const chunk of chunks) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    return { bytes };
  };
}
