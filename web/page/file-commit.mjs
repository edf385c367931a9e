/**
 * Writes the changes of the open disk into the user's file that it lies over.
 */

import { ask } from "./ask.mjs";
import { element, failureOf, onPress, setAvailable, showFailure } from "./elements.mjs";

/** @typedef {import("./page-session.mjs").PageSession} PageSession */
/** @typedef {import("./file-in-place.mjs").FileInPlace} FileInPlace */
/** @typedef {import("./library-list.mjs").LibraryList} LibraryList */

/**
 * @param {PageSession} session
 * @param {FileInPlace} files
 * @param {LibraryList} libraryList
 */
export function wireFileCommit(session, files, libraryList) {
  const button = element("commit-file", HTMLButtonElement);
  let isUnderWay = false;
  const show = () => {
    const isThere = session.view?.phase === "open" && files.opened !== null && !session.view.disk?.readOnly;
    button.hidden = !isThere;
    setAvailable(button, isThere && !isUnderWay);
  };
  session.onView(show);
  onPress("commit-file", async () => {
    isUnderWay = true;
    show();
    try {
      await commit();
    } catch (error) {
      showFailure("library-error", failureOf(error));
    } finally {
      isUnderWay = false;
      show();
    }
  });

  async function commit() {
    const opened = files.opened;
    const disk = session.view?.disk;
    const question = session.view?.boot.asks.commitFile;
    showFailure("library-error", null);
    if (!opened || !disk || !question) return;
    if ((await session.beforeClosing?.()) === false) return; // a machine would write on
    const { askToWrite, writeIntoFile } = await import("../lib/commit-to-file.mjs");
    const { Disk, library } = await import("../lib/aero-disk.mjs");
    // The browser asks too, and only in a click.
    const agreed = await ask(question, () => askToWrite(opened.handle).then(() => true));
    if (!agreed || session.view?.disk?.disk !== disk.disk) return;
    const { handle } = opened;
    const overlay = await libraryList.transfer("commitFile", handle.name, (options) =>
      writeIntoFile(new Disk(session.worker, disk, {}), opened, options),
    );
    if (!overlay) return; // cancelled: the file is as it was
    await session.act("panel.close");
    await library.resetOverlay(overlay);
    await libraryList.forgetMachine(overlay);
    await files.use(handle);
    const title = (session.view?.texts.fileWritten ?? "").replace("{name}", () => handle.name);
    await ask({ title, text: "", yes: "OK", danger: false, fields: [], isNotice: true }, async () => null);
  }
}
