"""The built site, and browsers to open it in.

`page` is a fresh page in Chromium. For a test in both browsers:

    @pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
    def test_something(page, site): page.goto(site.url)

`open_profile` is for what must survive a reload or a restart, or is about speed. Whatever a page
says on its console at the level of a warning or an error fails the test, unless `console` was told
to expect it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, Playwright

import browsers
from aero_browser_disk.testing.site_server import SiteServer

OpenProfile = Callable[..., BrowserContext]


@dataclass
class Console:
    """What pages complained of."""

    complaints: list[str] = field(default_factory=list)
    expected: list[re.Pattern[str]] = field(default_factory=list)

    def expect(self, pattern: str) -> None:
        """Lets complaints pass that match the regular expression, and demands at least one."""
        self.expected.append(re.compile(pattern))

    def watch(self, context: BrowserContext) -> None:
        """Listens to every page and worker of the context."""
        browsers.watch_console(context, self.complaints)

    def check(self) -> None:
        """Fails on what was not expected, and on what was and did not come."""
        unexpected = [
            complaint
            for complaint in self.complaints
            if not any(pattern.search(complaint) for pattern in self.expected)
        ]
        assert not unexpected, "the console must stay empty"
        missing = [
            pattern.pattern
            for pattern in self.expected
            if not any(pattern.search(complaint) for complaint in self.complaints)
        ]
        assert not missing, "these were expected on the console"


@pytest.fixture
def console() -> Iterator[Console]:
    """Fails the test on what pages complain of on their consoles."""
    listening = Console()
    yield listening
    listening.check()


@pytest.fixture(scope="session")
def site(site_folder: Path) -> Iterator[SiteServer]:
    """Serves the built site, cross-origin isolated, on a free port."""
    with SiteServer(site_folder, isolated=True) as server:
        yield server


@pytest.fixture
def browser(request: pytest.FixtureRequest) -> Browser:
    """Chromium, or the browser that the test was parametrised with by name."""
    found = request.getfixturevalue(getattr(request, "param", "chromium"))
    assert isinstance(found, Browser)
    return found


@pytest.fixture
def context(browser: Browser, console: Console) -> Iterator[BrowserContext]:
    """A context with nothing stored in it, gone after the test."""
    made = browser.new_context()
    console.watch(made)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page in that context."""
    return context.new_page()


@pytest.fixture
def open_profile(playwright: Playwright, tmp_path: Path, console: Console) -> Iterator[OpenProfile]:
    """Opens a browser on a lasting profile: `open_profile(name="user", browser="chromium")`.

    Opened again under the same name (after `close()`), it has what was stored before. More named
    arguments go to `launch_persistent_context`.
    """
    opened: list[BrowserContext] = []

    def open_one(
        name: str = "user", browser: str = "chromium", **options: object
    ) -> BrowserContext:
        kind: BrowserType = getattr(playwright, browser)
        context = kind.launch_persistent_context(
            tmp_path / name, **browsers.launch_options(kind), **options
        )
        console.watch(context)
        opened.append(context)
        return context

    yield open_one
    for context in opened:
        context.close()
