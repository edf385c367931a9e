/**
 * The settings dialog.
 */

import { element, make, onPress, redraw, setAvailable, setText } from "./elements.mjs";

/** @typedef {import("./page-session.mjs").PageSession} PageSession */
/** @typedef {import("./panel.mjs").Setting} Setting */

/** @param {PageSession} session */
export function wireSettings(session) {
  const dialog = element("settings", HTMLDialogElement);
  const fields = element("settings-fields", HTMLElement);
  onPress("settings-open", () => dialog.showModal());
  onPress("settings-reset", () => session.act("panel.resetSettings"));
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // clicked outside
  });
  fields.addEventListener("change", ({ target }) => {
    if (!(target instanceof HTMLSelectElement)) return;
    session.act("panel.chooseSetting", { name: target.name, choice: target.value });
  });
  const file = element("digests-file", HTMLInputElement);
  const remove = element("digests-remove", HTMLButtonElement);
  onPress("digests-choose", () => file.click());
  onPress("digests-remove", () => session.act("panel.chooseDigests"));
  file.addEventListener("change", async () => {
    const [chosen] = file.files ?? [];
    if (!chosen) return;
    const document = new Uint8Array(await chosen.arrayBuffer());
    await session.act("panel.chooseDigests", { name: chosen.name, document });
    file.value = "";
  });
  session.onView(({ settings, texts }) => {
    remove.hidden = !settings.digests;
    setText(remove, (texts.digestsRemove ?? "").replace("{name}", settings.digests));
    setAvailable(element("settings-reset", HTMLButtonElement), settings.changed);
    const shape = settings.fields.map(({ value, ...rest }) => rest);
    redraw(fields, shape, () => settings.fields.map(buildField));
    for (const { name, value } of settings.fields) {
      const select = element(`setting-${name}`, HTMLSelectElement);
      if (select.value !== value) select.value = value;
    }
  });
}

/** @param {Setting} setting */
function buildField({ name, label, hint, choices }) {
  const id = `setting-${name}`;
  const select = make("select", { id, name, "aria-describedby": `${id}-hint` });
  for (const choice of choices) select.append(make("option", { value: choice.value }, choice.label));
  return make(
    "div",
    { class: "field" },
    make("label", { for: id }, label),
    select,
    make("p", { class: "hint", id: `${id}-hint` }, hint),
  );
}
