/**
 * The list of saves on a server, with earlier generations on demand.
 */

import { make, makeButton, messageOf } from "./elements.mjs";
import { filled, momentOf, sizeOf } from "./saves-texts.mjs";

/** @typedef {import("./saves-texts.mjs").Texts} Texts */
/** @typedef {import("../lib/saves.mjs").SaveInfo} SaveInfo */
/** @typedef {import("../lib/saves.mjs").SaveGeneration} SaveGeneration */

/**
 * @typedef {object} Actions
 * @property {(save: string, generation?: number) => unknown} take
 * @property {(save: string, generation?: number) => unknown} look
 * @property {(save: string) => Promise<SaveGeneration[]>} generations
 */

/** @param {SaveInfo[]} found @param {string | null} baseVersion @param {Texts} texts @param {Actions} actions */
export function listOfSaves(found, baseVersion, texts, actions) {
  const list = make("ul", { class: "library-list", "aria-labelledby": "saves-there" });
  for (const save of found) list.append(rowOf(save, baseVersion, texts, actions));
  return list;
}

/** @param {SaveInfo} save @param {string | null} baseVersion @param {Texts} texts @param {Actions} actions */
function rowOf(save, baseVersion, texts, actions) {
  const values = { time: momentOf(save.updated), size: sizeOf(save.storedBytes), device: save.device };
  const fits = save.baseVersion === baseVersion;
  const row = make("li", {}, make("p", { class: "title" }, make("span", { class: "name" }, save.name)));
  if (!save.generation) return row; // begun, and never pushed
  row.append(
    make("p", { class: "hint" }, filled(texts.row, values)),
    make("p", { class: "hint" }, fits ? texts.fits : filled(texts.other, { image: save.image })),
  );
  if (!fits) return row;
  row.append(buttonsOf(save.id, undefined, texts, actions), earlier(save, texts, actions));
  return row;
}

/** @param {string} save @param {number | undefined} generation @param {Texts} texts @param {Actions} actions */
function buttonsOf(save, generation, texts, actions) {
  return make(
    "div",
    { class: "row-actions" },
    makeButton(texts.take, () => actions.take(save, generation)),
    makeButton(texts.look, () => actions.look(save, generation)),
  );
}

/** @param {SaveInfo} save @param {Texts} texts @param {Actions} actions */
function earlier(save, texts, actions) {
  const list = make("ul", { class: "library-list" });
  const details = make("details", {}, make("summary", {}, texts.generations), list);
  details.addEventListener("toggle", async () => {
    if (!details.open) return;
    try {
      const kept = (await actions.generations(save.id)).filter(({ generation }) => generation !== save.generation);
      list.replaceChildren(...kept.map((one) => generationOf(save, one, texts, actions)));
      if (!kept.length) list.replaceChildren(make("li", {}, texts.noEarlier));
    } catch (error) {
      list.replaceChildren(make("li", { class: "error" }, messageOf(error)));
    }
  });
  return details;
}

/** @param {SaveInfo} save @param {SaveGeneration} one @param {Texts} texts @param {Actions} actions */
function generationOf(save, one, texts, actions) {
  const { generation, device } = one;
  const values = { generation, device, time: momentOf(one.created), size: sizeOf(one.storedBytes) };
  const text = make("p", { class: "hint" }, filled(texts.generation, values));
  return make("li", {}, text, buttonsOf(save.id, generation, texts, actions));
}
