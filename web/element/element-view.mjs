/** What `<aero-disk>` shows, in its shadow: `element.mjs` lists the parts and the custom properties. */

export const TEXTS = {
  consentTitle: "A disk on another server",
  consent: "Its server sees your IP address, and when and where you read. Nothing is requested before you allow it:",
  allow: "Load the disk",
  opening: "Opening the disk…",
  failed: "The disk could not be opened",
  refused: "The page has not asked for your consent to load a disk from another server (remote-consent).",
  retry: "Try again",
  map: "Map of the disk. Filled squares are cached in this browser.",
  closed: "No disk is open.",
};

const STYLE = `
:host {
  --ink: #1b2124; --paper: #fffefa; --soft: #566064; --edge: #827f74; --accent: #0b635d; --on-accent: #fff;
  --bad: #a4271c; --cell-missing: #e0dbcd; --cell-stored: #0b7a72; --cell-read: #d97706; --cell-now: #3949c6;
  --map-height: 6rem; --mono: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  display: block; container-type: inline-size; color: var(--ink); background: var(--paper);
  font: 400 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word;
}
@media (prefers-color-scheme: dark) {
  :host {
    --ink: #e9e6dd; --paper: #1a2023; --soft: #a2adb0; --edge: #76838a; --accent: #5ac5b8; --on-accent: #06211e;
    --bad: #ff9e90; --cell-missing: #273033; --cell-stored: #3fa79b; --cell-read: #f6b24a; --cell-now: #93a2ff;
  }
}
:host([hidden]), [hidden] { display: none !important; }
* { box-sizing: border-box; }
p { margin: 0 0 0.5rem; }
.title { font-weight: 650; }
.message { padding: 1rem; border: 1.5px solid var(--edge); border-radius: 4px; }
.failure, .boot-failure:not([hidden]) { border-inline-start: 4px solid var(--bad); }
.boot-failure:not([hidden]) { margin-block: 0.75rem; padding: 0.75rem 1rem; }
button, select, textarea {
  min-block-size: 2.25rem; padding: 0.25rem 0.75rem; border: 1.5px solid var(--edge); border-radius: 4px;
  background: transparent; color: inherit; font: inherit; font-size: 0.9375rem;
}
button { cursor: pointer; }
button.allow { border-color: var(--accent); background: var(--accent); color: var(--on-accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.boot-screen {
  max-inline-size: 100%; min-block-size: 6rem; overflow: auto; background: #000; color: #ddd;
  font: 400 min(1rem, calc(100cqi / 49.5)) / 1.25 var(--mono);
}
.boot-screen:fullscreen { display: grid; place-content: center; font-size: min(2vw, 3.4vh); }
.boot-screen canvas { max-inline-size: 100%; }
.boot-bar { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; margin-block: 0.75rem; }
.boot-typing { display: flex; align-items: center; gap: 0.5rem; color: var(--soft); font-size: 0.875rem; }
.boot-typing textarea { inline-size: 10rem; block-size: 2.25rem; resize: none; }
.boot-gauge { display: flex; align-items: center; gap: 0.5rem; color: var(--soft); font-size: 0.875rem; }
.boot-light { inline-size: 0.75rem; block-size: 0.75rem; border: 1.5px solid var(--edge); }
.boot-light[data-on="read"] { background: var(--cell-read); }
.boot-light[data-on="write"] { background: var(--bad); }
.map { display: block; inline-size: 100%; block-size: var(--map-height); margin-block-start: 0.75rem; }
.facts { margin: 0.25rem 0 0; color: var(--soft); font-size: 0.875rem; font-variant-numeric: tabular-nums; }
`;

/** Draws the element. It decides nothing. */
export class ElementView {
  #root;

  /** @param {ShadowRoot} root */
  constructor(root) {
    this.#root = root;
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    const consent = make("div", "message consent", { role: "group" });
    const title = make("p", "title", { textContent: TEXTS.consentTitle, id: "title" });
    consent.setAttribute("aria-labelledby", "title");
    const server = make("p", "server");
    const allow = make("button", "allow", { type: "button", textContent: TEXTS.allow });
    consent.append(title, make("p", "", { textContent: TEXTS.consent }), server, allow);
    const failure = make("div", "message failure", { role: "alert" });
    const reason = make("p", "");
    const retry = make("button", "retry", { type: "button", textContent: TEXTS.retry });
    failure.append(make("p", "title", { textContent: TEXTS.failed }), reason, retry);
    const status = make("p", "status", { role: "status" });
    const machine = make("div", "machine");
    const map = make("canvas", "map", { role: "img", ariaLabel: TEXTS.map });
    const facts = make("p", "facts");
    this.parts = { consent, server, allow, failure, reason, retry, status, machine, map, facts };
    root.append(consent, failure, status, machine, map, facts);
    this.show("closed");
  }

  /**
   * @param {"closed" | "asking" | "opening" | "open" | "failed"} phase
   * @param {string} [text] the server that is asked about, or what failed
   */
  show(phase, text = "") {
    const { consent, server, failure, reason, status, machine, map, facts } = this.parts;
    consent.hidden = phase !== "asking";
    failure.hidden = phase !== "failed";
    status.hidden = phase !== "opening" && phase !== "closed";
    machine.hidden = map.hidden = facts.hidden = phase !== "open";
    status.textContent = phase === "opening" ? TEXTS.opening : TEXTS.closed;
    server.textContent = phase === "asking" ? text : "";
    reason.textContent = phase === "failed" ? text : "";
    this.#nameParts();
  }

  /** @param {import("../lib/disk.mjs").DiskStats} stats @param {number} size */
  showFacts({ cachedBytes, bytesDownloaded }, size) {
    const text = `${megabytes(size)}, ${megabytes(cachedBytes)} cached, ${megabytes(bytesDownloaded)} downloaded now`;
    if (this.parts.facts.textContent !== text) this.parts.facts.textContent = text;
  }

  /** Gives the machine's elements part names, which are their classes without the prefix, for pages to style. */
  #nameParts() {
    for (const element of this.#root.querySelectorAll("[class]")) {
      for (const name of element.classList) element.part.add(name.replace(/^boot-/, ""));
    }
  }
}

/** @param {number} bytes */
function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string} className
 * @param {Partial<HTMLElementTagNameMap[T]>} [properties]
 * @returns {HTMLElementTagNameMap[T]}
 */
function make(tag, className, properties = {}) {
  return Object.assign(document.createElement(tag), className ? { className } : {}, properties);
}
