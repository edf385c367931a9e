"""A page with a machine that boots a disk, and the site it comes from: for tests that boot."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from samples.emulator import write_emulator

# Real boots, on machines that are busy with other tests.
BOOT_TIMEOUT_MS = 240_000

KEYS_AT_ONCE = 6  # fewer than a PC's keyboard buffer has
SHIFTED = {"(": "Digit9", ")": "Digit0", ">": "Period", "|": "Backslash", "_": "Minus"}

MAKE = """async ({ open, options }) => {
  const { openDisk } = await import(new URL("aero-disk.mjs", location).href);
  const { Boot } = await import(new URL("boot.mjs", location).href);
  globalThis.disk = await openDisk(open);
  const place = document.body.appendChild(document.createElement("div"));
  globalThis.boot = new Boot(place, { disk, memoryBytes: 64 << 20, ...options });
}"""


def copy_with_emulator(site: Path, folder: Path) -> None:
    """The built site with v86 and its BIOS, as the demo serves it."""
    shutil.copytree(site, folder, copy_function=os.link)
    write_emulator(folder)


@dataclass(frozen=True)
class BootPage:
    """A page on which a machine can be booted."""

    page: Page

    def make(self, site_url: str, disk: Mapping[str, object], **options: object) -> None:
        """Loads the site, opens the disk and makes the machine, which is off."""
        self.page.goto(site_url)
        self.page.evaluate(MAKE, {"open": dict(disk), "options": options})

    def press(self, name: str) -> None:
        """Presses one of the machine's buttons."""
        self.button(name).click()

    def button(self, name: str) -> Locator:
        """The button of that name."""
        return self.page.get_by_role("button", name=name, exact=True)

    @property
    def failure(self) -> Locator:
        """Where the machine says what failed."""
        return self.page.locator(".boot-failure")

    def expect_state(self, state: str, timeout_ms: int = BOOT_TIMEOUT_MS) -> None:
        """Waits until the machine is in that state."""
        machine = self.page.locator(".boot[data-state]")
        expect(machine).to_have_attribute("data-state", state, timeout=timeout_ms)

    @property
    def text(self) -> str:
        """The screen in text mode."""
        rows: list[str] = self.evaluate("boot.screenText")
        return "\n".join(row.rstrip() for row in rows)

    def expect_text(self, text: str, timeout_ms: int = BOOT_TIMEOUT_MS) -> None:
        """Waits until the screen shows a text; fails with what it shows instead."""
        try:
            # The machine keeps the page's thread busy: looking seldom is quicker.
            self.page.wait_for_function(
                "text => boot.screenText.some((row) => row.includes(text))",
                arg=text,
                timeout=timeout_ms,
                polling=250,
            )
        except PlaywrightTimeoutError:
            raise AssertionError(f"{text!r} did not come:\n{self.text}") from None

    def type(self, text: str, *, prompt: str = "") -> None:
        """Types on the machine's keyboard, which is an American one, then presses Enter.

        With the `prompt` before it, waits for what was typed to be shown: no key of a long line is
        lost on a busy machine.
        """
        self.page.locator(".boot-screen").focus()
        keyboard = self.page.keyboard
        for number, letter in enumerate(text):
            if prompt and number % KEYS_AT_ONCE == 0:
                self.expect_text(prompt + text[:number])
            # The guest sees keys, not letters. It reads them seldom, and its buffer is short.
            if key := SHIFTED.get(letter):
                keyboard.press(f"Shift+{key}", delay=60)
            else:
                keyboard.type(letter, delay=60)
        if prompt:
            self.expect_text(prompt + text)
        keyboard.press("Enter", delay=60)

    def evaluate(self, expression: str) -> Any:
        """A value of the page."""
        return self.page.evaluate(expression)
