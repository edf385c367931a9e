"""A page in the hands of somebody who has no mouse."""

from __future__ import annotations

from playwright.sync_api import Page, expect

NAME_OF_FOCUS = """() => {
  const { activeElement: element } = document;
  const named = element.getAttribute("aria-labelledby");
  return element.ariaLabel ?? (named && document.getElementById(named).textContent)
    ?? element.labels?.[0]?.textContent ?? element.textContent;
}"""


class Keyboard:
    """A page in the hands of somebody who has no mouse."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.focused = page.locator(":focus")

    def tab_to(self, name: str, key: str = "Tab") -> None:
        for _ in range(60):
            self.press(key)
            if self.focused.count() and self.page.evaluate(NAME_OF_FOCUS).startswith(name):
                return
        raise AssertionError(f"no way leads to {name}")

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def is_at(self, name: str) -> None:
        expect(self.focused).to_have_accessible_name(name)
