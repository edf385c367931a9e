"""The demo page as its user works it: by label and role, with mouse and keyboard."""

from __future__ import annotations

import re
from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

# They bound failures only: steps take milliseconds, and Python starts within seconds, but a busy
# machine may take twenty times as long.
START_TIMEOUT_MS = 150_000
STEP_TIMEOUT_MS = 90_000


@dataclass(frozen=True)
class PanelPage:
    """A page on which the panel is, or will be once `visit` returns."""

    page: Page

    # ── what the user does ────────────────────────────────────────────────────────────────────────

    def visit(self, url: str) -> PanelPage:
        """Opens the page and waits until Python has started."""
        self.page.set_default_timeout(STEP_TIMEOUT_MS)
        self.page.goto(url)
        return self.started()

    def reload(self) -> PanelPage:
        """Loads the page anew and waits until Python has started."""
        self.page.reload()
        return self.started()

    def started(self) -> PanelPage:
        """Waits until Python has started."""
        expect(self.remote).to_be_enabled(timeout=START_TIMEOUT_MS)
        return self

    def turn_on(self) -> PanelPage:
        """Turns remote images on."""
        self.remote.check()
        expect(self.page.get_by_text("On, until you leave this page.")).to_be_visible()
        return self

    def start_opening(self, url: str) -> None:
        """Enters an address and presses Open."""
        self.url.fill(url)
        self.open.click()

    def open_image(self, url: str) -> None:
        """Opens an image and waits until it is open."""
        self.start_opening(url)
        self.expect_status(re.compile(" is open: "))

    def show(self, tab: str) -> None:
        """Shows a tab of the open disk."""
        self.page.get_by_role("tab", name=tab, exact=True).click()

    def read_range(self, offset: str, length: str) -> None:
        """Enters a range and presses Read."""
        self.show("Bytes")
        self.offset.fill(offset)
        self.length.fill(length)
        self.read.click()

    def create_disk(self, name: str, size: str) -> None:
        """Makes a blank disk in the library."""
        self.button("New blank disk").click()
        self.page.get_by_role("textbox", name="Name", exact=True).fill(name)
        self.page.get_by_role("textbox", name="Size", exact=True).fill(size)
        self.button("Create").click()
        expect(self.disk(name)).to_be_visible()

    def confirm(self, agree: str, **fields: str) -> None:
        """Fills the fields of the question that is asked, and agrees."""
        dialog = self.page.get_by_role("dialog")
        for name, text in fields.items():
            dialog.get_by_role("textbox", name=name.capitalize(), exact=True).fill(text)
        dialog.get_by_role("button", name=agree, exact=True).click()

    # ── what the user sees ────────────────────────────────────────────────────────────────────────

    @property
    def remote(self) -> Locator:
        return self.page.get_by_role("checkbox", name="Use remote image")

    @property
    def url(self) -> Locator:
        return self.page.get_by_role("textbox", name="Image URL")

    @property
    def offset(self) -> Locator:
        return self.page.get_by_role("textbox", name="Offset")

    @property
    def length(self) -> Locator:
        return self.page.get_by_role("textbox", name="Length")

    @property
    def open(self) -> Locator:
        return self.button("Open")

    @property
    def close(self) -> Locator:
        return self.page.locator("#close")  # hidden while nothing is open

    @property
    def clear(self) -> Locator:
        return self.button("Clear cache")

    @property
    def read(self) -> Locator:
        return self.button("Read")

    def button(self, name: str) -> Locator:
        """The button of that name."""
        return self.page.get_by_role("button", name=name, exact=True)

    @property
    def status(self) -> Locator:
        return self.page.locator("#status")

    @property
    def error(self) -> Locator:
        return self.page.locator("#error")

    @property
    def digest(self) -> Locator:
        return self.page.get_by_test_id("read-sha256")

    @property
    def dump(self) -> Locator:
        return self.page.get_by_test_id("read-dump")

    @property
    def map(self) -> Locator:
        return self.page.get_by_role("slider", name="Map of the disk")

    def disk(self, name: str) -> Locator:
        """A row of the library by the disk's name."""
        rows = self.page.locator("#library-list li")
        return rows.filter(
            has=self.page.locator(".name", has_text=re.compile(f"^{re.escape(name)}$"))
        )

    def notice(self, code: str) -> Locator:
        """A notice by its code."""
        return self.page.locator(f'#notices [data-code="{code}"]')

    def row(self, label: str) -> Locator:
        """The value beside a label."""
        rows = self.page.locator("dl > div")
        return rows.filter(has=self.page.locator("dt", has_text=re.compile(f"^{label}$"))).locator(
            "dd"
        )

    def expect_status(self, text: str | re.Pattern[str]) -> None:
        """Waits until the status says that."""
        expect(self.status).to_have_text(text)

    def expect_error(self, title: str, *texts: str) -> None:
        """Waits until an error has that title, and checks what else it says."""
        expect(self.error.locator("strong")).to_have_text(title)
        for text in texts:
            expect(self.error).to_contain_text(text)

    def expect_digest(self, digest: str) -> None:
        """Waits until the bytes that were read have that digest."""
        expect(self.digest).to_have_text(digest)

    def expect_idle(self) -> None:
        """Waits until no request is under way.

        A request that reads ahead goes on after the read that it was for. Only when it is over are
        its blocks in the cache for good, and all counts final.
        """
        expect(self.row("Requests")).to_have_text(re.compile(r"^[\d,]+$"))
