// Machines in v86: a `Guest` is heard and talked to by its first serial port.
import { V86 } from "../v86/libv86.mjs";

const MEMORY = 256 << 20;
const LONGEST_MS = 900_000; // on a busy machine Debian may give its serial console up

/** A machine with all of its files, which does not run yet. */
export async function loadMachine(hda, memoryBytes) {
  const file = (name) => new URL(`../v86/${name}`, import.meta.url).href;
  const machine = new V86({
    wasm_path: file("v86.wasm"),
    bios: { url: file("bios.bin") },
    vga_bios: { url: file("vgabios-stdvga.bin") },
    hda,
    memory_size: memoryBytes,
    vga_memory_size: 8 << 20,
    disable_speaker: true,
    autostart: false,
  });
  await new Promise((resolve) => machine.add_listener("emulator-loaded", resolve));
  return machine;
}

export class Guest {
  #machine;
  /** What it said since the last call of `says`. */
  #said = "";
  #heard = () => {};
  reads = 0;
  readBytes = 0;

  constructor(machine) {
    this.#machine = machine;
  }

  /** Starts a machine; `attach` is called with it before it runs. */
  static async start(hda, attach) {
    const machine = await loadMachine(hda, MEMORY);
    attach(machine);
    const guest = new Guest(machine);
    machine.add_listener("ide-read-end", ([, bytes]) => {
      guest.reads += 1;
      guest.readBytes += bytes;
    });
    machine.add_listener("serial0-output-byte", (byte) => {
      guest.#said += String.fromCharCode(byte);
      guest.#heard();
    });
    await machine.run();
    return guest;
  }

  /** Waits until it says a text; returns what it said up to there. */
  async says(text) {
    let timer;
    try {
      return await new Promise((resolve, reject) => {
        const late = () => reject(new Error(`no "${text}" in time, only: ${this.#said.slice(-300)}`));
        timer = setTimeout(late, LONGEST_MS);
        this.#heard = () => {
          const end = this.#said.indexOf(text);
          if (end < 0) return;
          const said = this.#said.slice(0, end);
          this.#said = this.#said.slice(end + text.length);
          this.#heard = () => {};
          resolve(said);
        };
        this.#heard();
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Types on the serial port. */
  type(text) {
    this.#machine.serial0_send(text);
  }

  async end() {
    await this.#machine.destroy();
  }
}
