/** Writes the changes of an overlay into the file of the user's that it lies over. */

import { fileUnwritable, invalidOption } from "./disk-error.mjs";
import { library } from "./library.mjs";

/** @typedef {import("./disk.mjs").Disk} Disk */
/** @typedef {{ handle: FileSystemFileHandle, file: File }} FileOfDisk the handle, and its file when the disk was opened */

const CHUNK = 1 << 20;

/**
 * @typedef {object} CommitToFileOptions
 * @property {boolean | undefined} [dropOverlays] consent to losing the other overlays over the file
 * @property {((done: number, total: number) => void) | undefined} [onProgress] bytes of what the overlay has
 * @property {AbortSignal | undefined} [signal] leaves the file as it is
 */

/**
 * @param {Disk} disk
 * @param {FileOfDisk | undefined} opened
 * @param {CommitToFileOptions} options
 */
export async function commitToFile(disk, opened, options) {
  if (!opened) throw invalidOption("disk", disk, "one that was opened with a FileSystemFileHandle");
  await askToWrite(opened.handle); // first: the user's click counts for a few seconds only
  const overlay = await writeIntoFile(disk, opened, options);
  await disk.close();
  await library.resetOverlay(overlay);
}

/**
 * The browser writes to a copy, which takes the file's place when all is written: either all of the changes are in
 * the file, or none.
 * @param {Disk} disk
 * @param {FileOfDisk} opened
 * @param {CommitToFileOptions} options
 * @returns {Promise<string>} the id of the overlay, which is of no use afterwards
 */
export async function writeIntoFile(disk, opened, { dropOverlays = false, onProgress, signal }) {
  const { handle } = opened;
  /** @type {{ overlay: string, ranges: [number, number][], changes: number }} */
  const { overlay, ranges, changes } = await disk.ask("library.fileChanges", { dropOverlays });
  const total = ranges.reduce((sum, [, length]) => sum + length, 0);
  let done = 0;
  await checkUnchanged(opened);
  const copy = await mapped(handle, () => handle.createWritable({ keepExistingData: true }));
  try {
    for (const [start, length] of ranges) {
      for (let at = start; at < start + length; at += CHUNK) {
        const data = await disk.read(at, Math.min(CHUNK, start + length - at), { signal });
        await mapped(handle, () => copy.write({ type: "write", position: at, data }));
        onProgress?.((done += data.length), total);
      }
    }
    const { changes: now } = await disk.ask("library.fileChanges", { dropOverlays });
    if (now !== changes) throw fileUnwritable(handle.name, "the disk was written to meanwhile. Stop the machine first");
    await checkUnchanged(opened);
    signal?.throwIfAborted();
  } catch (error) {
    await copy.abort().catch(() => {}); // the file is as it was
    throw error;
  }
  await mapped(handle, () => copy.close());
  return overlay;
}

/** Has the browser ask the user, in a click. @param {FileSystemFileHandle} handle */
export async function askToWrite(handle) {
  // Chromium's; TypeScript does not know it. Elsewhere a handle can be written to that a page has.
  const asking = /** @type {{ requestPermission?: (wanted: { mode: "readwrite" }) => Promise<PermissionState> }} */ (handle);
  const state = await mapped(handle, async () => asking.requestPermission?.({ mode: "readwrite" }));
  if (state && state !== "granted") throw fileUnwritable(handle.name, "the browser was not allowed to write to it");
}

/** @param {FileOfDisk} opened */
async function checkUnchanged({ handle, file }) {
  const now = await mapped(handle, () => handle.getFile());
  if (now.size === file.size && now.lastModified === file.lastModified) return;
  throw fileUnwritable(handle.name, "it was changed since it was opened. Open it again");
}

/**
 * @template T
 * @param {FileSystemFileHandle} handle
 * @param {() => Promise<T>} act
 * @returns {Promise<T>}
 */
async function mapped({ name }, act) {
  try {
    return await act();
  } catch (error) {
    throw error instanceof DOMException ? fileUnwritable(name, error.message.replace(/\.$/, "")) : error;
  }
}
