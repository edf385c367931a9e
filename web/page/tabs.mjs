/**
 * The tabs of the open disk, and the change between what can be opened and what is open.
 */

import { element, setAttribute } from "./elements.mjs";

/** @typedef {import("./page-session.mjs").PageSession} PageSession */
/** @typedef {"machine" | "files" | "bytes" | "activity" | "details"} Tab */

/** @type {Tab[]} */
const TABS = ["machine", "files", "bytes", "activity", "details"];

/** @param {PageSession} session */
export function wireTabs(session) {
  const list = element("tabs", HTMLElement);
  for (const name of TABS) {
    tabOf(name).disabled = false;
    tabOf(name).addEventListener("click", () => selectTab(name));
  }
  list.addEventListener("keydown", (event) => {
    const at = TABS.findIndex((name) => tabOf(name) === event.target);
    /** @type {Record<string, number>} */
    const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 };
    const next = steps[event.key];
    if (at < 0 || next === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const name = TABS.at(next % TABS.length) ?? "machine";
    selectTab(name);
    tabOf(name).focus();
  });

  let shown = "closed";
  session.onView(({ phase }) => {
    if (phase === shown) return;
    shown = phase;
    // What was pressed to get here is gone, or below.
    const at = document.activeElement;
    if (phase === "open") {
      tabOf(TABS.find((name) => isSelected(name)) ?? "machine").focus({ preventScroll: true });
      scrollTo({ top: 0 });
    } else if (phase === "closed" && (!at || at === document.body || at.closest("#bar, #workbench"))) {
      element("open-heading", HTMLElement).focus({ preventScroll: true });
    }
  });
}

/** @param {Tab} name */
export function selectTab(name) {
  for (const each of TABS) {
    setAttribute(tabOf(each), "aria-selected", String(each === name));
    setAttribute(tabOf(each), "tabindex", each === name ? "0" : "-1");
    element(`pane-${each}`, HTMLElement).hidden = each !== name;
  }
}

/** @param {Tab} name */
function isSelected(name) {
  return tabOf(name).getAttribute("aria-selected") === "true";
}

/** @param {Tab} name */
function tabOf(name) {
  return element(`tab-${name}`, HTMLButtonElement);
}
