"""Runs test functions in Pyodide: in Chromium and in Firefox, on the page or in a worker.

    from pytest_pyodide import run_in_pyodide

    @run_in_pyodide
    async def test_something(selenium_worker): ...

The argument says where it runs: `selenium` on the page, `selenium_worker` in a dedicated worker
(only there does OPFS have sync access handles), each with Pyodide started once for all modules. The
body runs in Pyodide, so it imports for itself; this package is there, as its sources are now.
The storage is empty when a module starts: close what you open.

Never use `--run-in-pyodide`: it passes tests that fail.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_pyodide
from playwright.sync_api import Browser
from pytest_pyodide.config import get_global_config
from pytest_pyodide.fixture import _runner_map, selenium_common
from pytest_pyodide.hook import pytest_wrapper
from pytest_pyodide.runner import (
    PlaywrightChromeRunner,
    PlaywrightFirefoxRunner,
    _BrowserWorkerRunnerMixin,
)

from aero_browser_disk.testing.site_server import SiteServer
from building.pyodide_distribution import write_distribution
from building.wheels import build_wheel
from lib.project import PYODIDE_WHEELS

TEMPLATES = Path(pytest_pyodide.__file__).parent / "_templates"
HOST_ONLY = ("pyodide_lock-", "pyodide_py-")

get_global_config().set_initialize_script("await pyodide.loadPackage('aero-browser-disk');")


class PlaywrightWorkerChromeRunner(_BrowserWorkerRunnerMixin, PlaywrightChromeRunner):
    """Runs in a dedicated worker in Chromium. pytest-pyodide has this for selenium only."""


class PlaywrightWorkerFirefoxRunner(_BrowserWorkerRunnerMixin, PlaywrightFirefoxRunner):
    """Runs in a dedicated worker in Firefox."""


_runner_map()["playwright", "chrome", "worker"] = PlaywrightWorkerChromeRunner
_runner_map()["playwright", "firefox", "worker"] = PlaywrightWorkerFirefoxRunner


@pytest.fixture(scope="session")
def playwright_browsers(request: pytest.FixtureRequest) -> dict[str, Browser]:
    """The browsers under test, by pytest-pyodide's names for them."""
    fixtures = {"chrome": "chromium", "firefox": "firefox"}
    return {
        runtime: request.getfixturevalue(fixtures[runtime])
        for runtime in sorted(pytest_wrapper.pyodide_runtimes)
    }


@pytest.fixture(scope="session")
def pyodide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pyodide with what tests import, this package as it is now, and pytest-pyodide's pages."""
    folder = tmp_path_factory.mktemp("pyodide")
    wheels = [w for w in PYODIDE_WHEELS.glob("*.whl") if not w.name.startswith(HOST_ONLY)]
    wheels.append(build_wheel(tmp_path_factory.mktemp("wheel")))
    write_distribution(folder, wheels)
    shutil.copytree(TEMPLATES, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def web_server_main(pyodide_folder: Path) -> Iterator[tuple[str, int, None]]:
    """Serves the pages with cross-origin isolation: host, port, log."""
    with SiteServer(pyodide_folder, isolated=True) as site:
        address = urlsplit(site.url)
        assert address.hostname
        assert address.port
        yield address.hostname, address.port, None


Runner = PlaywrightChromeRunner | PlaywrightFirefoxRunner

EMPTY_STORAGE = """async () => {
  const root = await navigator.storage.getDirectory();
  for await (const name of root.keys()) await root.removeEntry(name, { recursive: true });
}"""


@pytest.fixture(scope="session")
def runner_of(
    request: pytest.FixtureRequest,
    web_server_main: tuple[str, int, None],
    playwright_browsers: dict[str, Browser],
) -> Iterator[Callable[[str, bool], Runner]]:
    """The runner in a browser, on the page or in a worker; its storage is empty."""
    started: dict[tuple[str, bool], Runner] = {}
    with ExitStack() as stack:

        def find(runtime: str, worker: bool) -> Runner:
            if (runtime, worker) not in started:
                making = selenium_common(
                    request, runtime, web_server_main, browsers=playwright_browsers, worker=worker
                )
                started[runtime, worker] = stack.enter_context(making)
            runner = started[runtime, worker]
            runner.driver.evaluate(EMPTY_STORAGE)
            return runner

        yield find


@pytest.fixture(scope="module")
def selenium_module_scope(runtime: str, runner_of: Callable[[str, bool], Runner]) -> Runner:
    """pytest-pyodide's, which would start one for each module."""
    return runner_of(runtime, False)


@pytest.fixture(scope="module")
def selenium_worker_module_scope(runtime: str, runner_of: Callable[[str, bool], Runner]) -> Runner:
    """The same of the worker."""
    return runner_of(runtime, True)
