/**
 * The samples of the service that the page was told of. It is asked when the user wants to see them.
 */

import { element, make, makeButton, onPress, redraw, setAvailable } from "./elements.mjs";

/** @typedef {import("./page-session.mjs").PageSession} PageSession */

/** @param {PageSession} session */
export function wireSamples(session) {
  const load = element("samples-load", HTMLButtonElement);
  onPress("samples-load", () => session.act("panel.loadSamples"));
  session.onView((view) => {
    const { shown, disabled, images } = view.samples;
    element("samples", HTMLElement).hidden = !shown || view.phase !== "closed";
    setAvailable(load, !disabled);
    load.hidden = images.length > 0;
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

  /** @param {string} url */
  async function open(url) {
    await session.act("panel.setUrl", { url });
    await session.act("panel.open");
  }
}
