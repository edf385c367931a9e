/**
 * The saved machines of the disks in this browser, by the row of their disk.
 */

import { make, makeButton } from "./elements.mjs";
import { listStates, removeState } from "../adapters/machine-states.mjs";

/** @typedef {{ id: string, name: string }} Row */

export class SavedMachines {
  /** @type {Map<string | undefined, import("../adapters/machine-states.mjs").StateHeader>} */
  #found = new Map();

  /** Looks for them anew. */
  async look() {
    const states = await listStates().catch(() => []); // none where none can be saved
    states.sort((a, b) => a.savedAt - b.savedAt); // of two for one disk the newer one
    this.#found = new Map(states.map((state) => [state.entry, state]));
  }

  /** When the machines of these disks were saved. @param {Row[]} rows */
  times(rows) {
    return rows.map(({ id }) => this.#found.get(id)?.savedAt);
  }

  /**
   * What the list shows of a disk's machine, if there is one.
   * @param {Row} row
   * @param {Record<string, string>} texts
   * @param {() => unknown} resume
   * @returns {HTMLElement[]}
   */
  build({ id, name }, texts, resume) {
    const saved = this.#found.get(id);
    if (!saved) return [];
    const button = makeButton(texts.label ?? "", resume, {
      class: "link",
      "aria-label": (texts.spoken ?? "").replace("{name}", () => name),
      "data-action": `resume ${id}`,
    });
    const text = (texts.text ?? "").replace("{date}", new Date(saved.savedAt).toLocaleString());
    const picture = saved.picture ? [make("img", { src: saved.picture, alt: "" })] : [];
    const actions = texts.label ? [" ", button] : [];
    return [make("div", { class: "saved" }, ...picture, make("p", {}, text, ...actions))];
  }

  /** The machines whose disk is not among these, such as that of an image whose cache was deleted. @param {Row[]} rows */
  without(rows) {
    const known = new Set(rows.map(({ id }) => id));
    return [...this.#found.values()].filter(({ entry }) => entry && !known.has(entry));
  }

  /**
   * What the list shows of such a machine.
   * @param {import("../adapters/machine-states.mjs").StateHeader} state
   * @param {Record<string, string>} texts
   * @param {{ resume: () => unknown, remove: () => unknown }} actions
   * @returns {HTMLElement[]}
   */
  buildAlone(state, texts, { resume, remove }) {
    const { address, entry = "" } = state;
    const name = address ?? texts.gone ?? "";
    const found = this.build({ id: entry, name }, address ? texts : { ...texts, label: "" }, resume);
    const button = makeButton(texts.remove ?? "", remove, {
      class: "link",
      "aria-label": (texts.removeSpoken ?? "").replace("{name}", () => name),
      "data-action": `remove ${entry}`,
    });
    return [
      make("p", { class: "title" }, make("span", { class: "name" }, name)),
      make("p", { class: "hint" }, (address ? texts.again : texts.lost) ?? ""),
      ...found,
      make("div", { class: "row-actions" }, button),
    ];
  }

  /** @param {import("../adapters/machine-states.mjs").StateHeader} state */
  async remove({ name }) {
    await removeState(name);
  }

  /** Deletes the machines of these disks: they fit no other content. @param {Row[]} rows */
  async forget(rows) {
    const ids = rows.map(({ id }) => id);
    for (const { name, entry } of await listStates()) if (entry && ids.includes(entry)) await removeState(name);
  }
}
