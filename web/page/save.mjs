/**
 * Gives the user a file: to a place that they choose where the browser can, else as a download.
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
  // The browser has taken the blob by then; a later revocation costs memory only.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
