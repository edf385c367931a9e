"""What every kind of test shares: one Playwright, its browsers, and the order of the folders."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, Playwright, sync_playwright
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from lib import browsers

# How long an example takes says more of the machine than of the code. CI always tries the same
# examples; scripts/test gives every other run a seed of its own.
settings.register_profile(
    "house",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")

# What a shell starts in the background ignores SIGINT, and so does what it starts. Tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Fast ones first. Playwright's event loop stays in this thread once started, and pytest-asyncio
# cannot start another beside it, so what needs a browser also comes after what needs asyncio.
FOLDERS = ("unit", "fuzz", "service", "pyodide", "browser")
TESTS = Path(__file__).parent

# The files of the last folder that take longest, the longest first: one that began last would leave
# the other cores idle.
LONG = (
    "test_elsewhere.py",
    "test_quick_start.py",
    "test_npm.py",
    "test_jupyterlite.py",
    "test_v86_boot.py",
    "test_library.py",
    "test_tabs.py",
    "test_element.py",
    "test_page_library.py",
    "test_accessibility.py",
    "test_crash.py",
)


def rank(item: pytest.Item) -> tuple[int, int, Path, str]:
    """Where the test stands in the order: by folder, file and browser.

    pytest-pyodide has its browsers in a set, and all processes of a run must find the same order.
    """
    call = getattr(item, "callspec", None)
    folder, *_, name = item.path.relative_to(TESTS).parts
    turn = LONG.index(name) if folder == FOLDERS[-1] and name in LONG else len(LONG)
    return FOLDERS.index(folder), turn, item.path, call.params.get("runtime", "") if call else ""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Brings folders and files into order, and leaves the order within each file."""
    items.sort(key=rank)


class Scheduling(LoadFileScheduling):
    """A file of tests for a process at a time; one process has the files that share what is dear.

    Those are the four Pyodides of tests/pyodide, each started once, and the distribution that they
    start from.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "tests/pyodide" if file.startswith("tests/pyodide/") else file


@pytest.hookimpl(optionalhook=True)  # where xdist is not loaded
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """The scheduling of `--dist loadfile`."""
    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """Playwright, started once: a second one cannot be in the same thread."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Chromium, without a window."""
    # The second has memory measured at once instead of at a moment that nobody can foresee.
    flags = ("--js-flags=--expose-gc", "--enable-blink-features=ForceEagerMeasureMemory")
    browser = browsers.launch(playwright, "chromium", flags)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def firefox(playwright: Playwright) -> Iterator[Browser]:
    """Firefox, without a window."""
    browser = browsers.launch(playwright, "firefox")
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def site_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from the sources as they are now, or the one that SITE names."""
    if built := os.environ.get("SITE"):
        return Path(built)
    from building.site import build_site  # not on every Python that runs unit tests

    folder = tmp_path_factory.mktemp("built") / "site"
    build_site(folder)
    return folder
