/** The numbers that js-dos has for keys, which are those of GLFW, by the `code` of a keyboard event. */

/** @type {Record<string, number>} */
const KEYS = {
  Space: 32, Quote: 39, Comma: 44, Minus: 45, Period: 46, Slash: 47, Semicolon: 59, Equal: 61,
  BracketLeft: 91, Backslash: 92, BracketRight: 93, Backquote: 96,
  Escape: 256, Enter: 257, Tab: 258, Backspace: 259, Insert: 260, Delete: 261,
  ArrowRight: 262, ArrowLeft: 263, ArrowDown: 264, ArrowUp: 265, PageUp: 266, PageDown: 267, Home: 268, End: 269,
  CapsLock: 280, ScrollLock: 281, NumLock: 282, PrintScreen: 283, Pause: 284,
  NumpadDecimal: 330, NumpadDivide: 331, NumpadMultiply: 332, NumpadSubtract: 333, NumpadAdd: 334, NumpadEnter: 335,
  ShiftLeft: 340, ControlLeft: 341, AltLeft: 342, ShiftRight: 344, ControlRight: 345, AltRight: 346,
};
const F1 = 290;
const NUMPAD_0 = 320;

/**
 * @param {string} code as "KeyA", "Digit1", "F5" or "Enter"
 * @returns {number | undefined}
 */
export function keyOf(code) {
  const letter = /^(?:Key|Digit)([A-Z0-9])$/.exec(code)?.[1];
  if (letter) return letter.charCodeAt(0);
  const [, kind, digits] = /^(F|Numpad)(\d{1,2})$/.exec(code) ?? [];
  if (kind === "F" && Number(digits) <= 12) return F1 - 1 + Number(digits);
  if (kind === "Numpad") return NUMPAD_0 + Number(digits);
  return KEYS[code];
}
