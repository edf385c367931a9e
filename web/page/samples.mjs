/**
 * The samples of the configured service. They are requested when the user wants to see them.
 */

import { element, make, makeButton, onPress, redraw, setAvailable } from "./elements.mjs";

/** @typedef {import("./page-session.mjs").PageSession} PageSession */

/** @param {PageSession} session */
export function wireSamples(session) {
  const load = element("samples-load", HTMLButtonElement);
  const first = element("samples-try", HTMLButtonElement);
  onPress("samples-load", show);
  onPress("samples-try", openFirst);
  session.onView((view) => {
    const { shown, isAsked, images } = view.samples;
    element("samples", HTMLElement).hidden = !shown || view.phase !== "closed";
    for (const button of [load, first]) {
      setAvailable(button, true);
      button.hidden = isAsked;
    }
    redraw(element("sample-list", HTMLElement), images, () =>
      images.map(({ url, name, note, size, spoken }) =>
        make(
          "li",
          {},
          makeButton(name, () => open(url), { class: "link" }),
          make("p", { class: "hint" }, note ? `${size} · ${note}` : size),
          makeButton(view.texts.sampleBoot ?? "", () => open(url, true), { "aria-label": spoken }),
        ),
      ),
    );
  });

  /** One press is consent enough: the text next to the buttons says what it turns on. */
  async function show() {
    await session.edit("panel.setRemote", { enabled: true });
    return (await session.act("panel.loadSamples"))?.view.samples.images ?? [];
  }

  async function openFirst() {
    const [sample] = await show();
    if (sample) await open(sample.url);
  }

  /** @param {string} url @param {boolean} [boots] */
  async function open(url, boots = false) {
    await session.act("panel.setUrl", { url });
    await session.act("panel.open");
    if (boots && session.view?.phase === "open") await session.boot?.();
  }
}
