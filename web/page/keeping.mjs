/**
 * The download of the whole image, in the bar: how fast it goes on, how long it takes still, and its pause.
 */

import { element, onPress, setAvailable, setText } from "./elements.mjs";
import { Rate, duration } from "./rate.mjs";
import { mebibytes } from "./transfers.mjs";

/** @param {import("./page-session.mjs").PageSession} session */
export function wireKeeping(session) {
  const box = element("keeping", HTMLElement);
  const pause = element("keep-pause", HTMLButtonElement);
  let rate = new Rate();
  onPress("keep-pause", () => session.act("panel.keepAll", { on: false }));
  session.onView(({ keepAll, cache, texts }) => {
    box.hidden = !keepAll.on;
    setAvailable(pause, keepAll.on);
    if (!keepAll.on) {
      rate = new Rate();
      return;
    }
    rate.note(cache.value);
    const left = rate.secondsLeft(cache.max);
    const pace = (texts.keepingRate ?? "")
      .replace("{rate}", mebibytes(rate.perSecond ?? 0))
      .replace("{left}", duration(left ?? 0));
    setText(element("keeping-text", HTMLElement), left === null ? (texts.keeping ?? "") : pace);
  });
}
