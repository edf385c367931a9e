/**
 * Saved machines: v86's memory, compressed, in this browser's private files. The disk's bytes are not
 * included; the header names the disk and the content that a machine belongs to.
 */

const FOLDER = ["aero-browser-disk", "states"];
const FORMAT = 1;

/**
 * @typedef {object} StateHeader
 * @property {number} format
 * @property {string} name as passed to `save`
 * @property {unknown[]} disk the disk's own state
 * @property {number} memoryBytes
 * @property {number} savedAt milliseconds since the epoch
 * @property {number} stateBytes before compression
 * @property {"hda" | "cdrom" | undefined} [drive] the disk's; states of earlier versions have none
 * @property {string | undefined} [entry] as in the options of `Boot`
 * @property {string | undefined} [address] as in the options of `Boot`
 * @property {string | undefined} [picture] a small picture of its screen, as a data URL
 */

/** A saved machine cannot be used: it is damaged, has another format, or was made with other settings. */
export class SavedStateError extends Error {
  name = "SavedStateError";
}

/**
 * Saves a machine and replaces the one saved under this name, which stays intact until then.
 * @param {string} name
 * @param {Pick<StateHeader, "disk" | "memoryBytes" | "drive" | "entry" | "address" | "picture">} facts
 * @param {ArrayBuffer} state the result of v86's `save_state`
 * @returns {Promise<StateHeader>}
 */
export async function saveState(name, facts, state) {
  const savedAt = Date.now();
  const header = { format: FORMAT, name, ...facts, savedAt, stateBytes: state.byteLength };
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = new Uint8Array(new Uint32Array([text.length]).buffer);
  const file = await (await folder()).getFileHandle(await fileName(name), { create: true });
  const target = await file.createWritable(); // replaces the file when it is closed
  await target.write(new Blob([length, text]));
  await new Blob([state]).stream().pipeThrough(new CompressionStream("gzip")).pipeTo(target);
  return header;
}

/**
 * The header of a saved machine. Null if there is none that can be read.
 * @param {string} name
 * @returns {Promise<StateHeader | null>}
 */
export async function findState(name) {
  const file = await stored(name);
  const found = file && (await readHeader(file));
  return found ? found.header : null;
}

/**
 * The name of the machine saved for a disk of this version. The version of a writable disk contains its revision,
 * which changes with each flush and with each session that writes.
 * @param {string} version
 */
export function stateName(version) {
  return version.replace(/\b(overlay|local):(\w+):[\w.]+/g, "$1:$2");
}

/**
 * The headers of all saved machines that can be read.
 * @returns {Promise<StateHeader[]>}
 */
export async function listStates() {
  const found = [];
  for await (const handle of (await folder()).values()) {
    if (handle.kind !== "file") continue;
    const file = await handle.getFile().catch(ignoreMissing); // removed meanwhile
    const read = file && (await readHeader(file));
    if (read) found.push(read.header);
  }
  return found;
}

/**
 * @param {string} name
 * @returns {Promise<ArrayBuffer>} rejects with a `SavedStateError`
 */
export async function loadState(name) {
  const file = await stored(name);
  const found = file && (await readHeader(file));
  if (!file || !found) throw new SavedStateError("No machine is saved for this disk.");
  const packed = file.slice(found.end).stream().pipeThrough(new DecompressionStream("gzip"));
  let state;
  try {
    state = await new Response(packed).arrayBuffer();
  } catch (error) {
    throw new SavedStateError("The saved machine is damaged.", { cause: error });
  }
  if (state.byteLength !== found.header.stateBytes) throw new SavedStateError("The saved machine is incomplete.");
  return state;
}

/**
 * Removes the machine saved under a name, if any.
 * @param {string} name
 */
export async function removeState(name) {
  await (await folder()).removeEntry(await fileName(name)).catch(ignoreMissing);
}

async function folder() {
  if (!navigator.storage?.getDirectory) {
    throw new SavedStateError("This browser offers no private file system (OPFS) here, so no machine can be saved.");
  }
  let found = await navigator.storage.getDirectory();
  for (const part of FOLDER) found = await found.getDirectoryHandle(part, { create: true });
  return found;
}

/** @param {string} name */
async function stored(name) {
  try {
    return await (await (await folder()).getFileHandle(await fileName(name))).getFile();
  } catch (error) {
    return ignoreMissing(error);
  }
}

/** @param {File} file @returns {Promise<{ header: StateHeader, end: number } | null>} */
async function readHeader(file) {
  const first = await file.slice(0, 4).arrayBuffer();
  if (first.byteLength < 4) return null;
  const end = 4 + (new Uint32Array(first)[0] ?? 0);
  try {
    const header = JSON.parse(await file.slice(4, end).text());
    return header.format === FORMAT ? { header, end } : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** A name may contain any characters, a file name may not. @param {string} name */
async function fileName(name) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(name));
  return Array.from(new Uint8Array(digest, 0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {unknown} error @returns {null} */
function ignoreMissing(error) {
  if (error instanceof DOMException && error.name === "NotFoundError") return null;
  throw error;
}
