/**
 * The first requests for an image, sent while Python starts: at a first visit an image would otherwise
 * wait until Python has been downloaded.
 *
 * Only for an image with the user's consent, of which nothing is cached: its cache has no folder yet. These
 * are the requests that Python sends first, with the same method, address, headers and credentials. Python
 * gets the responses as if it had sent them, and checks them as always. Those of a prepared image are its
 * manifest, the document of its boot bundle and the bundle's parts, in order; those of any other image are
 * `HEAD` and the first block.
 */

/** @typedef {{ status: number, headers: Headers, body: ReadableStream<Uint8Array> | null }} PlainResponse */
/** @typedef {{ operation: string, values: Record<string, unknown>, functions: Record<string, number> }} Call */
/** @typedef {{ url: string, headers: Record<string, string>, credentials: RequestCredentials }} Address */

const ROOT = "aero-browser-disk";
const CACHES = "cache";
// What Python knows too: a test compares them.
export const DEFAULT_BLOCK_SIZE = 16 << 10;
export const MAX_MANIFEST = 64 << 10;
export const MAX_BUNDLE = 8 << 20;
export const MAX_REQUESTS = 2; // parts of a bundle at a time

const MAX_WAITING = 16 << 20; // bytes of the parts that wait for Python
const EXPIRES_S = 60; // an address that expires sooner may be renewed before Python uses it
const NAME = /^[0-9a-f]{64}$/;
/** With other options Python may begin with other requests. */
export const OPTIONS = new Set(
  ("url allowRemote cacheLimitBytes blockSize cacheKey headers credentials renew expiresAt timeoutS retry format " +
    "concurrency maxRequestBytes readAhead bootProfile digestsSha256 digestsKey overlay writeBase").split(" "),
);

/** The responses that Python has not asked for, by `keyOf`. @type {Map<string, EarlyResponse>} */
const waiting = new Map();

/**
 * `fetch`, unless the same request was sent early: then its response.
 * @param {string} url
 * @param {RequestInit} options `headers` are an object
 * @returns {Promise<PlainResponse>}
 */
export function fetchOrTake(url, options) {
  const key = waiting.size ? keyOf(url, options) : "";
  const early = waiting.get(key);
  if (!early) return fetch(url, options);
  waiting.delete(key);
  return early.take(options.signal ?? null);
}

/**
 * @param {string} url
 * @param {RequestInit} options
 */
function keyOf(url, { method = "GET", headers = {}, credentials }) {
  return JSON.stringify([method, url, credentials, Object.entries(headers).sort()]);
}

/** A response that is received before Python asks for it. */
class EarlyResponse {
  #controller = new AbortController();
  #onTake;
  /** @type {Promise<PlainResponse>} */
  #response;
  /** The body in chunks once all of it is there; null without success. @type {Promise<Uint8Array<ArrayBuffer>[] | null>} */
  whole;

  /**
   * @param {string} url
   * @param {RequestInit} options
   * @param {number} maxBytes of the body; Python gives up on more as well
   * @param {() => void} onTake called when Python asks for it
   */
  constructor(url, options, maxBytes, onTake) {
    this.#onTake = onTake;
    const { signal } = this.#controller;
    /** @type {(chunks: Uint8Array<ArrayBuffer>[] | null) => void} */
    let ended = () => {};
    this.whole = new Promise((resolve) => (ended = resolve));
    this.#response = fetch(url, { ...options, signal }).then(({ ok, status, headers, body }) => {
      if (!body) ended(ok ? [] : null);
      const chunksWhere = (/** @type {Uint8Array<ArrayBuffer>[] | null} */ chunks) => ended(ok ? chunks : null);
      return { status, headers, body: body && this.#received(body.getReader(), maxBytes, chunksWhere) };
    });
    this.#response.catch(() => ended(null));
  }

  /** The response when its headers are there; null if there is none. */
  get response() {
    return this.#response.catch(() => null);
  }

  /**
   * @param {AbortSignal | null} signal of the request that Python sends
   * @returns {Promise<PlainResponse>} rejects as `fetch`
   */
  take(signal) {
    this.#onTake();
    if (signal?.aborted) this.abort();
    signal?.addEventListener("abort", () => this.abort());
    return this.#response;
  }

  abort() {
    this.#controller.abort();
  }

  /**
   * The body as a stream that is filled at once, whether it is read or not.
   * @param {ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>} reader
   * @param {number} maxBytes
   * @param {(chunks: Uint8Array<ArrayBuffer>[] | null) => void} ended
   * @returns {ReadableStream<Uint8Array<ArrayBuffer>>}
   */
  #received(reader, maxBytes, ended) {
    const fill = async (/** @type {ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>} */ stream) => {
      try {
        const chunks = [];
        let left = maxBytes;
        for (let next = await reader.read(); !next.done && left >= 0; next = await reader.read()) {
          chunks.push(next.value);
          stream.enqueue(next.value);
          left -= next.value.length;
        }
        stream.close();
        ended(left < 0 ? null : chunks);
        if (left < 0) this.abort();
      } catch (error) {
        ended(null);
        stream.error(error);
      }
    };
    return new ReadableStream({ start: (stream) => void fill(stream), cancel: () => this.abort() });
  }
}

/** The early requests of one call that opens a disk. */
export class EarlyRequests {
  /** @type {Map<string, EarlyResponse>} */
  #sent = new Map();
  #isPythonAtWork = false;
  #hasParts = false;
  #isOver = false;

  /** @param {Call} call @returns {EarlyRequests | null} null if it sends none */
  static of(call) {
    const address = addressOf(call);
    return address && new EarlyRequests(address, call.values);
  }

  /**
   * @param {Address} address
   * @param {Record<string, unknown>} values
   */
  constructor(address, values) {
    /** Resolves when it sends no more requests. @type {Promise<void>} */
    this.done = this.#send(address, values).catch(() => {}); // whatever it was: Python sends its own requests
  }

  /** Python begins with the call: it sends the next requests itself, except parts of a bundle that is on its way. */
  pythonBegins() {
    this.#isPythonAtWork = true;
  }

  /** Aborts what Python did not ask for. */
  end() {
    this.#isOver = true;
    for (const [key, early] of this.#sent) {
      if (waiting.get(key) !== early) continue;
      waiting.delete(key);
      early.abort();
    }
  }

  /**
   * @param {Address} address
   * @param {Record<string, unknown>} values
   */
  async #send(address, values) {
    if (await hasCache(/** @type {string} */ (values.cacheKey) || address.url)) return;
    const { pathname } = new URL(address.url);
    const { format = "auto" } = values;
    if (format === "prepared" || (format === "auto" && pathname.endsWith(".json"))) {
      await this.#sendPrepared(address, values.blockSize);
    } else if (!pathname.toLowerCase().endsWith(".cue")) {
      await this.#sendFirstBlock(address, values.blockSize, format === "auto" || format === "raw");
    }
  }

  /**
   * @param {Address} address
   * @param {unknown} blockSize
   */
  async #sendPrepared(address, blockSize) {
    const { boot } = await parsed(this.#get(address, address.url, MAX_MANIFEST));
    if (!boot) return;
    const bundle = await parsed(this.#get(address, urlOfFile(address, boot), MAX_BUNDLE));
    if (Number(blockSize ?? DEFAULT_BLOCK_SIZE) > bundle.block_size) return;
    const parts = bundle.parts.values();
    let bytes = 0;
    const next = async () => {
      for (const part of parts) {
        bytes += part.length;
        if (!(bytes <= MAX_WAITING && (await this.#sendPart(address, part)))) return;
      }
    };
    await Promise.all(Array.from({ length: MAX_REQUESTS }, next));
  }

  /**
   * @param {Address} address
   * @param {{ sha256: string, length: number }} part
   */
  async #sendPart(address, part) {
    // When Python asks for the first one, it sends the rest.
    const early = this.#get(address, urlOfFile(address, part), part.length, () => (this.#isOver = true));
    this.#hasParts ||= early !== null;
    return early?.whole;
  }

  /**
   * @param {Address} address
   * @param {unknown} blockSize
   * @param {boolean} readsBlock
   */
  async #sendFirstBlock(address, blockSize, readsBlock) {
    const response = await this.#request("HEAD", address, address.url, {}, 0)?.response;
    if (response?.status !== 200 || !readsBlock) return;
    const { headers } = response;
    const length = Number(headers.get("content-length") ?? 0);
    const encoding = headers.get("content-encoding") ?? "identity";
    if (!(length > 0) || encoding !== "identity" || headers.get("accept-ranges") === "none") return;
    const last = Math.min(Number(blockSize ?? DEFAULT_BLOCK_SIZE), length) - 1;
    this.#request("GET", address, address.url, { Range: `bytes=0-${last}` }, last + 1);
  }

  /**
   * @param {Address} address
   * @param {string} url
   * @param {number} maxBytes
   * @param {() => void} [onTake]
   */
  #get(address, url, maxBytes, onTake) {
    return this.#request("GET", address, url, {}, maxBytes, onTake);
  }

  /**
   * Sends a request, unless Python is at work by now.
   * @param {"GET" | "HEAD"} method
   * @param {Address} address
   * @param {string} url
   * @param {Record<string, string>} headers
   * @param {number} maxBytes
   * @param {() => void} [onTake]
   * @returns {EarlyResponse | null}
   */
  #request(method, address, url, headers, maxBytes, onTake = () => {}) {
    if (this.#isOver || (this.#isPythonAtWork && !this.#hasParts)) return null;
    const options = /** @type {RequestInit} */ ({
      method,
      headers: { ...address.headers, ...headers },
      credentials: address.credentials,
      cache: "no-store",
      referrerPolicy: "no-referrer",
    });
    const key = keyOf(url, options);
    if (waiting.has(key)) return null; // another call opens the same image
    const early = new EarlyResponse(url, options, maxBytes, () => {
      this.#sent.delete(key);
      onTake();
    });
    waiting.set(key, early);
    this.#sent.set(key, early);
    return early;
  }
}

/**
 * Where the call opens an image, and how to ask for it; null if there is nothing that can be known before
 * Python runs.
 * @param {Call} call
 * @returns {Address | null}
 */
function addressOf({ operation, values, functions }) {
  const { url, allowRemote, headers = {}, credentials = "same-origin", expiresAt, blockSize = DEFAULT_BLOCK_SIZE } = values;
  if (operation !== "disk.open" || allowRemote !== true || typeof url !== "string") return null;
  if (!Object.values(headers ?? {}).every((value) => typeof value === "string")) return null;
  if (!Object.keys(values).every((name) => OPTIONS.has(name)) || !Number.isInteger(blockSize)) return null;
  if (functions.renew && expiresAt !== undefined && Number(expiresAt) < Date.now() / 1000 + EXPIRES_S) return null;
  // Python would write any other address differently.
  const { href, protocol, username, password } = new URL(url);
  if (href !== url || !/^https?:$/.test(protocol) || username || password || /#|\?$/.test(url)) return null;
  const address = { url, headers, credentials };
  return /** @type {Address} */ (address);
}

/**
 * The folder of an image's cache, as `cache_path` in Python names it, from the root of the private storage.
 * @param {string} identity the image's `cacheKey`, or its address
 */
export async function cacheFolderOf(identity) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(identity));
  const hex = Array.from(new Uint8Array(digest, 0, 16), (byte) => byte.toString(16).padStart(2, "0"));
  return [ROOT, CACHES, hex.join("")];
}

/** @param {string} identity of an image */
async function hasCache(identity) {
  let folder = await navigator.storage.getDirectory();
  try {
    for (const name of await cacheFolderOf(identity)) folder = await folder.getDirectoryHandle(name);
    return true;
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotFoundError") return false;
    throw error;
  }
}

/**
 * The address of a file of a prepared image.
 * @param {Address} address of its manifest
 * @param {{ sha256: string }} file
 */
function urlOfFile({ url }, { sha256 }) {
  if (!NAME.test(sha256)) throw new Error("not a SHA-256");
  const { search } = new URL(url);
  return new URL(`chunks/${sha256.slice(0, 2)}/${sha256}${search}`, url).href;
}

/** @param {EarlyResponse | null} early @returns {Promise<any>} its document; Python says what is wrong with it */
async function parsed(early) {
  const chunks = await early?.whole;
  if (!chunks) throw new Error("no document");
  return JSON.parse(await new Blob(chunks).text());
}
