/**
 * Checks the arguments of public functions. An invalid one is an `InvalidOptionError`, as in Python, and
 * never a `TypeError` from somewhere inside.
 */

import { invalidOption } from "./disk-error.mjs";

/** The largest number of bytes that one call writes. The worker has a copy of them for that time. */
export const MAX_WRITE = 256 << 20;

/**
 * @param {unknown} offset a number or BigInt
 * @returns {number} rejects NaN, fractions and other types; does not check the range
 */
export function offsetOf(offset) {
  const number = typeof offset === "bigint" ? Number(offset) : offset;
  if (Number.isInteger(number)) return /** @type {number} */ (number);
  throw invalidOption("offset", offset, "a whole number of bytes");
}

/**
 * @param {unknown} length
 * @param {string} [name]
 * @returns {number}
 */
export function lengthOf(length, name = "length") {
  if (Number.isInteger(length) && /** @type {number} */ (length) >= 0) return /** @type {number} */ (length);
  throw invalidOption(name, length, "a whole number of bytes, 0 or more");
}

/**
 * @param {unknown} bytes
 * @param {string} name of the argument
 * @returns {Uint8Array} also one of another realm, such as a frame
 */
export function bytesOf(bytes, name) {
  if (/** @type {Uint8Array | undefined} */ (bytes)?.BYTES_PER_ELEMENT === 1) {
    return /** @type {Uint8Array} */ (bytes);
  }
  throw invalidOption(name, bytes, "a Uint8Array");
}

/**
 * @param {unknown} options
 * @returns {AbortSignal | undefined} the options' signal, which has not fired; throws its reason if it has
 */
export function signalOf(options) {
  const { signal } = optionsOf(options);
  if (signal === undefined) return undefined;
  if (!(signal instanceof AbortSignal)) throw invalidOption("signal", signal, "an AbortSignal");
  signal.throwIfAborted();
  return signal;
}

/**
 * @param {unknown} options
 * @param {string} [name]
 * @returns {Record<string, unknown>} none for undefined
 */
export function optionsOf(options, name = "options") {
  if (options === undefined) return {};
  if (typeof options === "object" && options) return /** @type {Record<string, unknown>} */ (options);
  throw invalidOption(name, options, "an object");
}

/**
 * @param {unknown} url
 * @param {string} [name]
 * @returns {string}
 */
export function urlOf(url, name = "url") {
  if (typeof url === "string" || url instanceof URL) return String(url);
  throw invalidOption(name, url, "text or a URL");
}

/**
 * The page's function as Python calls it.
 * @param {() => Promise<import("./aero-disk.mjs").RenewedAccess> | import("./aero-disk.mjs").RenewedAccess} renew
 */
export function renewalOf(renew) {
  if (typeof renew !== "function") throw invalidOption("renew", renew, "a function");
  return async () => {
    const grant = await renew();
    return { ...grant, url: urlOf(grant.url), expiresAt: seconds(grant.expiresAt) };
  };
}

/**
 * Seconds since the epoch.
 * @param {Date | number | undefined} time a Date, or milliseconds since the epoch
 */
export function seconds(time) {
  return time === undefined ? undefined : Number(time) / 1000;
}
