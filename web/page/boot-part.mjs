/**
 * Boots the open disk in the page. The emulator is only fetched when the user boots.
 */

import { reportActivity } from "../element/machine-activity.mjs";
import { ask } from "./ask.mjs";
import { element, messageOf, onPress } from "./elements.mjs";
import { selectTab } from "./tabs.mjs";

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

  onPress("boot", start);
  session.boot = start;

  async function start() {
    selectTab("machine");
    const facts = session.view?.disk;
    if (!facts || machine) return;
    machine = makeMachine(facts);
    session.beforeClosing = stopBeforeClosing;
    try {
      const boot = await machine;
      button.hidden = true;
      // If a machine is saved, the user chooses to resume it or to boot.
      if (!(await boot.saved())) await boot.start();
    } catch (error) {
      if (button.hidden) return; // the component shows the error
      letGo();
      session.report(error);
    }
  }

  session.onView((view) => {
    const open = view.phase === "open" ? (view.disk?.disk ?? null) : null;
    if (open === disk) return;
    disk = open;
    button.hidden = false;
    letGo();
  });

  /** @param {DiskFacts} facts */
  async function makeMachine(facts) {
    const [{ Boot }, { Disk }] = await Promise.all([import("../adapters/boot.mjs"), import("../lib/aero-disk.mjs")]);
    const sharedMemoryBytes = session.view?.settings.sharedMemoryBytes;
    const image = new Disk(session.worker, facts, { sharedMemoryBytes });
    const drive = facts.sectorSize === CD_SECTOR ? "cdrom" : "hda";
    const boot = new Boot(container, { disk: image, drive, confirm: agree });
    reportActivity(boot, (events) => session.worker.call("activity.report", { disk: facts.disk, events }));
    boot.addEventListener("state", () => session.losses.note(boot, boot.losesState));
    return boot;
  }

  /** @param {string} action of which Python has the question @param {() => Promise<unknown>} [act] */
  async function agree(action, act = async () => {}) {
    const question = session.view?.boot.asks[action];
    const perform = () => act().then(() => true);
    return question ? (await ask(question, perform, explain)) === true : perform();
  }

  /** The machine's writes are made durable while its disk is open. */
  async function stopBeforeClosing() {
    const boot = await machine?.catch(() => null);
    if (!boot) return true;
    const stop = async () => {
      await boot.stop();
      letGo();
    };
    if (boot.losesState) return agree("close", stop);
    try {
      await stop();
      return true;
    } catch {
      return false; // the component says why
    }
  }

  function letGo() {
    const before = machine;
    machine = session.beforeClosing = null;
    before
      ?.then((boot) => {
        session.losses.note(boot, false);
        return boot.dispose();
      })
      .catch(() => container.replaceChildren());
  }
}

/** @param {unknown} error */
function explain(error) {
  return { title: "", text: messageOf(error) };
}
