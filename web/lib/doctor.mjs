/**
 * The doctor: why an image can or cannot be streamed from an address.
 *
 *     import { diagnose } from "./aero-disk.mjs";
 *     const { isStreamable, findings } = await diagnose(url, { allowRemote: true });
 *
 * It downloads at most 1 MiB.
 */

import { optionsOf, signalOf, urlOf } from "./arguments.mjs";
import { connect } from "./disk-worker.mjs";

/**
 * `remedy` has the line to add, by server: nginx, s3, cloudfront, caddy, service. For
 * "not-isolated" it is the page's own server that needs it.
 * @typedef {object} Finding
 * @property {string} code
 * @property {"ok" | "note" | "fails"} level
 * @property {string} what was observed
 * @property {string} meaning
 * @property {Record<string, string>} remedy
 */

/**
 * `fault` is the code of the first finding that fails.
 * @typedef {object} Diagnosis
 * @property {string} url without secrets
 * @property {Finding[]} findings in the order of the checks
 * @property {boolean} isStreamable
 * @property {string | null} fault
 * @property {number | null} size of the image in bytes
 * @property {number} requests
 * @property {number} bytesDownloaded
 */

/**
 * @typedef {object} DiagnosisOptions
 * @property {boolean | undefined} [allowRemote] the user's consent: without it no request is made
 * @property {Record<string, string> | undefined} [headers] sent with every request
 * @property {RequestCredentials | undefined} [credentials]
 * @property {number | undefined} [timeoutS] how long the server may stay silent, in seconds
 * @property {AbortSignal | undefined} [signal]
 */

/**
 * @param {string | URL} url
 * @param {DiagnosisOptions} [options]
 * @returns {Promise<Diagnosis>}
 */
export async function diagnose(url, options) {
  const signal = signalOf(options);
  const { signal: _, ...values } = optionsOf(options);
  return connect().call("doctor.diagnose", { ...values, url: urlOf(url) }, signal);
}
