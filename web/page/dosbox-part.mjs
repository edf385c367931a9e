/**
 * Runs the open disk in DOSBox. It is of npm's package `emulators`, whose licence is the GPL-2.0, so it is not part
 * of the site: the attribute `data-emulators` says where its folder `dist` is served.
 */

import { ask } from "./ask.mjs";
import { DosboxScreen } from "./dosbox-screen.mjs";
import { element, messageOf, onPress, setAvailable, setText, showFailure } from "./elements.mjs";
import { selectTab } from "./tabs.mjs";

/**
 * @typedef {import("./page-session.mjs").PageSession} PageSession
 * @typedef {import("./panel.mjs").DiskFacts} DiskFacts
 * @typedef {import("./dosbox-screen.mjs").Dos} Dos
 * @typedef {import("../adapters/dosbox.mjs").DriveFailure} DriveFailure
 * @typedef {import("../lib/disk.mjs").Disk} Disk
 * @typedef {import("../adapters/dosbox.mjs").Emulators<Dos>} Emulators
 */

/** DOSBox-X shows long names, and FAT32, from this version of DOS on. */
const X_CONFIG = "[dos]\nver=7.10";

/** @param {PageSession} session */
export function wireDosbox(session) {
  const button = element("dosbox-run", HTMLButtonElement);
  const note = element("boot-note", HTMLElement);
  /** @type {number | null} */
  let open = null;
  /** @type {Run | null} */
  let run = null;
  const showError = (/** @type {string} */ title, /** @type {unknown} */ error) =>
    showFailure("dosbox-error", error ? { title, text: messageOf(error) } : null);

  onPress("dosbox-run", start);
  onPress("boot", lookForBootCode);
  const { boot } = session;
  session.boot = boot && ((...options) => (lookForBootCode(), boot(...options)));
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) run?.flush().catch(() => {}); // tried again at the end
  });

  session.onView((view) => {
    setAvailable(button, view.phase === "open");
    const disk = view.phase === "open" ? (view.disk?.disk ?? null) : null;
    if (disk === open) return;
    open = disk;
    setText(note, "");
    showError("", null);
    if (run) end(run);
  });

  async function lookForBootCode() {
    const disk = open;
    if (disk === null) return;
    const text = /** @type {string} */ (await session.worker.call("page.bootNote", { disk }).catch(() => ""));
    if (disk === open) setText(note, text);
  }

  async function start() {
    selectTab("machine");
    const view = session.view;
    const facts = view?.disk;
    if (!facts || run || (await session.beforeClosing?.("dosbox")) === false || facts.disk !== open) return;
    showError("", null);
    const texts = view.texts.dosboxMachine;
    const screen = new DosboxScreen(element("dosbox-machine", HTMLElement), texts, () => stop("stopDosbox"));
    const mine = (run = new Run(session, facts, screen));
    session.beforeClosing = () => stop("closeDosbox");
    session.losses.note(mine, true);
    try {
      await mine.start(texts);
    } catch (error) {
      if (run !== mine) return; // it was stopped, or its disk is closed
      end(mine);
      showError(texts.notStarted ?? "", error);
    }
  }

  /** @param {"stopDosbox" | "closeDosbox"} action @returns {Promise<boolean>} whether it is off */
  async function stop(action) {
    const mine = run;
    const question = session.view?.boot.asks[action];
    if (!mine || !question) return true;
    const agreed = await ask(question, () => mine.stop().then(() => true), (error) => ({
      title: session.view?.texts.dosboxMachine.notSaved ?? "",
      text: messageOf(error),
    }));
    if (agreed) end(mine);
    return agreed === true;
  }

  /** @param {Run} mine */
  function end(mine) {
    mine.remove();
    session.losses.note(mine, false);
    if (run !== mine) return;
    run = session.beforeClosing = null;
    button.focus();
  }
}

/** One DOSBox, from its start to its end. */
class Run {
  #session;
  #facts;
  #screen;
  /** @type {Disk | null} */
  #disk = null;
  /** @type {Dos | null} */
  #dos = null;
  /** What DOSBox stands still for. @type {DriveFailure | null} */
  #failure = null;
  #isOver = false;

  /** @param {PageSession} session @param {DiskFacts} facts @param {DosboxScreen} screen */
  constructor(session, facts, screen) {
    this.#session = session;
    this.#facts = facts;
    this.#screen = screen;
  }

  /** @param {Record<string, string>} texts */
  async start(texts) {
    const [{ dosboxDrive, dosboxXScript, startDosbox, usualLetter }, { Disk }] = await Promise.all([
      import("../adapters/dosbox.mjs"),
      import("../lib/aero-disk.mjs"),
    ]);
    const sharedMemoryBytes = this.#session.view?.settings.sharedMemoryBytes;
    const disk = (this.#disk = new Disk(this.#session.worker, this.#facts, { sharedMemoryBytes }));
    const letter = usualLetter(disk);
    const { needsX } = await dosboxDrive(letter, disk);
    const folder = new URL(element("dosbox", HTMLElement).dataset.emulators ?? "", document.baseURI);
    const dos = await startDosbox({ [letter]: disk }, {
      emulators: await loadEmulators(new URL("emulators.js", folder).href, texts.missing ?? ""),
      scriptUrl: new URL(needsX ? dosboxXScript() : "wdosbox.js", folder),
      config: needsX ? X_CONFIG : "",
      commands: [`${letter}:`],
      onFailure: (failure) => this.#fail(failure),
    });
    if (this.#isOver) return void dos.exit();
    this.#dos = dos;
    this.#screen.connect(dos);
  }

  /** @param {DriveFailure} failure */
  #fail(failure) {
    if (this.#isOver) return failure.stop();
    const retry = () => {
      this.#failure = null;
      failure.retry();
    };
    this.#failure = failure;
    this.#screen.fail({ ...failure, retry });
  }

  /** Makes what it has written durable. */
  async flush() {
    await this.#disk?.flush?.();
  }

  /** Ends DOSBox, unless its writes cannot be made durable. */
  async stop() {
    await this.flush();
    this.#isOver = true;
    if (this.#failure) this.#failure.stop();
    else await this.#dos?.exit();
    await this.flush();
  }

  remove() {
    if (!this.#isOver) {
      this.#isOver = true;
      if (this.#failure) this.#failure.stop();
      else this.#dos?.exit().catch(() => {}); // its worker has ended
    }
    this.#screen.remove();
  }
}

/**
 * The object that `emulators.js` defines.
 * @param {string} url
 * @param {string} missing what to say if it is not there
 * @returns {Promise<Emulators>}
 */
async function loadEmulators(url, missing) {
  const scope = /** @type {{ emulators?: Emulators }} */ (globalThis);
  if (!scope.emulators) {
    const script = document.createElement("script");
    const loaded = new Promise((resolve) => {
      script.addEventListener("load", resolve, { once: true });
      script.addEventListener("error", resolve, { once: true });
    });
    script.src = url;
    document.head.append(script);
    await loaded;
    script.remove();
  }
  if (!scope.emulators) throw new Error(missing.replace("{url}", url));
  return scope.emulators;
}
