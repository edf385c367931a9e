/**
 * Operations of the disk worker whose caller blocks until the result is there. A blocked thread takes no
 * messages, so the worker puts the result into memory that came with the call.
 *
 *     word 0   state: 0 waiting, 1 done, 2 the result does not fit
 *     word 1   bytes of the result as JSON
 *     word 2   bytes that follow the JSON: the value, if it is a Uint8Array
 *     byte 16  the JSON, then those bytes
 */

/** @typedef {{ value?: unknown, error?: import("./disk-error.mjs").Failure }} Result */

const STATE = 0;
const JSON_LENGTH = 1;
const BYTES_LENGTH = 2;
const HEADER = 16;
const WAITING = 0;
const DONE = 1;
const TOO_LONG = 2;
const CHECK_AGAIN_MS = 1000;

/**
 * The memory of a call.
 * @param {number} length of the expected result, in bytes
 */
export function callMemory(length) {
  return new SharedArrayBuffer(HEADER + length);
}

/**
 * Puts the result of a call into its memory, and wakes the caller.
 * @param {SharedArrayBuffer} memory
 * @param {Result} result
 */
export function putResult(memory, { value, error }) {
  const words = new Int32Array(memory, 0, HEADER / 4);
  const bytes = value instanceof Uint8Array ? value : new Uint8Array(0);
  const json = new TextEncoder().encode(JSON.stringify(error ? { error } : value instanceof Uint8Array ? {} : { value: value ?? null }));
  words[JSON_LENGTH] = json.length;
  words[BYTES_LENGTH] = bytes.length;
  const fits = HEADER + json.length + bytes.length <= memory.byteLength;
  if (fits) {
    const target = new Uint8Array(memory, HEADER);
    target.set(json);
    target.set(bytes, json.length);
  }
  Atomics.store(words, STATE, fits ? DONE : TOO_LONG);
  Atomics.notify(words, STATE);
}

/**
 * Blocks until the result is in the memory.
 * @param {SharedArrayBuffer} memory
 * @param {() => void} checkOpen throws if nobody will put a result there
 * @returns {Result | number} the result; or the bytes that it needs, if they are more than the memory has
 */
export function awaitResult(memory, checkOpen) {
  const words = new Int32Array(memory, 0, HEADER / 4);
  while (Atomics.load(words, STATE) === WAITING) {
    if (Atomics.wait(words, STATE, WAITING, CHECK_AGAIN_MS) === "timed-out") checkOpen();
  }
  const [state, jsonLength, length] = /** @type {[number, number, number]} */ (/** @type {unknown} */ (words));
  if (state === TOO_LONG) return jsonLength + length;
  const found = new Uint8Array(memory, HEADER, jsonLength + length).slice(); // TextDecoder takes no shared memory
  const result = JSON.parse(new TextDecoder().decode(found.subarray(0, jsonLength)));
  return "value" in result || result.error ? result : { value: found.slice(jsonLength) };
}
