"""The built site, and browsers to open it in.

`page` is a fresh page in Chromium, in a context that all tests share and find empty, but for what
lets Python start quickly: the browser's HTTP cache and the memory snapshot. In both browsers:

    @pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
    def test_something(page, site): page.goto(site.url)

Where a first visit matters, `fresh_context` has never seen the site. `open_profile` is for what
must survive a restart, or is about speed. Whatever a page says on its console at the level of a
warning or an error fails the test, unless `console` was told to allow it. There are no service
workers but in their own tests: routes and requests of Playwright do not see through them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, Playwright, expect

from aero_browser_disk.testing.site_server import SiteServer
from browser.boot_page import copy_with_emulator
from browser.panel_page import STEP_TIMEOUT_MS
from lib import browsers
from lib.page_headers import page_headers
from lib.project import NODE_MODULES

# Five seconds are too few where other tests have the processors. It ends as soon as it holds.
expect.set_options(timeout=STEP_TIMEOUT_MS)

OpenProfile = Callable[..., BrowserContext]


@dataclass
class Console:
    """What pages complained of."""

    complaints: list[str] = field(default_factory=list)
    allowed: list[re.Pattern[str]] = field(default_factory=list)

    def allow(self, pattern: str) -> None:
        """Lets complaints pass that match the regular expression.

        They are not demanded: a message of a worker that ends, or of a page that is closed, may
        never arrive. What went wrong is to be looked for where the page shows it.
        """
        self.allowed.append(re.compile(pattern))

    def watch(self, context: BrowserContext) -> Callable[[], None]:
        """Listens to every page and worker of the context, until what is returned is called."""
        return browsers.watch_console(context, self.complaints)

    def check(self) -> None:
        """Fails on what was not allowed."""
        unexpected = [
            complaint
            for complaint in self.complaints
            if not any(pattern.search(complaint) for pattern in self.allowed)
        ]
        assert not unexpected, "the console must stay empty"


@pytest.fixture
def console() -> Iterator[Console]:
    """Fails the test on what pages complain of on their consoles."""
    listening = Console()
    yield listening
    listening.check()


CACHED = {"Cache-Control": "public, max-age=3600"}


@pytest.fixture(scope="session")
def served_folder(site_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site with DOSBox, and an icon, which browsers ask for where a page names none.

    A route would do too, but it turns the browser's cache off.
    """
    folder = tmp_path_factory.mktemp("site")
    for path in site_folder.iterdir():
        (folder / path.name).symlink_to(path, target_is_directory=path.is_dir())
    (folder / "favicon.ico").touch()
    (folder / "emulators").symlink_to(NODE_MODULES / "emulators" / "dist")
    return folder


@pytest.fixture(scope="session")
def site(served_folder: Path) -> Iterator[SiteServer]:
    """Serves the built site, cross-origin isolated, on a free port, its files to be cached."""
    with SiteServer(served_folder, isolated=True, headers=CACHED | page_headers()) as server:
        yield server


@pytest.fixture(scope="session")
def plain_site(served_folder: Path) -> Iterator[SiteServer]:
    """Serves it without isolation."""
    with SiteServer(served_folder, isolated=False, headers=CACHED | page_headers()) as server:
        yield server


@pytest.fixture(scope="module")
def boot_site(site_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteServer]:
    """Serves the built site with v86 and its BIOS, isolated, for one module."""
    folder = tmp_path_factory.mktemp("boot") / "site"
    copy_with_emulator(site_folder, folder)
    with SiteServer(folder, isolated=True) as server:
        yield server


@pytest.fixture
def browser(request: pytest.FixtureRequest) -> Browser:
    """Chromium, or the browser that the test was parametrised with by name."""
    found = request.getfixturevalue(getattr(request, "param", "chromium"))
    assert isinstance(found, Browser)
    return found


@pytest.fixture(scope="session")
def shared_context(
    playwright: Playwright, site: SiteServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[BrowserType], BrowserContext]]:
    """For each kind of browser the context that its tests share.

    It has a profile on disk, where Python starts in two thirds of the time: compiled WebAssembly is
    kept, and private files are quick. Its first page is of the site, with nothing running on it:
    with the last page the browser would go, and its storage is emptied from there.
    """
    opened: dict[str, BrowserContext] = {}

    def find(kind: BrowserType) -> BrowserContext:
        if kind.name not in opened:
            opened[kind.name] = made = kind.launch_persistent_context(
                tmp_path_factory.mktemp(kind.name),
                service_workers="block",
                **browsers.launch_options(kind),
            )
            made.set_default_timeout(STEP_TIMEOUT_MS)
            made.pages[0].goto(f"{site.url}manifest.json")
        return opened[kind.name]

    yield find
    for context in opened.values():
        context.close()


@pytest.fixture
def context(
    browser: Browser,
    shared_context: Callable[[BrowserType], BrowserContext],
    console: Console,
) -> Iterator[BrowserContext]:
    """The shared context, with nothing of another test's open or stored in it."""
    shared = shared_context(browser.browser_type)
    unwatch = console.watch(shared)
    yield shared
    unwatch()
    shared.unroute_all(behavior="ignoreErrors")
    first, *others = shared.pages
    for page in others:
        page.close()
    # All that pages of the site have stored, but for the memory snapshot.
    shared.clear_cookies()
    first.evaluate(EMPTY)


@pytest.fixture
def fresh_context(browser: Browser, console: Console) -> Iterator[BrowserContext]:
    """A context of this test's own, in which nothing is stored or cached."""
    made = browser.new_context(service_workers="block")
    made.set_default_timeout(STEP_TIMEOUT_MS)
    console.watch(made)
    yield made
    made.close()


# Workers of pages that are closed hold their files a little longer.
EMPTY = """async () => {
  localStorage.clear();
  sessionStorage.clear();
  for (const { name } of await indexedDB.databases()) {
    await new Promise((done) => {
      const removing = indexedDB.deleteDatabase(name);
      removing.onsuccess = removing.onerror = done;
    });
  }
  const root = await navigator.storage.getDirectory();
  const ours = await root.getDirectoryHandle("aero-browser-disk", { create: true });
  const remove = async (folder, keep) => {
    for await (const name of folder.keys()) {
      while (name !== keep) {
        try {
          await folder.removeEntry(name, { recursive: true });
          break;
        } catch (error) {
          if (error.name !== "NoModificationAllowedError") throw error;
        }
      }
    }
  };
  await remove(root, "aero-browser-disk");
  await remove(ours, "quick-start");
}"""


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page in that context."""
    return context.new_page()


@pytest.fixture
def plain_page(context: BrowserContext, plain_site: SiteServer) -> Iterator[Page]:
    """A page in that context for the site without isolation, of which it stores nothing."""
    page = context.new_page()
    yield page
    page.goto(f"{plain_site.url}manifest.json")
    page.evaluate(EMPTY)


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
            tmp_path / name,
            **browsers.launch_options(kind),
            **{"service_workers": "block", **options},
        )
        context.set_default_timeout(STEP_TIMEOUT_MS)
        console.watch(context)
        opened.append(context)
        return context

    yield open_one
    for context in opened:
        context.close()
