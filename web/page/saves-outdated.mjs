/**
 * An overlay whose image has a new version: says what can be done, and does what the user chooses.
 */

import { ask } from "./ask.mjs";
import { element, make, makeButton, messageOf, setText } from "./elements.mjs";
import { filled, sizeOf } from "./saves-texts.mjs";

/** @typedef {import("./page-session.mjs").PageSession} PageSession */
/** @typedef {import("./saves-texts.mjs").Texts} Texts */
/** @typedef {import("../lib/rebase.mjs").RebasePlan} RebasePlan */

const SHOWN_RANGES = 5;

/** @param {PageSession} session @param {Texts} texts @param {() => unknown} refresh */
export async function showOutdated(session, texts, refresh) {
  const overlay = session.view?.saves.overlay ?? "";
  const box = element("saves", HTMLDialogElement);
  const status = make("p", { role: "status", id: "saves-status" });
  const error = make("div", { role: "alert", class: "error" });
  const actions = make("div", { class: "actions" });
  const close = () => make("div", { class: "actions" }, makeButton(texts.done, () => box.close(), { class: "quiet" }));
  box.replaceChildren(
    make("h2", { id: "saves-heading" }, texts.movedTitle),
    make("p", {}, filled(texts.moved, { overlay })),
    status,
    error,
    actions,
    close(),
  );
  setText(status, texts.listing);
  box.showModal();
  await attempt(async () => offer(await rebase({})));

  /** @param {Record<string, unknown>} values @returns {Promise<RebasePlan>} */
  function rebase(values) {
    return session.worker.call("saves.rebaseShown", { overlay, ...values });
  }

  /** @param {RebasePlan} plan */
  function offer(plan) {
    const lines = linesOf(plan);
    status.replaceChildren(...lines.map((line) => make("span", { class: "line" }, line)));
    const isStuck = !plan.isCurrent && !plan.canMove;
    if (plan.canMove && !plan.isCurrent) actions.append(makeButton(texts.move, () => move(plan), { class: "primary" }));
    if (!plan.isCurrent && !plan.missing.length) {
      actions.append(makeButton(texts.makeImage, makeImage, { class: isStuck ? "primary" : "" }));
    }
  }

  /** @param {RebasePlan} plan @returns {string[]} */
  function linesOf(plan) {
    if (plan.isCurrent) return [texts.planCurrent];
    const { updated, needed, missing } = plan;
    const lines = [];
    if (plan.canMove) lines.push(filled(texts.planMove, { updated: sizeOf(sumOf(updated)) }));
    else lines.push(filled(texts.planStuck[plan.obstacle ?? "needed"], { needed: sizeOf(sumOf(needed)) }));
    if (!missing.length) lines.push(texts.planImage);
    else lines.push(filled(texts.planMissing, { missing: sizeOf(sumOf(missing)), ranges: rangesOf(missing) }));
    if (!plan.canMove) lines.push(texts.planElse);
    return lines;
  }

  /** @param {RebasePlan} plan */
  async function move(plan) {
    await attempt(async () => {
      await rebase({ to: plan.found });
      finish(texts.movedDone);
    });
  }

  async function makeImage() {
    const { makeImage: title, imageText: text, imageYes: yes, imageName: label } = texts;
    const field = { name: "image", label, hint: "", value: overlay, choices: [] };
    const question = { title, text, yes, danger: false, fields: [field] };
    const make = async (/** @type {Record<string, string>} */ { image }) => {
      await rebase({ toImage: image });
      return image ?? "";
    };
    const name = await ask(question, make);
    if (name) finish(filled(texts.imageDone, { name }));
  }

  /** @param {string} text */
  function finish(text) {
    actions.replaceChildren();
    status.replaceChildren(text);
    refresh();
  }

  /** @param {() => Promise<void>} act */
  async function attempt(act) {
    error.replaceChildren();
    try {
      await act();
    } catch (failure) {
      setText(status, "");
      error.replaceChildren(make("p", {}, messageOf(failure)));
    }
  }
}

/** @param {[number, number][]} ranges */
function sumOf(ranges) {
  return ranges.reduce((sum, [, length]) => sum + length, 0);
}

/** @param {[number, number][]} ranges */
function rangesOf(ranges) {
  const shown = ranges.slice(0, SHOWN_RANGES).map(([offset, length]) => `${offset}–${offset + length - 1}`);
  return shown.join(", ") + (ranges.length > SHOWN_RANGES ? ", …" : "");
}
