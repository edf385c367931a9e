"""In a notebook of JupyterLite, whose kernel runs Pyodide in a worker.

The kernel is without JupyterLite's drive. On an isolated page the kernel asks for the drive's files
by Atomics.wait, and on a busy machine it reads a response before that is written whole (coincident
1.2: what waits for the first four bytes returns at once if they are there). About one kernel of 20
then dies of "SyntaxError: Bad control character in string literal in JSON" before its first cell.
Without isolation it has the drive only where there is a service worker.
"""

from __future__ import annotations

import json
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, Locator, Page, expect

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from browser.conftest import CACHED
from building.pyodide_distribution import stock_wheel, write_distribution
from building.wheels import build_wheel
from lib.project import NOTEBOOK_WHEELS
from support import file_images

DISK = SyntheticImage(2 * 2**20, seed=3)
KERNEL = "@jupyterlite/pyodide-kernel-extension"
SERVICE_WORKER = "@jupyterlite/application-extension:service-worker-manager"
# What the kernel asks Pyodide for before the first cell runs.
OF_KERNEL = ("micropip", "piplite", "ipykernel", "comm", "pyodide-kernel", "jedi", "ipython")

# What a user types.
CELL = """
import piplite
await piplite.install("aero-browser-disk")

import aero_browser_disk
from aero_browser_disk.disk_file import DiskFile
from aero_browser_disk.notebook import fetch_all

disk = await aero_browser_disk.open_disk({url!r}, allow_remote=True)
file = DiskFile(disk)
file.seek(1_000_000)
print(file.read(32).hex(), disk.stats().storage)
await fetch_all(disk)
disk
"""


# What a user types to read a table out of an image: plain calls, and the csv module.
TABLE_CELL = """
import piplite
await piplite.install("aero-browser-disk")

import csv
from aero_browser_disk.sync import open_disk

with open_disk({url!r}, allow_remote=True) as disk:
    for path in disk.files.path("/1").glob("data/*.csv"):
        with path.open("r", newline="") as file:
            rows = list(csv.DictReader(file))
        print(path, len(rows), sum(int(row["size"]) for row in rows), disk.stats().bytes_downloaded)
"""
ROWS = 20_000
# Of a failure: on a machine with much else to do the kernel once took two minutes to start.
KERNEL_TIMEOUT_MS = 400_000

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def notebook_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JupyterLite as its own command builds it, with a Pyodide that has our wheel."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("lite") / "site"
    kernel = {
        "pyodideUrl": "/pyodide/pyodide.mjs",
        "disablePyPIFallback": True,
        "loadPyodideOptions": {"packages": OF_KERNEL},
    }
    settings = {
        "disabledExtensions": [SERVICE_WORKER],
        "litePluginSettings": {f"{KERNEL}:kernel": kernel},
    }
    lite = {"jupyter-lite-schema-version": 0, "jupyter-config-data": settings}
    (source / "jupyter-lite.json").write_text(json.dumps(lite))
    building = {"apps": ["repl"], "output_dir": str(site), "no_unused_shared_packages": True}
    (source / "jupyter_lite_config.json").write_text(json.dumps({"LiteBuildConfig": building}))
    jupyter = Path(sysconfig.get_path("scripts"), "jupyter-lite")
    subprocess.run([jupyter, "build"], cwd=source, check=True, capture_output=True)
    own = (site / "extensions" / KERNEL / "static" / "pypi").glob("*.whl")
    wheels = [
        *NOTEBOOK_WHEELS.glob("*.whl"),
        *(wheel for wheel in own if not wheel.name.startswith("widgetsnbextension")),
        *(stock_wheel(name) for name in ("micropip", "packaging")),
        build_wheel(tmp_path_factory.mktemp("wheel")),
    ]
    write_distribution(site / "pyodide", wheels)
    return site


@pytest.fixture(scope="module")
def lite(notebook_site: Path) -> Iterator[SiteServer]:
    """Serves it, not isolated, its files to be cached."""
    with SiteServer(notebook_site, isolated=False, headers=CACHED) as server:
        yield server


@pytest.fixture(scope="module")
def ext4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ext4 image with a table among other files."""
    folder = tmp_path_factory.mktemp("ext4")
    (folder / "tree" / "data").mkdir(parents=True)
    (folder / "tree" / "data" / "noise.bin").write_bytes(DISK.read(0, DISK.size))
    table = "name,size\n" + "".join(f"file {number},{number}\n" for number in range(ROWS))
    (folder / "tree" / "data" / "table.csv").write_text(table)
    return file_images.make_ext(folder / "ext4.img", folder / "tree", "ext4")


@pytest.fixture
def images(ext4: Path) -> Iterator[ImageServer]:
    with ImageServer({"disk.img": DISK, "ext4.img": ext4}) as server:
        yield server


@pytest.fixture
def notebook(
    chromium: Browser, shared_context: Callable[[BrowserType], BrowserContext]
) -> Iterator[Page]:
    """A page whose console nobody reads: JupyterLite asks for files that its build leaves out."""
    page = shared_context(chromium.browser_type).new_page()
    yield page
    page.close()


def run_cell(notebook: Page, site: SiteServer, cell: str) -> Locator:
    """Opens a console that runs a cell; what it prints."""
    query = urlencode({"kernel": "python", "execute": "1", "code": cell})
    notebook.goto(f"{site.url}repl/index.html?{query}")
    return notebook.locator(".jp-OutputArea-output")


def test_a_cell_installs_it_reads_exactly_and_shows_bar_and_disk(
    notebook: Page, lite: SiteServer, images: ImageServer
) -> None:
    printed = run_cell(notebook, lite, CELL.format(url=images.url("disk.img")))
    exact = DISK.read(1_000_000, 32).hex()
    expect(printed.filter(has_text=exact)).to_have_text(
        f"{exact} opfs\n", timeout=KERNEL_TIMEOUT_MS
    )
    expect(printed.filter(has_text="Fetching")).to_contain_text("2 MiB of 2 MiB, 100 %")
    shown = printed.filter(has_text="downloaded")
    expect(shown).to_contain_text("2 MiB (2,097,152 bytes)")
    expect(shown.locator("progress")).to_have_attribute("value", str(DISK.size))


def test_a_cell_reads_a_table_out_of_a_streamed_ext4(
    notebook: Page, lite: SiteServer, images: ImageServer, ext4: Path
) -> None:
    printed = run_cell(notebook, lite, TABLE_CELL.format(url=images.url("ext4.img")))
    total = sum(range(ROWS))
    line = printed.filter(has_text="/1/data/table.csv")
    expect(line).to_contain_text(f"/1/data/table.csv {ROWS} {total} ", timeout=KERNEL_TIMEOUT_MS)
    downloaded = int((line.text_content() or "").split()[-1])
    assert 0 < downloaded < ext4.stat().st_size // 8
