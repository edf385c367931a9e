/**
 * Links to an image: one to share, and the page opened by one.
 */

import { ask } from "./ask.mjs";
import { element, onPress, setAvailable, setText } from "./elements.mjs";

/** @typedef {import("./page-session.mjs").PageSession} PageSession */

/** @param {PageSession} session */
export function wireLinks(session) {
  const box = element("invite", HTMLElement);
  const open = element("invite-open", HTMLButtonElement);
  let invitedTo = "";

  onPress("share", async () => {
    const { ask: question, query } = session.view?.share ?? {};
    if (!question) return;
    const link = query ? `${location.origin}${location.pathname}?${query}` : "";
    const fields = question.fields.map((field) => ({ ...field, value: link }));
    const copy = async () => {
      if (link) await navigator.clipboard.writeText(link);
    };
    await ask({ ...question, fields }, copy);
  });

  // One press is consent enough: the text next to the button says what it turns on.
  onPress("invite-open", async () => {
    await session.edit("panel.setRemote", { enabled: true });
    await session.act("panel.open", { overlay: element("overlay", HTMLInputElement).value.trim() });
    if (session.view?.phase === "open") await session.boot?.("resume");
  });

  session.invite = async (url, overlay) => {
    element("overlay", HTMLInputElement).value = overlay;
    await session.edit("panel.setUrl", { url });
    invitedTo = url;
    session.redraw();
    if (!box.hidden) open.focus();
  };

  session.onView((view) => {
    if (view.phase === "open") invitedTo = ""; // it was followed, or something else was opened
    const share = element("share", HTMLButtonElement);
    share.hidden = !view.share.shown;
    setAvailable(share, view.share.shown);
    const isInvited = Boolean(invitedTo) && view.phase === "closed" && view.url.value === invitedTo;
    box.hidden = !isInvited;
    setAvailable(open, isInvited);
    const host = isInvited ? hostOf(invitedTo) : "";
    if (isInvited) setText(element("invite-text", HTMLElement), (view.texts.invite ?? "").replace("{host}", host));
  });
}

/** @param {string} url */
function hostOf(url) {
  return URL.canParse(url) ? new URL(url).host : url;
}
