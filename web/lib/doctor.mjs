/**
 * The doctor: why an image can or cannot be streamed from an address.
 *
 *     import { diagnose } from "./aero-disk.mjs";
 *     const { isStreamable, findings } = await diagnose(url, { allowRemote: true });
 *
 * It downloads at most 1 MiB.
 */

import { connect } from "./aero-disk.mjs";

/**
 * `remedy` has the line to add, by server: nginx, s3, cloudfront, caddy, service. For
 * "not-isolated" it is the page's own server that needs it.
 * @typedef {object} Finding
 * @property {string} code
 * @property {"ok" | "note" | "fails"} level
 * @property {string} what was seen
 * @property {string} meaning
 * @property {Record<string, string>} remedy
 */

/**
 * `fault` is the code of the first finding that fails.
 * @typedef {object} Diagnosis
 * @property {string} url as it may be shown
 * @property {Finding[]} findings in the order of looking
 * @property {boolean} isStreamable
 * @property {string | null} fault
 * @property {number | null} size of the image in bytes
 * @property {number} requests
 * @property {number} bytesDownloaded
 */

/**
 * @typedef {object} DiagnosisOptions
 * @property {boolean} [allowRemote] the user's consent: without it nothing is asked of the network
 * @property {Record<string, string>} [headers] sent with every request
 * @property {RequestCredentials} [credentials]
 * @property {number} [timeoutS] how long the host may stay silent, in seconds
 * @property {AbortSignal} [signal]
 */

/**
 * @param {string | URL} url
 * @param {DiagnosisOptions} [options]
 * @returns {Promise<Diagnosis>}
 */
export function diagnose(url, { signal, ...options } = {}) {
  return connect().call("doctor.diagnose", { url: String(url), ...options }, signal);
}
