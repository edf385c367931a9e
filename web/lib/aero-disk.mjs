/**
 * Disks for emulators in the browser. Python does the work in a worker; this module talks to it.
 *
 *     import { openDisk } from "./aero-disk.mjs";
 *     const disk = await openDisk({ url, allowRemote: true });
 *     const sector = await disk.read(0, 512);
 *
 * @module aero-disk.mjs
 */

import { optionsOf, renewalOf, seconds, urlOf } from "./arguments.mjs";
import { Disk } from "./disk.mjs";
import { connect } from "./disk-worker.mjs";
import { blobOf, isHandle } from "./local-file.mjs";
import { attachSaves, serverOf } from "./saves.mjs";
import { SharedMemoryClient } from "./shared-client.mjs";

export { attachDisk, Disk } from "./disk.mjs";
export { DiskError } from "./disk-error.mjs";
export { connect, DiskWorker, preload } from "./disk-worker.mjs";
export { diagnose } from "./doctor.mjs";
export { Library, library } from "./library.mjs";
export { rebase } from "./rebase.mjs";
export { Saves, saves } from "./saves.mjs";

/**
 * @typedef {import("./commit-to-file.mjs").CommitToFileOptions} CommitToFileOptions
 * @typedef {import("./disk.mjs").DiskStats} DiskStats
 * @typedef {import("./disk.mjs").Offset} Offset
 * @typedef {import("./disk-worker.mjs").StartFacts} StartFacts
 * @typedef {import("./disk-worker.mjs").DiskWorkerOptions} DiskWorkerOptions
 * @typedef {import("./doctor.mjs").Diagnosis} Diagnosis
 * @typedef {import("./doctor.mjs").DiagnosisOptions} DiagnosisOptions
 * @typedef {import("./doctor.mjs").Finding} Finding
 * @typedef {import("./export-sink.mjs").Target} ExportTarget
 * @typedef {import("./local-file.mjs").LocalFile} LocalFile
 * @typedef {import("./library.mjs").ExportOptions} ExportOptions
 * @typedef {import("./library.mjs").Importable} Importable
 * @typedef {import("./library.mjs").ImportOptions} ImportOptions
 * @typedef {import("./library.mjs").LibraryEntry} LibraryEntry
 * @typedef {import("./library.mjs").Recovery} Recovery
 * @typedef {import("./library.mjs").LibraryUsage} LibraryUsage
 * @typedef {import("./library.mjs").OnProgress} OnProgress
 * @typedef {import("./library.mjs").RemoteFile} RemoteFile
 * @typedef {import("./rebase.mjs").OverlayUpdate} OverlayUpdate
 * @typedef {import("./rebase.mjs").RebaseOptions} RebaseOptions
 * @typedef {import("./rebase.mjs").RebasePlan} RebasePlan
 * @typedef {import("./saves.mjs").DiskSaves} DiskSaves
 * @typedef {import("./saves.mjs").PullOptions} PullOptions
 * @typedef {import("./saves.mjs").Pushed} Pushed
 * @typedef {import("./saves.mjs").PushOptions} PushOptions
 * @typedef {import("./saves.mjs").PushResult} PushResult
 * @typedef {import("./saves.mjs").SaveGeneration} SaveGeneration
 * @typedef {import("./saves.mjs").SaveInfo} SaveInfo
 * @typedef {import("./saves.mjs").SavesOptions} SavesOptions
 * @typedef {import("./saves.mjs").SaveShare} SaveShare
 * @typedef {import("./start-progress.mjs").OnStartProgress} OnStartProgress
 */

/**
 * Options of any disk.
 * @typedef {object} CommonDiskOptions
 * @property {string | string[] | undefined} [overlay] takes the writes, and is created if it does not exist;
 *   in a list each is based on the one before, and the last takes the writes
 * @property {import("./saves.mjs").DiskSaves | undefined} [saves] the server that `push` sends the overlay to
 * @property {string | undefined} [save] a save on that server, by name or id, as a layer over the image that is read
 *   where it is; an `overlay` over it takes writes, and fits this generation only
 * @property {number | undefined} [generation] of that save; the current one by default
 * @property {boolean | undefined} [writeBase] lets an image take writes that make its overlays useless
 * @property {number | undefined} [sharedMemoryBytes] of blocks in memory that all threads read; 64 MiB by default
 * @property {boolean | undefined} [persist] asks the browser not to evict this site's storage
 */

/**
 * A local image of the library.
 * @typedef {object} LocalImageOptions
 * @property {string} image by name or id
 * @property {undefined} [url]
 * @property {undefined} [file]
 */

/**
 * A file of the user's, used where it is: nothing of it is copied. An overlay over it belongs to a name, a
 * size and a time of the last change; a `Blob` without a name takes none.
 * @typedef {object} LocalFileOptions
 * @property {LocalFile} file a handle may ask the user for permission, and needs a click for that
 * @property {string | undefined} [format] "auto" (the default), "raw", or a name: "qcow2", "vmdk", "vdi", "vhdx", …
 * @property {undefined} [url]
 * @property {undefined} [image]
 */

/**
 * An image on a server.
 * @typedef {object} RemoteImageOptions
 * @property {string | URL} url the image; it may hold secrets, which stay in memory
 * @property {undefined} [image]
 * @property {undefined} [file]
 * @property {string | undefined} [format] "auto" (the default), "raw", or a name: "qcow2", "vmdk", "vdi", "vhdx", "prepared", …
 * @property {boolean | undefined} [allowRemote] the user's consent: without it no request is made
 * @property {number | undefined} [cacheLimitBytes] max. bytes cached of this image
 * @property {number | undefined} [blockSize] the unit of caching in bytes: a power of two, 16 KiB by default
 * @property {string | undefined} [cacheKey] identifies the image if its URL changes, as signed URLs do
 * @property {Record<string, string> | undefined} [headers] sent with every request, never stored
 * @property {"omit" | "same-origin" | "include" | undefined} [credentials] as `fetch` has it
 * @property {(() => Promise<RenewedAccess> | RenewedAccess) | undefined} [renew] returns a new URL when this one expires or is refused
 * @property {Date | number | undefined} [expiresAt] when the URL expires, if known
 * @property {number | undefined} [timeoutS] how long the server may stay silent, in seconds
 * @property {{ tries?: number, baseS?: number, capS?: number, totalS?: number } | undefined} [retry]
 * @property {number | undefined} [concurrency] concurrent requests, 6 by default
 * @property {number | undefined} [maxRequestBytes] max. length of a range request
 * @property {boolean | undefined} [readAhead] fetches what is likely to be read next; on by default
 * @property {Uint8Array | "auto" | null | undefined} [bootProfile] the result of `bootProfile()`; "auto" by default
 * @property {Uint8Array | undefined} [digests] a digest list: every byte is checked against it
 * @property {string | undefined} [digestsSha256] what that list must hash to, in hex
 * @property {string | undefined} [digestsKey] the Ed25519 public key that it must be signed by, in hex
 */

/** @typedef {CommonDiskOptions & DiskWorkerOptions & (LocalImageOptions | LocalFileOptions | RemoteImageOptions)} DiskOptions */

/**
 * Renewed access. `expiresAt` is a Date or milliseconds since the epoch.
 * @typedef {{ url: string | URL, headers?: Record<string, string> | undefined, expiresAt?: Date | number | undefined }} RenewedAccess
 */

/**
 * Opens a disk image: from a server, from the library, or in a file of the user's.
 * @param {DiskOptions} options
 * @returns {Promise<Disk>} rejects with a `DiskError`; its `name` is the kind of error
 */
export async function openDisk(options) {
  const calledAt = performance.now();
  const { baseUrl, workerUrl, pyodideUrl, wheelUrl, onStartProgress, persist, sharedMemoryBytes, ...wanted } =
    /** @type {CommonDiskOptions & DiskWorkerOptions & Omit<RemoteImageOptions, "file"> & { file?: unknown }} */ (optionsOf(options));
  const { url, file: given, renew, expiresAt, bootProfile, saves, save, ...plain } = wanted;
  const { allowRemote } = plain;
  const server = Object.entries(save === undefined ? {} : serverOf({ allowRemote, .../** @type {any} */ (saves) }));
  const { renew: renewSave, ...there } = Object.fromEntries(server.filter(([, value]) => value !== undefined));
  const layer = save === undefined ? {} : { save, saves: there, renewSave }; // functions are only lent by themselves
  const blob = given === undefined ? undefined : await blobOf(given);
  const file = isHandle(given) ? { handle: given, file: /** @type {File} */ (blob) } : undefined;
  const values = {
    ...plain,
    ...layer,
    file: blob,
    url: url === undefined ? undefined : urlOf(url),
    bootProfile: bootProfile === null ? "none" : bootProfile,
    expiresAt: seconds(expiresAt),
    renew: renew && renewalOf(renew),
  };
  const worker = connect({ baseUrl, workerUrl, pyodideUrl, wheelUrl, onStartProgress });
  if (persist) await navigator.storage?.persist?.();
  const lent = worker.calls.lend(values); // until the disk is closed
  const ends = [lent.takeBack];
  const whenClosed = () => ends.forEach((end) => end());
  try {
    const facts = await worker.calls.callWith(save === undefined ? "disk.open" : "saves.open", lent);
    const client = new SharedMemoryClient(worker.calls, facts.disk, sharedMemoryBytes);
    const disk = new Disk(worker, facts, { client, calledAt, whenClosed, file });
    try {
      await client.joined;
      if (saves && save === undefined) ends.push(await attachSaves(worker.calls, disk, facts.disk, { allowRemote, ...saves }));
    } catch (error) {
      await disk.close();
      throw error;
    }
    return disk;
  } catch (error) {
    lent.takeBack();
    throw error;
  }
}
