/** The messages between `emulators` on the page and DOSBox in its worker. */

/** @typedef {import("./dosbox-drives.mjs").DosboxDrive} DosboxDrive */

/**
 * A disk that could not be read or written to. DOSBox stands still until one of the two is called.
 * @typedef {object} DriveFailure
 * @property {string} letter of the drive
 * @property {string} name of the error
 * @property {string} message
 * @property {() => void} retry
 * @property {() => void} stop ends DOSBox
 */

/** Carries the messages between `emulators` on the page and DOSBox in the worker. */
export class WorkerTransport {
  sessionId = crypto.randomUUID();
  /** For `emulators`: there is no network. */
  net = null;
  #worker;
  /** @type {(name: string, props: object) => void} */
  #handler = () => {};
  /** @type {(reason: string) => void} */
  #fail = () => {};

  /**
   * @param {Worker} worker
   * @param {(failure: DriveFailure) => void} [onFailure]
   */
  constructor(worker, onFailure = ({ stop }) => stop()) {
    this.#worker = worker;
    /** Rejects if DOSBox does not start. @type {Promise<never>} */
    this.failed = new Promise((_, reject) => (this.#fail = (reason) => reject(new Error(`DOSBox did not start: ${reason}`))));
    this.failed.catch(() => {}); // also after DOSBox has started, when nobody waits
    worker.addEventListener("message", ({ data }) => {
      if (data.notStarted) this.#fail(data.notStarted);
      if (data.failure) onFailure(this.#failure(data.failure));
    });
    worker.addEventListener("error", ({ message }) => this.#fail(message || "its worker did not load."));
  }

  /**
   * @param {{ scriptUrl: string, wasmUrl: string, mounts: { drive: DosboxDrive, port: MessagePort | undefined }[] }} asked
   * @param {MessagePort[]} ports those of the mounts
   */
  start(asked, ports) {
    this.#worker.postMessage({ start: { sessionId: this.sessionId, ...asked } }, ports);
  }

  /** @param {(name: string, props: object) => void} handler */
  initMessageHandler(handler) {
    this.#handler = handler;
    this.#worker.addEventListener("message", ({ data }) => data.name && handler(data.name, data.props));
  }

  /** @param {{ letter: string, name: string, message: string, word: Int32Array }} failure @returns {DriveFailure} */
  #failure({ word, ...facts }) {
    const retry = () => {
      Atomics.store(word, 0, 1);
      Atomics.notify(word, 0);
    };
    // The worker cannot say that it ends: it stands still.
    const stop = () => {
      this.#fail(facts.message);
      this.#handler("ws-exit", { sessionId: this.sessionId });
    };
    return { ...facts, retry, stop };
  }

  /** @param {string} name @param {object} props @param {Transferable[]} [transfer] */
  sendMessageToServer(name, props, transfer = []) {
    this.#worker.postMessage({ name, props }, transfer);
  }

  exit() {
    this.#worker.terminate();
  }
}
