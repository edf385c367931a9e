/**
 * Searches the guide with lunr in the index that MkDocs wrote. Both are loaded when the field is first
 * used.
 */

const AT_MOST = 12;
const query = /** @type {HTMLInputElement} */ (document.getElementById("query"));
const results = /** @type {HTMLOListElement} */ (document.getElementById("results"));
const found = /** @type {HTMLElement} */ (document.getElementById("found"));

/** @typedef {{location: string, title: string, text: string}} Section */

/** @type {Promise<{index: any, sections: Map<string, Section>}> | undefined} */
let loading;

async function load() {
  const response = await fetch(new URL("search/search_index.json", import.meta.url));
  /** @type {{docs: Section[]}} */
  const { docs } = await response.json();
  const lunr = /** @type {any} */ (globalThis).lunr;
  const index = lunr(/** @this {any} */ function () {
    this.ref("location");
    this.field("title", { boost: 10 });
    this.field("text");
    for (const section of docs) this.add(section);
  });
  return { index, sections: new Map(docs.map((section) => [section.location, section])) };
}

async function search() {
  const words = query.value.toLowerCase().match(/[\p{L}\p{N}_-]+/gu) ?? [];
  loading ??= load();
  const { index, sections } = await loading;
  const hits = words.length
    ? index.query((/** @type {any} */ asked) => {
        for (const word of words) {
          asked.term(word, { boost: 3 });
          asked.term(word, { wildcard: 2 }); // what is being typed may go on
        }
      })
    : [];
  const shown = hits.slice(0, AT_MOST).map((/** @type {{ref: string}} */ { ref }) => sections.get(ref));
  results.replaceChildren(...shown.map(entry));
  results.hidden = !shown.length;
  found.textContent = words.length ? `${shown.length} results` : "";
}

/** @param {Section} section */
function entry({ location, title, text }) {
  const link = document.createElement("a");
  link.href = new URL(location, import.meta.url).href;
  link.textContent = title;
  const excerpt = document.createElement("small");
  excerpt.textContent = text.length > 120 ? `${text.slice(0, 120)} …` : text;
  link.append(excerpt);
  const item = document.createElement("li");
  item.append(link);
  return item;
}

query.addEventListener("input", search);
document.addEventListener("keydown", (event) => {
  const isTyping = event.target instanceof HTMLInputElement;
  if (event.key === "/" && !isTyping) {
    event.preventDefault();
    query.focus();
  }
  if (event.key === "Escape" && !results.hidden) {
    results.hidden = true;
    query.focus();
  }
});
document.addEventListener("click", ({ target }) => {
  if (!(target instanceof Node) || !query.closest("search")?.contains(target)) results.hidden = true;
});
