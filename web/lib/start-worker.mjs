/** Starts workers whose script may be on another origin than the page. */

/**
 * Starts the worker that `make` makes as `new Worker(new URL("./name.mjs", import.meta.url), …)`. Bundlers
 * recognise it only in this form, and then include it. `Worker` is replaced during the call: the URL may be
 * on another origin, and only the bundler knows it.
 * @param {() => Worker} make
 * @param {string} name of the worker
 */
export function startBundled(make, name) {
  const { Worker: Plain } = globalThis;
  const anywhere = function (/** @type {string | URL} */ url) {
    return startAt(new URL(url, baseOfPage()).href, name, Plain);
  };
  globalThis.Worker = /** @type {any} */ (anywhere);
  try {
    return make();
  } finally {
    globalThis.Worker = Plain;
  }
}

/**
 * Starts a worker from any origin. Browsers start workers only from the page's own origin, so a script of
 * that origin imports one from elsewhere.
 * @param {string} url
 * @param {string} name of the worker
 */
export function startAt(url, name, Plain = Worker) {
  const options = /** @type {const} */ ({ type: "module", name });
  const { protocol, origin } = new URL(url);
  if (origin === location.origin || protocol === "blob:" || protocol === "data:") return new Plain(url, options);
  const script = URL.createObjectURL(new Blob([`import ${JSON.stringify(url)};`], { type: "text/javascript" }));
  const worker = new Plain(script, options);
  // The script has been loaded by the time of the first message or error.
  const forget = () => URL.revokeObjectURL(script);
  worker.addEventListener("message", forget, { once: true });
  worker.addEventListener("error", forget, { once: true });
  return worker;
}

export function baseOfPage() {
  return globalThis.document?.baseURI ?? location.href;
}
