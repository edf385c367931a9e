/** Reports a machine's reads and writes to the worker, for the map. */

/** @typedef {[kind: string, offset: number, length: number]} Activity */

const REPORT_MS = 200;

/**
 * Many reads are served from shared memory, so the worker would not see them and the map would not show
 * them.
 * @param {import("../adapters/boot.mjs").Boot} boot
 * @param {(events: Activity[]) => Promise<unknown>} send
 */
export function reportActivity(boot, send) {
  /** @type {Activity[]} */
  let events = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const report = () => {
    timer = undefined;
    const sent = events;
    events = [];
    send(sent).catch(() => {}); // the disk is closed
  };
  boot.addEventListener("activity", ({ kind, offset, length }) => {
    events.push([kind, offset, length]);
    timer ??= setTimeout(report, REPORT_MS);
  });
  boot.addEventListener("state", () => {
    if (boot.state === "off") report(); // the last report
  });
}
