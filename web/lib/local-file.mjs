/** A file of the user as `openDisk` takes it: used where it is, without a copy. */

import { fileUnreadable, invalidOption } from "./disk-error.mjs";

/** @typedef {File | Blob | FileSystemFileHandle} LocalFile */

/**
 * What is sent to the worker for a file. For a handle asks the browser for the permission to read it,
 * which it may ask the user for.
 * @param {unknown} file
 * @returns {Promise<Blob>}
 */
export async function blobOf(file) {
  if (file instanceof Blob) return file;
  if (isHandle(file)) return fileBehind(file);
  throw invalidOption("file", file, "a File, a Blob or a FileSystemFileHandle");
}

/**
 * @param {unknown} file
 * @returns {file is FileSystemFileHandle}
 */
export function isHandle(file) {
  return typeof FileSystemFileHandle === "function" && file instanceof FileSystemFileHandle;
}

/** @param {FileSystemFileHandle} handle */
async function fileBehind(handle) {
  try {
    // Chromium's, for handles that a page stored; TypeScript does not know it.
    const asking = /** @type {{ requestPermission?: (wanted: { mode: "read" }) => Promise<PermissionState> }} */ (handle);
    const state = await asking.requestPermission?.({ mode: "read" });
    if (state && state !== "granted") throw fileUnreadable(handle.name, "the browser was not allowed to read it");
    return await handle.getFile();
  } catch (error) {
    throw error instanceof DOMException ? fileUnreadable(handle.name, reasonOf(error)) : error;
  }
}

/** @param {DOMException} error */
function reasonOf({ name, message }) {
  if (name === "NotFoundError") return "it was moved or removed since it was chosen. Choose it again";
  if (name === "SecurityError") return "the browser asks for permission only after a click. Open it from one";
  return message.replace(/\.$/, "");
}
