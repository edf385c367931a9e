/** Finds and loads the files of this build. An error names the file, and the option that helps. */

import { files } from "./build.mjs";

/** Not `new URL(path, import.meta.url)`: bundlers would include every file of this folder. */
const here = import.meta.url;

/**
 * @param {string} path of a file in the build
 * @returns {string} its URL
 */
export function urlOfFile(path) {
  return files[path] ?? new URL(path, here).href;
}

/**
 * @param {string} url
 * @returns {Promise<Response>} with a status of success
 */
export async function fetchFile(url) {
  return orName(url, async () => {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`status ${response.status}`);
    return response;
  });
}

/**
 * @param {string} url of a module that bundlers must not resolve
 * @returns {Promise<any>}
 */
export function importFile(url) {
  return orName(url, () => import(/* @vite-ignore */ /* webpackIgnore: true */ url));
}

/**
 * @param {string} url
 * @param {(response: Response) => void} [count] gets the response before it is read
 * @returns {Promise<WebAssembly.Module>}
 */
export function compileFile(url, count) {
  return orName(url, async () => {
    const response = await fetchFile(url);
    count?.(response);
    return WebAssembly.compileStreaming(response);
  });
}

/**
 * Names the file in the error of `load`. A server may send an HTML page for a missing file, so the status
 * says little.
 * @template T
 * @param {string} url
 * @param {() => Promise<T>} load
 * @returns {Promise<T>}
 */
async function orName(url, load) {
  try {
    return await load();
  } catch (error) {
    if (error instanceof MissingFile) throw error;
    throw new MissingFile(url, error);
  }
}

/** A file of the build did not load. */
export class MissingFile extends Error {
  /** @param {string} url @param {unknown} cause */
  constructor(url, cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    super(`${url} did not load (${reason}). ${REMEDY}`, { cause });
  }
}

/** The remedy if a bundler or a server left out files of this package. */
export const REMEDY =
  "Put the files of this package on your site, and name their folder in the option baseUrl of openDisk.";
