/**
 * The doctor's findings about a URL: problems, possible improvements, and the lines to add to the server's
 * configuration.
 */

import { element, make, onPress } from "./elements.mjs";

/**
 * @typedef {import("./page-session.mjs").PageSession} PageSession
 * @typedef {{ code: string, level: string, spoken: string, what: string, meaning: string,
 *   remedy: { server: string, line: string }[] }} Finding
 * @typedef {{ title: string, cost: string, findings: Finding[], right: Finding[], rightTitle: string,
 *   remedyTitle: string }} Diagnosis
 */

/** @param {PageSession} session @param {import("./transfers.mjs").Transfers} transfers show how far a check is */
export function wireDoctor(session, transfers) {
  const box = element("findings", HTMLElement);
  let shownFor = "";

  const check = async () => {
    if (session.view?.diagnose.isUnderWay) return underWay.abort();
    const abort = (underWay = new AbortController());
    box.setAttribute("aria-busy", "true");
    try {
      const found = await transfers.run(
        session.view?.texts.checking ?? "",
        ({ onProgress, signal }) => {
          const finding = session.worker.call("panel.diagnose", { onProgress }, signal);
          session.look(); // shows that the diagnosis, which may take a while, has begun
          return finding;
        },
        { abort, loses: false },
      );
      if (!found) return; // it was stopped
      shownFor = session.view?.url.value ?? "";
      box.replaceChildren(...build(found));
      box.scrollIntoView({ block: "nearest" });
    } catch (error) {
      session.report(error);
    } finally {
      box.removeAttribute("aria-busy");
      session.look();
    }
  };
  onPress("diagnose", check);
  onPress("find-cause", check);

  let underWay = new AbortController();
  session.onView((view) => {
    // The findings are about one URL, and useless once an image is open.
    const isOver = view.phase === "open" || !view.remote.checked || (shownFor && view.url.value !== shownFor);
    if (!isOver) return;
    underWay.abort();
    if (box.hasChildNodes()) box.replaceChildren();
  });
}

/** @param {Diagnosis} found */
function build({ title, cost, findings, right, rightTitle, remedyTitle }) {
  /** @type {HTMLElement[]} */
  const parts = [make("h3", {}, title), make("p", { class: "hint" }, cost)];
  if (findings.length) {
    parts.push(make("ol", {}, ...findings.map((finding) => buildFinding(finding, remedyTitle))));
  }
  if (right.length) {
    const list = make("ul", {}, ...right.map((finding) => buildFinding(finding, remedyTitle)));
    parts.push(make("details", {}, make("summary", {}, rightTitle), list));
  }
  return parts;
}

/** @param {Finding} finding @param {string} remedyTitle */
function buildFinding({ code, level, spoken, what, meaning, remedy }, remedyTitle) {
  const item = make(
    "li",
    { "data-code": code, "data-level": level },
    make("strong", {}, make("span", { class: "visually-hidden" }, `${spoken}: `), what),
    make("p", {}, meaning),
  );
  if (remedy.length) {
    const lines = remedy.map(({ server, line }) => make("div", {}, make("p", { class: "note" }, server), make("code", {}, line)));
    item.append(make("details", {}, make("summary", {}, remedyTitle), ...lines));
  }
  return item;
}
