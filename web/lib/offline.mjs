/**
 * Installs `site-worker.mjs`, a service worker for the folder of this module. The page then opens without
 * the network from its second visit on, and is isolated even if the server does not isolate it.
 *
 *     import { installSiteWorker } from "./offline.mjs";
 *     await installSiteWorker();
 *
 * @module offline.mjs
 */

const TRIED = "aero-browser-disk.isolated";

/**
 * Installs the service worker. A page that is not cross-origin isolated yet is reloaded once, which
 * isolates it.
 * @param {Promise<unknown>} [quiet] when the page has loaded what it needs: an isolated page waits for
 *   it, so that nothing is fetched twice at the same time
 * @returns {Promise<boolean>} whether this browser has service workers here
 */
export async function installSiteWorker(quiet) {
  const container = navigator.serviceWorker;
  if (!container) return false; // a private window, or not a secure context
  if (crossOriginIsolated) await quiet;
  try {
    await container.register(new URL("./site-worker.mjs", import.meta.url));
  } catch {
    return false;
  }
  if (!crossOriginIsolated) {
    if (!container.controller) await new Promise((done) => (container.oncontrollerchange = done));
    if (isFirstTry()) location.reload();
  }
  return true;
}

/** Whether this page was not reloaded for this yet: a browser may not isolate it even then. */
function isFirstTry() {
  try {
    if (sessionStorage.getItem(TRIED)) return false;
    sessionStorage.setItem(TRIED, "yes");
    return true;
  } catch {
    return false;
  }
}
