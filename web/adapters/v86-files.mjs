/**
 * Loads and checks the files that v86 needs: with a missing or wrong BIOS v86 shows a black screen and
 * reports no error.
 */

/**
 * Relative URLs are relative to the page. All three files have to be on your site: the first is in v86's
 * package, the others are in SeaBIOS.
 * @typedef {object} V86FileUrls
 * @property {string | URL} wasmUrl v86's `v86.wasm`
 * @property {string | URL} biosUrl `bios.bin` of SeaBIOS
 * @property {string | URL} vgaBiosUrl `vgabios-stdvga.bin` of SeaBIOS; not its `vgabios.bin`
 */

/**
 * What `new V86({ …files })` takes.
 * @typedef {object} V86Files
 * @property {(imports: WebAssembly.Imports) => Promise<WebAssembly.Exports>} wasm_fn
 * @property {{ buffer: ArrayBuffer }} bios
 * @property {{ buffer: ArrayBuffer }} vga_bios
 */

/** A file that v86 needs is missing or is the wrong one. `url` names it. */
export class EmulatorFileError extends Error {
  name = "EmulatorFileError";

  /** @internal @param {string} url @param {string} problem @param {ErrorOptions} [options] */
  constructor(url, problem, options) {
    super(`${url} ${problem}`, options);
    this.url = url;
  }
}

const BIOS = "bios.bin of SeaBIOS (Debian's package seabios has it)";
const VGA_BIOS = "vgabios-stdvga.bin of SeaBIOS (Debian's package seabios has it)";
const WASM = "v86.wasm of the npm package v86";
const BIOS_SIZES = [64 << 10, 128 << 10, 256 << 10];
/** The graphics card of v86, by vendor and device (PCI Firmware 3.0, §5.1.2, has the structure). */
const CARD = [0x1234, 0x1111];

/**
 * Loads v86's program and the two parts of a BIOS, for the options of `new V86`.
 * @param {V86FileUrls} urls
 * @returns {Promise<V86Files>} rejects with an `EmulatorFileError`
 */
export async function v86Files({ wasmUrl, biosUrl, vgaBiosUrl }) {
  const [wasm, bios, vgaBios] = await Promise.all([
    load(wasmUrl, WASM, (response) => WebAssembly.compileStreaming(response)),
    load(biosUrl, BIOS, (response) => response.arrayBuffer()),
    load(vgaBiosUrl, VGA_BIOS, (response) => response.arrayBuffer()),
  ]);
  if (!isBios(bios)) throw new EmulatorFileError(String(biosUrl), `is not a BIOS. The machine needs ${BIOS}.`);
  const problem = problemOfVgaBios(new DataView(vgaBios), isSeaBios(bios));
  if (problem) throw new EmulatorFileError(String(vgaBiosUrl), `${problem} The machine needs ${VGA_BIOS}.`);
  const wasm_fn = async (/** @type {WebAssembly.Imports} */ imports) =>
    (await WebAssembly.instantiate(wasm, imports)).exports;
  return { wasm_fn, bios: { buffer: bios }, vga_bios: { buffer: vgaBios } };
}

/**
 * @template T
 * @param {string | URL} url
 * @param {string} what
 * @param {(response: Response) => Promise<T>} use
 * @returns {Promise<T>}
 */
async function load(url, what, use) {
  const address = new URL(url, globalThis.document?.baseURI);
  try {
    const response = await fetch(address);
    if (!response.ok) throw new Error(`status ${response.status}`);
    return await use(response);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new EmulatorFileError(address.href, `did not load (${reason}). It has to be ${what}.`, { cause: error });
  }
}

/**
 * Whether it has a far jump where an x86 processor starts, 16 bytes before the end.
 * @param {ArrayBuffer} file
 */
function isBios(file) {
  return BIOS_SIZES.includes(file.byteLength) && new Uint8Array(file).at(-16) === 0xea;
}

/** @param {ArrayBuffer} bios */
function isSeaBios(bios) {
  return new TextDecoder("latin1").decode(bios).includes("SeaBIOS");
}

/**
 * SeaBIOS runs a card's BIOS if it names the card. The BIOS for ISA cards names none, so the screen would
 * stay black.
 * @param {DataView} file
 * @param {boolean} mustName whether it has to name v86's card
 */
function problemOfVgaBios(file, mustName) {
  if (file.byteLength < 0x1a || file.getUint16(0) !== 0x55aa) return "is not a BIOS of a graphics card.";
  const at = file.getUint16(0x18, true);
  const names = at > 0 && at + 8 <= file.byteLength && file.getUint32(at) === 0x50434952; // "PCIR"
  const card = names ? [file.getUint16(at + 4, true), file.getUint16(at + 6, true)] : [];
  if (!mustName || String(card) === String(CARD)) return null;
  return names ? "is for another graphics card." : "is for an ISA card, which v86 does not have.";
}
