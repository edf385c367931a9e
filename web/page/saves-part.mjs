/**
 * The buttons for saves: "Save to…" of an open overlay, and what can be done with one whose image has a new version.
 * What they open is only fetched when one is pressed.
 */

import { element, onPress, setAvailable } from "./elements.mjs";

/** @typedef {import("./page-session.mjs").PageSession} PageSession */

/** @param {PageSession} session @param {() => unknown} refresh shows the list of disks anew */
export function wireSaves(session, refresh) {
  /** @type {import("./saves-dialog.mjs").SavesDialog | null} */
  let dialog = null;
  const box = element("saves", HTMLDialogElement);
  box.addEventListener("click", (event) => {
    if (event.target === box) box.close(); // clicked outside
  });

  onPress("save-to", () =>
    attempt(async () => {
      const [{ SavesDialog }, texts] = await Promise.all([import("./saves-dialog.mjs"), textsOf()]);
      dialog ??= new SavesDialog(session, texts, refresh);
      dialog.show();
    }),
  );
  onPress("outdated", () =>
    attempt(async () => {
      const [{ showOutdated }, texts] = await Promise.all([import("./saves-outdated.mjs"), textsOf()]);
      dialog = null; // it uses the same box
      await showOutdated(session, texts, refresh);
    }),
  );

  session.onView(({ saves }) => {
    for (const [id, shown] of /** @type {const} */ ([["save-to", saves.shown], ["outdated", saves.isOutdated]])) {
      const button = element(id, HTMLButtonElement);
      button.hidden = !shown;
      setAvailable(button, shown);
    }
  });

  function textsOf() {
    return session.worker.call("saves.texts", {});
  }

  /** @param {() => Promise<void>} act */
  async function attempt(act) {
    try {
      await act();
    } catch (error) {
      session.report(error);
    }
  }
}
