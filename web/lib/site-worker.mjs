/**
 * The site's service worker (see `offline.mjs`): after the first visit the site opens without the
 * network, and it is cross-origin isolated on servers that cannot send the two headers.
 *
 * With a network, every file comes from the server. The files in `manifest.json` are cached, one whole
 * build at a time: a new build is fetched separately, each file is checked against its digest, and only
 * then is the old build deleted. Nothing else is cached, least of all bytes of images: requests to other
 * origins, range requests and anything but GET are ignored.
 */

/** Not a module: not every browser runs module service workers. */
const worker = /** @type {any} */ (self);
const CACHES = `aero-browser-disk ${worker.registration.scope} `;
const MANIFEST = "manifest.json";
/** Files that a browser requests under another URL or not at all, and files for developers. */
const NOT_KEPT = /\.(br|gz|map|d\.mts)$|^(api|guide)\//;
const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

/** @typedef {{ build: string, files: Record<string, { bytes: number, sha256: string }> }} Manifest */

worker.addEventListener("install", (/** @type {any} */ event) => {
  worker.skipWaiting();
  event.waitUntil(update());
});

worker.addEventListener("activate", (/** @type {any} */ event) => {
  event.waitUntil(worker.clients.claim());
});

worker.addEventListener("fetch", (/** @type {any} */ event) => {
  if (!isOfSite(event.request)) return;
  event.respondWith(respond(event.request));
  if (event.request.mode === "navigate") event.waitUntil(update());
});

/** @param {Request} request */
function isOfSite({ method, url, headers }) {
  return method === "GET" && url.startsWith(worker.registration.scope) && !headers.has("Range");
}

/** @param {Request} request */
async function respond(request) {
  try {
    return isolated(await fetch(request));
  } catch (error) {
    const kept = await find(request.url);
    if (kept) return isolated(kept);
    throw error;
  }
}

/** @param {Response} response */
function isolated(response) {
  if (response.type === "opaqueredirect" || response.status === 304) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}

/**
 * The cached file at a URL, whatever its query.
 * @param {string} address
 * @returns {Promise<Response | undefined>}
 */
async function find(address) {
  const url = new URL(address);
  url.search = url.hash = "";
  if (url.pathname.endsWith("/")) url.pathname += "index.html";
  for (const name of await builds()) {
    const cache = await caches.open(name);
    const isWhole = await cache.match(new URL(MANIFEST, worker.registration.scope));
    const found = isWhole && (await cache.match(url));
    if (found) return found;
  }
  return undefined;
}

async function builds() {
  return (await caches.keys()).filter((name) => name.startsWith(CACHES));
}

/** @type {Promise<void> | null} */
let underWay = null;

/** Caches the build that the server has now, unless it is cached already. */
function update() {
  underWay ??= keepBuild().finally(() => (underWay = null));
  return underWay.catch(() => {}); // no network, a full disk, or a build that is being deployed
}

async function keepBuild() {
  const manifestUrl = new URL(MANIFEST, worker.registration.scope);
  const response = await fetch(manifestUrl, { cache: "no-cache" });
  if (!response.ok) throw new Error(`status ${response.status}`);
  const text = await response.text();
  /** @type {Manifest} */
  const manifest = JSON.parse(text);
  const name = CACHES + manifest.build;
  const cache = await caches.open(name);
  if (!(await cache.match(manifestUrl))) {
    for (const [path, { sha256 }] of Object.entries(manifest.files)) {
      if (isNeeded(path)) await keepFile(cache, new URL(path, manifestUrl), sha256);
    }
    const headers = { "Content-Type": "application/json" };
    await cache.put(manifestUrl, new Response(text, { headers })); // last: the build is complete now
  }
  for (const other of await builds()) if (other !== name) await caches.delete(other);
}

/** @param {string} path */
function isNeeded(path) {
  return !NOT_KEPT.test(path);
}

/**
 * @param {Cache} cache
 * @param {URL} url
 * @param {string} sha256
 */
async function keepFile(cache, url, sha256) {
  if (await cache.match(url)) return; // from an interrupted attempt
  const response = await fetch(url, { cache: "no-cache" });
  const bytes = await response.arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hex !== sha256) throw new Error(`${url} does not belong to this build`);
  const type = response.headers.get("Content-Type") ?? "application/octet-stream";
  await cache.put(url, new Response(bytes, { headers: { "Content-Type": type } }));
}
