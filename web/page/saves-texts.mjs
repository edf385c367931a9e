/**
 * Texts of saves with values in them.
 */

import { mebibytes } from "./transfers.mjs";

/**
 * Those of `save_texts.py`.
 * @typedef {"heading" | "intro" | "address" | "addressHint" | "token" | "tokenHint" | "passphrase" | "passphraseHint" |
 *   "name" | "push" | "list" | "cancel" | "done" | "never" | "before" | "pushing" | "pushed" | "unchanged" | "cancelled" |
 *   "listing" | "listed" | "none" | "row" | "fits" | "other" | "generation" | "generations" | "noEarlier" | "take" |
 *   "look" | "overlayName" | "takeTitle" | "takeText" | "takeYes" | "taking" | "lookTitle" | "lookText" | "lookYes"
 *   | "conflictTitle" | "conflict" | "noTime" | "keepMine" | "keepTitle" | "keepText" | "keepYes" | "takeTheirs" |
 *   "lookTheirs" | "movedTitle" | "moved" | "planMove" | "planCurrent" | "planImage" | "planMissing" |
 *   "planElse" | "closeFirstTitle" | "closeFirstText" | "closeFirstYes" | "digestsText" | "digestsBefore" |
 *   "digestsPresent" | "compare" | "move" | "makeImage" | "imageName" | "imageText" | "imageYes" | "movedDone" | "imageDone"} TextName
 * @typedef {Record<TextName, string> & { planStuck: Record<string, string> }} Texts
 */

/** @param {string | undefined} text @param {Record<string, unknown>} values */
export function filled(text, values) {
  return (text ?? "").replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** @param {string} time as RFC 3339 has it */
export function momentOf(time) {
  const moment = new Date(time);
  return Number.isNaN(moment.valueOf()) ? time : moment.toLocaleString();
}

/** @param {number} bytes */
export function sizeOf(bytes) {
  if (bytes < 2 ** 20) return `${(bytes / 2 ** 10).toFixed(bytes < 2 ** 10 * 10 ? 1 : 0)} KiB`;
  return mebibytes(bytes);
}
