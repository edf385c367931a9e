/**
 * Overlays whose image has a new version.
 *
 *     const plan = await rebase({ url, allowRemote: true, overlay: "work" }); // says what would be
 *     if (plan.canMove) await rebase({ url, allowRemote: true, overlay: "work", to: plan.found });
 */

import { optionsOf, renewalOf, seconds, signalOf, urlOf } from "./arguments.mjs";
import { connect } from "./disk-worker.mjs";

/**
 * The overlay lies directly over the image at `url`, whose options are those of `openDisk`. With neither `to` nor
 * `toImage` nothing is changed.
 * @typedef {object} OverlayUpdate
 * @property {string} overlay
 * @property {Uint8Array | undefined} [digestsBefore] the digest list of the version that the overlay was made over,
 *   with `digests` for the present one; a prepared image needs neither
 * @property {string | undefined} [to] moves the overlay to this version, the plan's `found`
 * @property {string | undefined} [toImage] makes a local image of this name of the overlay over its old version
 * @property {((done: number, total: number | null) => void) | undefined} [onProgress] bytes of that image
 * @property {AbortSignal | undefined} [signal]
 */

/** @typedef {Omit<import("./aero-disk.mjs").RemoteImageOptions, "image" | "file"> & OverlayUpdate} RebaseOptions */

/**
 * What moving an overlay to the present version of its image means. Ranges are offset and length in bytes.
 * @typedef {object} RebasePlan
 * @property {string} pinned the version that it was made over
 * @property {string} found the server's
 * @property {boolean} isCurrent
 * @property {boolean} canMove
 * @property {"size" | "no-digests" | "needed" | null} obstacle why it cannot be moved
 * @property {[number, number][]} hidden changed, but the overlay has it
 * @property {[number, number][]} updated changed in partitions that it does not depend on: these change
 * @property {[number, number][]} needed changed, and it depends on it
 * @property {[number, number][]} missing of the old version, here and on the server: no image can be made then
 */

/**
 * Says what moving an overlay to the present version of its image means; moves it, or makes an image of it, if asked.
 * @param {RebaseOptions} options
 * @returns {Promise<RebasePlan>}
 */
export async function rebase(options) {
  const { signal: _, url, renew, expiresAt, bootProfile, ...values } = /** @type {RebaseOptions} */ (optionsOf(options));
  const asked = { ...values, url: urlOf(url), renew: renew && renewalOf(renew), expiresAt: seconds(expiresAt) };
  return connect().call("saves.rebase", asked, signalOf(options));
}
