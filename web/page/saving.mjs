/**
 * Saves a session's trace of the disk's activity, and the boot profile.
 */

import { onPress } from "./elements.mjs";
import { download } from "./save.mjs";

/** @typedef {import("./page-session.mjs").PageSession} PageSession */

/** @param {PageSession} session */
export function wireSaving(session) {
  onPress("save-trace", () => save("activity.trace", "trace.json"));
  onPress("save-profile", () => save("disk.bootProfile", "boot-profile.json"));

  /** @param {string} operation @param {string} name */
  async function save(operation, name) {
    const disk = session.view?.disk?.disk;
    if (disk === undefined) return;
    try {
      download(await session.worker.call(operation, { disk }), name, "application/json");
    } catch (error) {
      session.report(error);
    }
  }
}
