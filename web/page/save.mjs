/**
 * Saves a file for the user: where they choose, if the browser can ask, else as a download.
 */

/**
 * @param {Uint8Array<ArrayBuffer> | Blob} content
 * @param {string} name
 * @param {string} [type] a media type
 */
export function download(content, name, type = "application/octet-stream") {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has read the blob by then; revoking late only costs memory.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
