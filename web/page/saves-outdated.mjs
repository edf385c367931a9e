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
  if (session.view?.phase !== "closed" && !(await closed())) return;
  /** What the user gave to compare the versions by. @type {Record<string, Uint8Array>} */
  let digests = {};
  const box = element("saves", HTMLDialogElement);
  const status = make("p", { role: "status", id: "saves-status" });
  const error = make("div", { role: "alert", class: "error" });
  const actions = make("div", { class: "actions" });
  const comparison = makeComparison();
  const close = () => make("div", { class: "actions" }, makeButton(texts.done, () => box.close(), { class: "quiet" }));
  box.replaceChildren(
    make("h2", { id: "saves-heading" }, texts.movedTitle),
    make("p", {}, filled(texts.moved, { overlay })),
    status,
    error,
    comparison,
    actions,
    close(),
  );
  setText(status, texts.listing);
  box.showModal();
  await attempt(async () => offer(await rebase({})));

  /** @param {Record<string, unknown>} values @returns {Promise<RebasePlan>} */
  function rebase(values) {
    return session.worker.call("saves.rebaseShown", { overlay, ...digests, ...values });
  }

  /** Closes the disk if the user agrees: its overlay is in use. Returns whether it is closed. */
  async function closed() {
    const { closeFirstTitle: title, closeFirstText, closeFirstYes: yes } = texts;
    const text = filled(closeFirstText, { overlay });
    const agreed = await ask({ title, text, yes, danger: false, fields: [] }, async () => true);
    return agreed !== null && (await session.close());
  }

  /** The choice of digest lists, for an image that has none. */
  function makeComparison() {
    const file = (/** @type {string} */ id, /** @type {string} */ label) => {
      const input = make("input", { id, type: "file", accept: ".json,application/json" });
      form.append(make("div", { class: "field" }, make("label", { for: id }, label), input));
      return input;
    };
    const form = make("form", { novalidate: "", hidden: "" }, make("p", { class: "hint" }, texts.digestsText));
    const before = file("digests-before", texts.digestsBefore);
    const present = file("digests-present", texts.digestsPresent);
    const compare = make("button", { type: "submit" }, texts.compare);
    form.append(make("div", { class: "actions" }, compare));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const [[old], [found]] = [before.files ?? [], present.files ?? []];
      if (!old || !found) return (old ? present : before).focus();
      compare.disabled = true;
      await attempt(async () => {
        digests = { digestsBefore: await bytesOf(old), digests: await bytesOf(found) };
        offer(await rebase({}));
      });
      if (error.hasChildNodes()) digests = {};
      compare.disabled = false;
    });
    return form;
  }

  /** @param {RebasePlan} plan */
  function offer(plan) {
    const lines = linesOf(plan);
    status.replaceChildren(...lines.map((line) => make("span", { class: "line" }, line)));
    const isStuck = !plan.isCurrent && !plan.canMove;
    actions.replaceChildren();
    comparison.hidden = plan.obstacle !== "no-digests";
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
    comparison.hidden = true;
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

/** @param {File} file */
async function bytesOf(file) {
  return new Uint8Array(await file.arrayBuffer());
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
