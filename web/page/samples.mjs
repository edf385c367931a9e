/**
 * The samples of the configured service. They are requested when the user wants to see them.
 */

import { element, make, makeButton, onPress, redraw, setAvailable } from "./elements.mjs";

/** @typedef {import("./page-session.mjs").PageSession} PageSession */

/** @param {PageSession} session */
export function wireSamples(session) {
  const load = element("samples-load", HTMLButtonElement);
  const first = element("samples-try", HTMLButtonElement);
  onPress("samples-load", () => session.act("panel.loadSamples"));
  onPress("samples-try", openFirst);
  session.onView((view) => {
    const { shown, isAsked, disabled, images } = view.samples;
    element("samples", HTMLElement).hidden = !shown || view.phase !== "closed";
    setAvailable(load, !disabled);
    setAvailable(first, true);
    load.hidden = images.length > 0;
    first.hidden = isAsked;
    redraw(element("sample-list", HTMLElement), images, () =>
      images.map(({ url, name, note, size }) =>
        make(
          "li",
          {},
          makeButton(name, () => open(url), { class: "link" }),
          make("span", { class: "note" }, note ? `${size} · ${note}` : size),
        ),
      ),
    );
  });

  /** One press is consent enough: the text next to the button says what it turns on. */
  async function openFirst() {
    await session.edit("panel.setRemote", { enabled: true });
    const response = await session.act("panel.loadSamples");
    const sample = response?.view.samples.images[0];
    if (sample) await open(sample.url);
  }

  /** @param {string} url */
  async function open(url) {
    await session.act("panel.setUrl", { url });
    await session.act("panel.open");
  }
}
