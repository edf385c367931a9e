/**
 * A page component that boots an open disk in a machine: screen, keyboard, controls, and choices when the
 * disk fails.
 *
 *     import { Boot } from "./boot.mjs";
 *     const boot = new Boot(container, { disk });
 *     await boot.start();
 *
 * It creates these elements in `container`. The page styles them, with a monospaced font for the screen.
 * All texts are in `TEXTS` of boot-view.mjs.
 *
 *     .boot [data-state=off|starting|running|waiting|failed|paused|saving]
 *       .boot-screen               takes the keyboard while it has the focus; Ctrl+Alt+G leaves it
 *         .boot-text               the text mode: a div for each row, spans of letters with colours
 *         canvas.boot-graphics     the graphics mode
 *       .boot-failure [role=alert] what failed; empty if nothing did
 *         strong, p, button.boot-retry, button.boot-refuse
 *       .boot-bar [role=group]
 *         button.boot-start, .boot-pause, .boot-resume, .boot-save, .boot-stop
 *         button.boot-keys, .boot-secure (Ctrl+Alt+Del), .boot-fullscreen, .boot-mouse, .boot-mute
 *         label > select.boot-speed
 *         .boot-light [data-on=read|write|""]   lit while the guest reads or writes
 *         .boot-pace               the machine's speed, in millions of instructions a second
 *       .boot-status [role=status] what the machine is doing, in a sentence
 *       label.boot-typing > textarea.phone_keyboard   for screens without keys
 *
 * Events: "state" (`boot.state` has changed), "activity" (DiskActivityEvent: kind, offset, length).
 *
 * The page's Content-Security-Policy must allow `'wasm-unsafe-eval'` and `worker-src blob:` (v86 runs its
 * clock in such a worker). v86 and the BIOS files are loaded from `v86/` next to this module, or from the
 * URLs in the options. The demo puts them there; `scripts/build` does not, because the licences of v86
 * (BSD-2-Clause) and SeaBIOS (LGPL-3.0) have conditions for redistribution.
 *
 * @module boot.mjs
 */

import { BootView, TEXTS, makeScreen } from "./boot-view.mjs";
import { MachineInput } from "./machine-input.mjs";
import { pictureOf, thumbnailOf } from "./machine-picture.mjs";
import { findState, loadState, removeState, saveState, stateName } from "./machine-states.mjs";
import { buildMachine } from "./v86-build.mjs";
import { MachineHold, Pace } from "./v86-machine.mjs";
import { MachineSound } from "./v86-sound.mjs";
import { DiskActivityEvent, StateMismatchError, v86Disk } from "./v86-disk.mjs";

/**
 * @typedef {import("./v86-machine.mjs").V86} V86
 * @typedef {import("./v86-disk.mjs").BlockDisk} BlockDisk
 * @typedef {import("./machine-states.mjs").StateHeader} StateHeader
 * @typedef {import("./v86-disk.mjs").V86Disk} V86Disk
 * @typedef {import("./boot-view.mjs").State} State
 *
 * @typedef {new (options: any) => V86} EmulatorClass
 * @typedef {{ state: Event, activity: DiskActivityEvent }} BootEvents
 *
 * @typedef {object} BootOptions
 * @property {BlockDisk} disk the disk to boot; the component does not close it
 * @property {"hda" | "cdrom" | undefined} [drive] by default from the sector size
 * @property {string | undefined} [name] the name of its saved machine; by default the disk's
 * @property {string | undefined} [address] kept with its saved machine, to open its image again: without secrets
 * @property {string | undefined} [entry] kept with its saved machine, for a list of them: the disk's id in the library
 * @property {number | undefined} [memoryBytes] the machine's memory, 256 MiB by default; a power of two
 * @property {EmulatorClass | undefined} [V86] v86's class: `import { V86 } from "v86"`
 * @property {string | URL | undefined} [wasmUrl] v86's `v86.wasm`
 * @property {string | URL | undefined} [biosUrl] `bios.bin` of SeaBIOS
 * @property {string | URL | undefined} [vgaBiosUrl] `vgabios-stdvga.bin` of SeaBIOS; not its `vgabios.bin`
 * @property {string | URL | undefined} [filesUrl] the folder with those of the four that are not given, and with
 *   `libv86.mjs` for the class; ends with `/`
 * @property {number | undefined} [patienceMs] as for `v86Disk`
 * @property {((action: "start" | "stop") => Promise<boolean>) | undefined} [confirm] asked before one of the
 *   component's buttons loses something: "stop" what is open in the machine, "start" the saved machine, which
 *   fits its disk only until another one writes to it. False: nothing is done. Without it nothing is asked, as
 *   when the methods are called
 * @property {Partial<typeof TEXTS> | undefined} [texts]
 */

const MEMORY = 256 << 20;
const CD_SECTOR = 2048;
const PACE_MS = 1000;
const KEY_MS = 30; // guests read the keyboard seldom, and its buffer is short

export class Boot extends /** @type {import("../lib/typed-events.mjs").TypedEvents<BootEvents>} */ (EventTarget) {
  #options;
  #texts;
  #view;
  #input;
  /** @type {State} */
  #state = "off";
  /** @type {{ machine: V86, disk: V86Disk, pace: Pace, sound: MachineSound } | null} */
  #running = null;
  #note = "";
  #givesUp = false;
  #isSaved = false;
  #isSaving = false;
  #isMuted = false;
  #end = new AbortController();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #paceTimer;

  /**
   * @param {HTMLElement} container
   * @param {BootOptions} options
   */
  constructor(container, options) {
    super();
    this.#options = options;
    this.#texts = { ...TEXTS, ...options.texts };
    this.#view = new BootView(container, this.#texts);
    this.#input = new MachineInput(this.#view, () => this.machine);
    this.#listen();
    this.#lookForSaved();
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  /** The emulator, or null while the machine is off. */
  get machine() {
    return this.#running?.machine ?? null;
  }

  /** Whether switching it off would lose what is open in the machine: it is on, and not as it was saved. */
  get losesState() {
    return this.#running !== null && !this.#isSaved;
  }

  /** The rows of the screen in text mode. */
  get screenText() {
    const adapter = /** @type {any} */ (this.machine)?.screen_adapter;
    return /** @type {string[]} */ (adapter?.get_text_screen() ?? []);
  }

  /** Switches the machine on. Rejects with the error, which the page shows too. */
  async start() {
    if (this.#state !== "off") return;
    await this.#switchOn(async () => {});
  }

  /** Stops the machine where it is. */
  async pause() {
    if (!this.#running) return;
    await MachineHold.of(this.#running.machine).hold(this);
    this.#update();
  }

  /** Resumes the paused machine, or else the one saved for this disk. */
  async resume() {
    if (this.#running) {
      this.#isSaved = false;
      await MachineHold.of(this.#running.machine).release(this);
      this.#note = "";
      return this.#update();
    }
    await this.#switchOn(async (machine, disk) => {
      const saved = await this.saved();
      if (saved) disk.set_state(saved.disk); // v86 itself would only notice halfway through restoring
      if (saved && saved.memoryBytes !== this.#memory) {
        throw new StateMismatchError(`The saved machine has ${saved.memoryBytes >> 20} MiB of memory.`);
      }
      await machine.restore_state(await loadState(this.#name));
    });
  }

  /**
   * Saves the machine so that it can be resumed after a reload, and pauses it. If it continues and writes
   * to its disk, the saved machine no longer fits and is refused.
   */
  async save() {
    if (!this.#running) throw new Error(this.#texts.off);
    const { machine, disk } = this.#running;
    if (disk.failures.length) throw new Error(this.#texts.failed);
    this.#isSaving = true;
    this.#become("saving");
    try {
      await MachineHold.of(machine).hold(this);
      await disk.flushForState();
      const picture = await thumbnailOf(machine).catch(() => ""); // such as a policy without `img-src data:`
      const { entry, address } = this.#options;
      const facts = { disk: disk.get_state(), memoryBytes: this.#memory, drive: this.#drive, entry, address, picture };
      await saveState(this.#name, facts, await machine.save_state());
      this.#isSaved = true;
      this.#note = this.#texts.saved;
    } catch (error) {
      this.#view.showFailure(this.#texts.saveFailed, messageOf(error));
      throw error;
    } finally {
      this.#isSaving = false;
      this.#update();
    }
  }

  /**
   * Types on the machine's keyboard, which is an American one, as long as the screen has the focus. Characters that
   * it lacks are left out.
   * @param {string} text
   */
  async type(text) {
    if (!this.machine) throw new Error(this.#texts.off);
    this.#view.parts.screen.focus(); // v86 takes keys only then
    await this.machine.keyboard_send_text(text.replaceAll("\r\n", "\n"), KEY_MS);
  }

  /**
   * The screen as a picture. Rejects while the machine is off, and where the page's policy forbids `img-src data:`.
   * @returns {Promise<HTMLCanvasElement>}
   */
  async screenshot() {
    if (!this.machine) throw new Error(this.#texts.off);
    return pictureOf(this.machine);
  }

  /** The header of the saved machine, with `savedAt` and a small `picture` of its screen, or null. */
  saved() {
    return findState(this.#name);
  }

  /** Deletes the saved machine. */
  async forget() {
    await removeState(this.#name);
    this.#view.showSaved(false);
  }

  /**
   * Makes the machine's writes durable and switches it off. Failed writes are lost. If the flush fails,
   * the first call rejects and the machine stays on.
   */
  async stop() {
    if (!this.#running) return;
    const { machine, disk, sound } = this.#running;
    await MachineHold.of(machine).hold(this);
    if (!disk.failures.length && !this.#givesUp) await this.#flushLast(disk);
    this.#givesUp = this.#isSaved = false;
    this.#running = null;
    clearInterval(this.#paceTimer);
    sound.close();
    await machine.destroy();
    this.#note = "";
    this.#become("off");
    await this.#lookForSaved();
  }

  /** @param {V86Disk} disk */
  async #flushLast(disk) {
    try {
      await disk.flush();
    } catch (error) {
      this.#givesUp = true;
      this.#update();
      this.#view.showFailure(this.#texts.flushFailed, `${messageOf(error)} ${this.#texts.giveUp}`);
      throw error;
    }
  }

  /**
   * Switches the machine off, even if its disk is closed, and removes its elements. No writes are lost if
   * it is called before the disk is closed.
   */
  async dispose() {
    this.#end.abort();
    await this.stop().catch(() => this.stop());
    this.#view.parts.root.remove();
  }

  get #memory() {
    return this.#options.memoryBytes ?? MEMORY;
  }

  get #drive() {
    return this.#options.drive ?? (this.#options.disk.sectorSize === CD_SECTOR ? "cdrom" : "hda");
  }

  get #name() {
    return this.#options.name ?? stateName(this.#options.disk.version);
  }

  // ── the machine ─────────────────────────────────────────────────────────────────────────────────

  /** @param {(machine: V86, disk: V86Disk) => Promise<void>} prepare */
  async #switchOn(prepare) {
    this.#become("starting");
    this.#view.showFailure();
    /** @type {V86 | null} */
    let machine = null;
    try {
      const { disk: image, patienceMs } = this.#options;
      const disk = await v86Disk(image, { patienceMs });
      this.#end.signal.throwIfAborted();
      const newScreen = () => makeScreen(this.#view.parts.screen);
      machine = await buildMachine(disk, this.#drive, this.#memory, newScreen, this.#options);
      const sound = new MachineSound(machine);
      sound.isMuted = this.#isMuted;
      await prepare(machine, disk);
      this.#end.signal.throwIfAborted(); // disposed of meanwhile: it must not run on
      this.#running = { machine, disk, pace: new Pace(machine), sound };
      this.#watch(machine, disk);
      await MachineHold.of(machine).run();
      this.#input.begin();
      this.#setSpeed();
      this.#update();
    } catch (error) {
      this.#running?.sound.close();
      await machine?.destroy();
      this.#running = null;
      this.#become("off");
      this.#view.showFailure(this.#texts.startFailed, messageOf(error));
      throw error;
    }
  }

  /** @param {V86} machine @param {V86Disk} disk */
  #watch(machine, disk) {
    disk.addEventListener("activity", (event) => {
      this.#view.light(event.kind);
      this.dispatchEvent(new DiskActivityEvent(event.kind, event.offset, event.length));
    });
    for (const type of /** @type {const} */ (["waiting", "arrived", "failure"])) disk.addEventListener(type, () => this.#update());
    disk.addEventListener("refused", ({ failure }) => {
      this.#note = `${this.#texts.refused} ${failure.message}`;
      this.#view.show(this.#state, this.#note);
    });
    let before = machine.get_instruction_counter();
    this.#paceTimer = setInterval(() => {
      const now = machine.get_instruction_counter();
      const millions = ((now - before) >>> 0) / (PACE_MS * 1000); // the counter has 32 bits
      before = now;
      this.#view.showPace(this.#state === "running" ? millions : null);
    }, PACE_MS);
  }

  // ── controls ────────────────────────────────────────────────────────────────────────────────────

  #listen() {
    const { speed, start, pause, resume, save, stop, mute, retry, refuse } = this.#view.parts;
    const act = (/** @type {HTMLElement} */ button, /** @type {() => Promise<void>} */ action) =>
      button.addEventListener("click", () => void action.call(this).catch(() => {})); // the page shows it
    act(start, async () => {
      if (await this.#mayLose("start")) await this.start();
    });
    act(pause, this.pause);
    act(resume, this.resume);
    act(save, this.save);
    act(stop, async () => {
      if (await this.#mayLose("stop")) await this.stop();
    });
    retry.addEventListener("click", () => {
      this.#view.showFailure();
      this.#running?.disk.retry();
      this.#update();
    });
    refuse.addEventListener("click", () => this.#refuse());
    speed.addEventListener("change", () => this.#setSpeed());
    mute.addEventListener("click", () => this.#mute(!this.#isMuted));
    const { signal } = this.#end;
    document.addEventListener("visibilitychange", () => this.#flushHidden(), { signal });
  }

  /** Whether the user agrees to what is lost, if anything is. @param {"start" | "stop"} action */
  async #mayLose(action) {
    const { confirm, disk } = this.#options;
    const loses = action === "stop" ? this.losesState : !disk.readOnly && (await this.saved().catch(() => null));
    return !confirm || !loses || confirm(action);
  }

  /** The browser may end a hidden page at any time. */
  #flushHidden() {
    const disk = this.#running?.disk;
    if (document.hidden && disk && !disk.failures.length) disk.flush().catch(() => {}); // tried again soon
  }

  #refuse() {
    for (const failure of this.#running?.disk.failures ?? []) if (failure.canRefuse) failure.refuse();
    this.#update();
  }

  #setSpeed() {
    if (this.#running) this.#running.pace.share = Number(this.#view.parts.speed.value) / 100;
  }

  /** @param {boolean} is */
  #mute(is) {
    this.#isMuted = is;
    if (this.#running) this.#running.sound.isMuted = is;
    this.#view.showMuted(is);
  }

  // ── state ───────────────────────────────────────────────────────────────────────────────────────

  async #lookForSaved() {
    const saved = await this.saved().catch(() => null); // nothing is saved where saving is impossible
    this.#view.showSaved(saved !== null);
  }

  /** Updates the state from the machine. */
  #update() {
    if (!this.#running) return;
    const { machine, disk } = this.#running;
    const failure = disk.failures[0];
    const hold = MachineHold.of(machine);
    if (failure) this.#become("failed");
    else if (this.#isSaving) this.#become("saving");
    else if (hold.isHeldBy(this)) this.#become("paused");
    else this.#become(hold.isHeld ? "waiting" : "running");
    if (failure) this.#view.showDiskFailure(failure);
    else this.#view.hideDiskFailure();
  }

  /** @param {State} state */
  #become(state) {
    const changed = state !== this.#state;
    this.#state = state;
    this.#view.show(state, this.#note);
    if (changed) this.dispatchEvent(new Event("state"));
  }
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
