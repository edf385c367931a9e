/**
 * Boots the open disk in the page. The emulator is only fetched when the user boots.
 */

import { reportActivity } from "../element/machine-activity.mjs";
import { element, onPress } from "./elements.mjs";

/** @typedef {import("./page-session.mjs").PageSession} PageSession */
/** @typedef {import("./panel.mjs").DiskFacts} DiskFacts */
/** @typedef {import("../adapters/boot.mjs").Boot} Boot */

const CD_SECTOR = 2048;

/** @param {PageSession} session */
export function wireBoot(session) {
  const container = element("machine", HTMLElement);
  const button = element("boot", HTMLButtonElement);
  /** @type {number | null} */
  let disk = null;
  /** @type {Promise<Boot> | null} */
  let machine = null;

  onPress("boot", async () => {
    const facts = session.view?.disk;
    if (!facts || machine) return;
    machine = makeMachine(facts);
    try {
      const boot = await machine;
      button.hidden = true;
      // If a machine is saved, the user chooses to resume it or to boot.
      if (!(await boot.saved())) await boot.start();
    } catch (error) {
      if (button.hidden) return; // the component shows the error
      machine = null;
      session.report(error);
    }
  });

  session.onView((view) => {
    const open = view.phase === "open" ? (view.disk?.disk ?? null) : null;
    if (open === disk) return;
    disk = open;
    const before = machine;
    machine = null;
    button.hidden = false;
    before?.then((boot) => boot.dispose()).catch(() => container.replaceChildren());
  });

  /** @param {DiskFacts} facts */
  async function makeMachine(facts) {
    const [{ Boot }, { Disk }] = await Promise.all([import("../adapters/boot.mjs"), import("../lib/aero-disk.mjs")]);
    const sharedMemoryBytes = session.view?.settings.sharedMemoryBytes;
    const image = new Disk(session.worker, facts, { sharedMemoryBytes });
    const drive = facts.sectorSize === CD_SECTOR ? "cdrom" : "hda";
    const boot = new Boot(container, { disk: image, drive });
    reportActivity(boot, (events) => session.worker.call("activity.report", { disk: facts.disk, events }));
    return boot;
  }
}
