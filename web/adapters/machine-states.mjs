/**
 * Saved machines: what v86 has in memory, compressed, in this browser's private files. The disk's
 * bytes are not among it; the header says which disk with which content a machine belongs to.
 */

const FOLDER = ["aero-browser-disk", "states"];
const FORMAT = 1;

/**
 * @typedef {object} StateHeader
 * @property {number} format
 * @property {string} name of what was saved, as `save` had it
 * @property {unknown[]} disk what the disk said of itself
 * @property {number} memoryBytes
 * @property {number} savedAt milliseconds since the epoch
 * @property {number} stateBytes before compression
 */

/** A saved machine cannot be used: it is damaged, of another version, or was made with other settings. */
export class SavedStateError extends Error {
  name = "SavedStateError";
}

/**
 * Saves a machine in place of the one saved under this name before, which stays whole until this one is.
 * @param {string} name
 * @param {Pick<StateHeader, "disk" | "memoryBytes">} facts
 * @param {ArrayBuffer} state what v86's `save_state` gave
 * @returns {Promise<StateHeader>}
 */
export async function saveState(name, facts, state) {
  const savedAt = Date.now();
  const header = { format: FORMAT, name, ...facts, savedAt, stateBytes: state.byteLength };
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = new Uint8Array(new Uint32Array([text.length]).buffer);
  const file = await (await folder()).getFileHandle(await fileName(name), { create: true });
  const target = await file.createWritable(); // takes the file's place when it is closed
  await target.write(new Blob([length, text]));
  await new Blob([state]).stream().pipeThrough(new CompressionStream("gzip")).pipeTo(target);
  return header;
}

/**
 * What is saved under a name, without its content. Null if there is nothing that can be read.
 * @param {string} name
 * @returns {Promise<StateHeader | null>}
 */
export async function findState(name) {
  const file = await stored(name);
  const found = file && (await readHeader(file));
  return found ? found.header : null;
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
 * Forgets what is saved under a name, if anything is.
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

/** A name may hold anything, a file's name not. @param {string} name */
async function fileName(name) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(name));
  return Array.from(new Uint8Array(digest, 0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {unknown} error @returns {null} */
function ignoreMissing(error) {
  if (error instanceof DOMException && error.name === "NotFoundError") return null;
  throw error;
}
