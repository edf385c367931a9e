/**
 * Boots the open disk in the page. Nothing of the machine is fetched before it is asked for.
 */

import { element, onPress } from "./elements.mjs";

/** @typedef {import("./page-session.mjs").PageSession} PageSession */
/** @typedef {import("./panel.mjs").DiskFacts} DiskFacts */
/** @typedef {import("../adapters/boot.mjs").Boot} Boot */

const TELL_MS = 200;
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
      // With a saved machine it is the user's to say whether that goes on or the disk boots anew.
      if (!(await boot.saved())) await boot.start();
    } catch (error) {
      if (button.hidden) return; // the component says what is wrong
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
    tellOf(boot, facts.disk);
    return boot;
  }

  /**
   * Tells the worker what the machine reads and writes: much of it never reaches the worker, since
   * it is in shared memory, and the map would not show it.
   * @param {Boot} boot
   * @param {number} disk
   */
  function tellOf(boot, disk) {
    /** @type {[kind: string, offset: number, length: number][]} */
    let events = [];
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const tell = () => {
      timer = undefined;
      const told = events;
      events = [];
      session.worker.call("activity.tell", { disk, events: told }).catch(() => {}); // it is closed
    };
    boot.addEventListener("activity", (event) => {
      const { kind, offset, length } = /** @type {import("../adapters/v86-disk.mjs").DiskActivityEvent} */ (event);
      events.push([kind, offset, length]);
      timer ??= setTimeout(tell, TELL_MS);
    });
    boot.addEventListener("state", () => {
      if (boot.state === "off") tell(); // nothing more: the disk tells again
    });
  }
}
