/**
 * Boots the open disk in the page. The emulator is only fetched when the user boots.
 */

import { reportActivity } from "../element/machine-activity.mjs";
import { findState, stateName } from "../adapters/machine-states.mjs";
import { ask } from "./ask.mjs";
import { element, onPress, setAvailable, setText } from "./elements.mjs";
import { wireMachineTools } from "./machine-tools.mjs";
import { selectTab } from "./tabs.mjs";

/** @typedef {import("./page-session.mjs").PageSession} PageSession */
/** @typedef {import("./panel.mjs").DiskFacts} DiskFacts */
/** @typedef {import("../adapters/boot.mjs").Boot} Boot */

/** @param {PageSession} session */
export function wireBoot(session) {
  const container = element("machine", HTMLElement);
  const before = element("before-boot", HTMLElement);
  const showTools = wireMachineTools(session, () => machine);
  /** @type {number | null} */
  let disk = null;
  /** @type {Promise<Boot> | null} */
  let machine = null;
  /** Whether a machine is saved for the open disk. */
  let isSaved = false;

  session.boot = start;
  onPress("boot", async () => {
    const loses = isSaved && !session.view?.disk?.readOnly;
    if (!loses || (await agree("start"))) await start("anew");
  });
  onPress("boot-resume", () => start("resume"));

  /** Without `how` the user chooses, if a machine is saved. @param {"anew" | "resume"} [how] */
  async function start(how) {
    selectTab("machine");
    const facts = session.view?.disk;
    if (!facts || machine) return;
    try {
      const drive = await chooseDrive(facts, how);
      if (!drive || machine || facts.disk !== disk) return;
      machine = makeMachine(facts, drive);
      session.beforeClosing = stopBeforeClosing;
      const boot = await machine;
      before.hidden = true;
      const saved = await boot.saved();
      if (!saved || how === "anew") await boot.start();
      else if (how === "resume") await boot.resume();
    } catch (error) {
      if (before.hidden) return; // the component shows the error
      letGo();
      session.report(error);
    }
  }

  session.onView((view) => {
    const open = view.phase === "open" ? (view.disk?.disk ?? null) : null;
    if (open === disk) return;
    disk = open;
    letGo();
    showSaved(view.disk ?? null);
  });

  /** @param {DiskFacts | null} facts */
  async function showSaved(facts) {
    const box = element("boot-saved", HTMLElement);
    const resume = element("boot-resume", HTMLButtonElement);
    const anew = element("boot", HTMLButtonElement).classList;
    box.hidden = resume.hidden = true;
    anew.add("primary");
    isSaved = false;
    // Where nothing can be saved, nothing is.
    const found = facts && (await findState(stateName(facts.version)).catch(() => null));
    if (!found || facts.disk !== disk) return;
    box.hidden = resume.hidden = false;
    anew.remove("primary"); // of two ways one stands out
    isSaved = true;
    setAvailable(resume, true);
    const picture = element("boot-picture", HTMLImageElement);
    picture.hidden = !found.picture;
    if (found.picture) picture.src = found.picture;
    const text = session.view?.texts.saved ?? "";
    setText(element("boot-saved-text", HTMLElement), text.replace("{date}", new Date(found.savedAt).toLocaleString()));
  }

  /**
   * The drive that the disk belongs in: a saved machine's, or else the user chooses if an image is both a CD and
   * a disk. Null if the user cancels.
   * @param {DiskFacts} facts @param {"anew" | "resume"} [how]
   * @returns {Promise<"hda" | "cdrom" | null>}
   */
  async function chooseDrive({ disk, version }, how) {
    const found = how === "anew" ? null : await findState(stateName(version)).catch(() => null);
    if (found?.drive) return found.drive;
    const question = /** @type {import("./ask.mjs").Question | null} */ (
      found ? null : await session.worker.call("page.askDrive", { disk })
    );
    if (question) return ask(question, async ({ drive }) => /** @type {"hda" | "cdrom"} */ (drive));
    return /** @type {"hda" | "cdrom"} */ (await session.worker.call("page.bootDrive", { disk }));
  }

  /** @param {DiskFacts} facts @param {"hda" | "cdrom"} drive */
  async function makeMachine(facts, drive) {
    const [{ Boot }, { Disk }] = await Promise.all([import("../adapters/boot.mjs"), import("../lib/aero-disk.mjs")]);
    const sharedMemoryBytes = session.view?.settings.sharedMemoryBytes;
    const image = new Disk(session.worker, facts, { sharedMemoryBytes });
    const boot = new Boot(container, { disk: image, drive, entry: facts.entry, address: addressOf(facts), confirm: agree });
    reportActivity(boot, (events) => session.worker.call("activity.report", { disk: facts.disk, events }));
    boot.addEventListener("state", () => {
      session.losses.note(boot, boot.losesState);
      showTools(boot.machine !== null);
    });
    return boot;
  }

  /** The address of a remote image without an overlay, if it may be kept. @param {DiskFacts} facts */
  function addressOf(facts) {
    if (!facts.entry.startsWith("cache/")) return undefined;
    return new URLSearchParams(session.view?.share.query).get("image") ?? undefined;
  }

  /** @param {string} action of which Python has the question @param {() => Promise<unknown>} [act] */
  async function agree(action, act = async () => {}) {
    const question = session.view?.boot.asks[action];
    const perform = () => act().then(() => true);
    return question ? (await ask(question, perform)) === true : perform();
  }

  /** The machine's writes are made durable while its disk is open. */
  async function stopBeforeClosing(action = "close") {
    const boot = await machine?.catch(() => null);
    if (!boot) return true;
    const stop = async () => {
      await boot.stop();
      letGo();
    };
    if (boot.losesState) return agree(action, stop);
    try {
      await stop();
      return true;
    } catch {
      return false; // the component says why
    }
  }

  function letGo() {
    const old = machine;
    machine = session.beforeClosing = null;
    before.hidden = false;
    showTools(false);
    old
      ?.then((boot) => {
        session.losses.note(boot, false);
        return boot.dispose();
      })
      .catch(() => container.replaceChildren());
  }
}
