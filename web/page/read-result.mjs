/**
 * Shows the result of a read: digest, duration, and a hex dump of the first bytes.
 */

import { element } from "./elements.mjs";

const DUMP_LENGTH = 512;
const NONE = "–";

const narrow = matchMedia("(max-width: 40rem)");
/** @type {{ bytes: Uint8Array, offset: number } | null} */
let dumped = null;

narrow.addEventListener("change", drawDump);

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {number} offset of the first byte, in the image
 * @param {number} seconds
 */
export async function showReadResult(bytes, offset, seconds) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  element("read-sha256", HTMLElement).textContent = hex(digest, "");
  element("read-duration", HTMLElement).textContent = duration(seconds);
  element("read-result", HTMLElement).dataset.empty = "false";
  dumped = { bytes: bytes.slice(0, DUMP_LENGTH), offset };
  drawDump();
}

export function clearReadResult() {
  element("read-result", HTMLElement).dataset.empty = "true";
  if (!dumped) return;
  dumped = null;
  element("read-sha256", HTMLElement).textContent = NONE;
  element("read-duration", HTMLElement).textContent = NONE;
  drawDump();
}

function drawDump() {
  const target = element("dump", HTMLElement);
  target.textContent = dumped ? hexDump(dumped.bytes, dumped.offset, narrow.matches ? 8 : 16) : "";
}

/**
 * Lines of `address  bytes  text`, as in hexdump -C.
 * @param {Uint8Array} bytes
 * @param {number} offset
 * @param {number} width bytes in a line
 */
export function hexDump(bytes, offset, width) {
  const digits = Math.max(8, (offset + bytes.length).toString(16).length);
  const lines = [];
  for (let at = 0; at < bytes.length; at += width) {
    const line = bytes.subarray(at, at + width);
    const text = Array.from(line, (byte) => (byte > 0x1f && byte < 0x7f ? String.fromCharCode(byte) : "."));
    const address = (offset + at).toString(16).padStart(digits, "0");
    lines.push(`${address}  ${hex(line, " ").padEnd(width * 3 - 1)}  ${text.join("")}`);
  }
  return lines.join("\n");
}

/** @param {Uint8Array} bytes @param {string} separator */
function hex(bytes, separator) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(separator);
}

/** @param {number} seconds */
function duration(seconds) {
  return seconds < 1 ? `${Math.max(1, Math.round(seconds * 1000))} ms` : `${seconds.toFixed(2)} s`;
}
