/**
 * Asks the user to confirm an action: one dialog for every question. Python provides the question;
 * confirming returns the values of the fields.
 */

import { element, failureOf, make, setText, showFailure } from "./elements.mjs";

/** @typedef {{ value: string, label: string }} Choice */
/** @typedef {{ name: string, label: string, hint: string, value: string, choices: Choice[] }} Field */
/** @typedef {{ title: string, text: string, yes: string, danger: boolean, fields: Field[], isNotice?: boolean }} Question a notice has one button */

/** Takes the question that is being asked back, as the dialog is about to show another. */
let takeBack = () => {};

/**
 * Resolves with the result of `act` once the user confirms and it is done, else with null. The dialog shows an
 * error of `act` and stays open. `act` may ask another question, which takes this one's place in the dialog.
 * @template T
 * @param {Question} question
 * @param {(values: Record<string, string>) => Promise<T>} act
 * @param {(error: unknown) => { title: string, text: string }} [explain]
 * @returns {Promise<T | null>}
 */
export function ask(question, act, explain = failureOf) {
  const dialog = element("ask", HTMLDialogElement);
  const form = element("ask-form", HTMLFormElement);
  const yes = element("ask-yes", HTMLButtonElement);
  const no = element("ask-no", HTMLButtonElement);
  setText(element("ask-heading", HTMLElement), question.title);
  setText(element("ask-text", HTMLElement), question.text);
  setText(yes, question.yes);
  yes.disabled = false;
  no.hidden = Boolean(question.isNotice);
  yes.className = question.danger ? "danger" : "primary";
  element("ask-fields", HTMLElement).replaceChildren(...question.fields.map(buildField));
  showFailure("ask-error", null);
  takeBack();

  return new Promise((resolve) => {
    let result = /** @type {T | null} */ (null);
    let isActing = false;
    const done = new AbortController();
    form.addEventListener("submit", submitted, { signal: done.signal });
    dialog.addEventListener("close", closed, { signal: done.signal });
    takeBack = () => {
      done.abort();
      if (!isActing) resolve(null);
    };
    if (!dialog.open) dialog.showModal();
    // Enter must not confirm the loss of data.
    if (question.danger) no.focus();
    else dialog.querySelector("input")?.select();

    /** @param {SubmitEvent} event */
    async function submitted(event) {
      if (event.submitter === no) return; // the form closes the dialog
      event.preventDefault();
      yes.disabled = isActing = true;
      try {
        result = await act(valuesOf(form));
        if (done.signal.aborted) resolve(result);
        else dialog.close();
      } catch (error) {
        showFailure("ask-error", explain(error));
        if (done.signal.aborted) resolve(null);
      } finally {
        isActing = false;
        if (!done.signal.aborted) yes.disabled = false;
      }
    }

    function closed() {
      done.abort();
      resolve(result);
    }
  });
}

/** @param {HTMLFormElement} form */
function valuesOf(form) {
  /** @type {Record<string, string>} */
  const values = {};
  for (const [name, value] of new FormData(form)) values[name] = String(value);
  return values;
}

/** @param {Field} field */
function buildField({ name, label, hint, value, choices }) {
  const id = `ask-${name}`;
  /** @type {Record<string, string>} */
  const described = hint ? { "aria-describedby": `${id}-hint` } : {};
  const control = choices.length
    ? make("select", { id, name, ...described })
    : make("input", { id, name, type: "text", value, autocomplete: "off", spellcheck: "false", ...described });
  for (const choice of choices) control.append(make("option", { value: choice.value }, choice.label));
  /** @type {HTMLElement[]} */
  const parts = [make("label", { for: id }, label), control];
  if (hint) parts.push(make("p", { id: `${id}-hint`, class: "hint" }, hint));
  return make("div", { class: "field" }, ...parts);
}
