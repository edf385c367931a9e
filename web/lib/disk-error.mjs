/**
 * The errors of this package. `name` is the class that Python has under the same name, and the error's
 * fields are its properties. A test compares the messages that both languages make.
 */

/** @typedef {{ name: string, message: string, fields: Record<string, unknown> }} Failure */

/** What went wrong: `name` is the Python class, and the error's fields are its properties. */
export class DiskError extends Error {
  /** @internal @param {Failure} failure */
  constructor({ name, message, fields }) {
    super(message);
    Object.assign(this, fields);
    this.name = name;
  }
}

/**
 * @param {string} option
 * @param {unknown} value
 * @param {string} expected completes "it must be …"
 */
export function invalidOption(option, value, expected) {
  const shown = shownValue(value);
  const message = `The option ${option} cannot be ${shown}: it must be ${expected}.`;
  return new DiskError({ name: "InvalidOptionError", message, fields: { option, value: shown, expected } });
}

/**
 * @param {number} offset
 * @param {number} length
 * @param {number} size of the disk
 */
export function outOfRange(offset, length, size) {
  const message = `${length} bytes at offset ${offset} reach outside the disk, which has ${size} bytes.`;
  return new DiskError({ name: "OutOfRangeError", message, fields: { offset, length, size } });
}

export function readOnly() {
  const message = "This disk is read-only. Put an overlay over it to write.";
  return new DiskError({ name: "ReadOnlyError", message, fields: {} });
}

export function diskClosed() {
  const message = "This disk is closed. Open it again to go on.";
  return new DiskError({ name: "DiskClosedError", message, fields: {} });
}

/**
 * @param {string} reason why the worker does not run
 * @param {string} [remedy]
 */
export function workerFailed(reason, remedy = "Reload the page to start it again.") {
  const message = `The disk worker is not running: ${reason}. ${remedy}`;
  return new DiskError({ name: "WorkerError", message, fields: { reason } });
}

/**
 * @param {string} name of a file
 * @param {string} reason why it cannot be read
 */
export function fileUnreadable(name, reason) {
  return new DiskError({ name: "SourceError", message: `${name} cannot be read: ${reason}.`, fields: { reason } });
}

/**
 * @param {string} name of a file
 * @param {string} reason why it cannot be written to
 */
export function fileUnwritable(name, reason) {
  return new DiskError({ name: "SourceError", message: `${name} cannot be written to: ${reason}.`, fields: { reason } });
}

/** @param {string} reason why this thread cannot wait for the worker */
export function syncUnavailable(reason) {
  const message =
    `This cannot be done synchronously: ${reason}. Use await, or a worker of a page that is ` +
    "cross-origin isolated.";
  return new DiskError({ name: "SyncUnavailableError", message, fields: { reason } });
}

/** @param {unknown} value */
function shownValue(value) {
  try {
    return typeof value === "object" && value ? Object.prototype.toString.call(value) : String(value);
  } catch {
    return typeof value;
  }
}
