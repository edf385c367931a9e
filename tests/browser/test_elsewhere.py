"""In Pyodide elsewhere: a page that has nothing but Pyodide, and one with PyScript's tags."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from browser.conftest import CACHED
from browser.panel_page import START_TIMEOUT_MS
from lib.project import NODE_MODULES
from support.readme import EXAMPLE_URL, Block, blocks

DISK = SyntheticImage(5 * 2**20 + 100, seed=12)
PYSCRIPT = NODE_MODULES / "@pyscript" / "core" / "dist"

# What a user types; the address and the expected bytes come from the test.
READ = """
import aero_browser_disk
from aero_browser_disk.disk_file import DiskFile

disk = await aero_browser_disk.open_disk(url, allow_remote=True)
async_part = await disk.read(1_000_000, 100)
file = DiskFile(disk)
file.seek(3_000_000)
sync_part = file.read(100)
seen = [async_part.hex(), sync_part.hex(), disk.stats().storage, disk._repr_html_()]
await disk.close()
"""

BARE = """<!doctype html><title>bare</title><link rel="icon" href="data:,"><script type="module">
import { loadPyodide } from "./pyodide/pyodide.mjs";
window.run = async (index, url, code) => {
  const pyodide = await loadPyodide({ packages: ["micropip"] });
  const globals = pyodide.toPy({ url, index });
  await pyodide.runPythonAsync(`
import micropip
await micropip.install("aero-browser-disk", index_urls=index)
`, { globals });
  await pyodide.runPythonAsync(code, { globals });
  return globals.get("seen").toJs();
};
window.runAsItStands = async (index, url, code) => {
  const pyodide = await loadPyodide({ packages: ["micropip"] });
  const globals = pyodide.toPy({ url });
  pyodide.pyimport("micropip").set_index_urls(index);
  await pyodide.runPythonAsync(code, { globals });
  return await pyodide.runPythonAsync("disk.info.size", { globals });
};
window.ready = true;
</script>"""

TAGS = """<!doctype html><title>PyScript</title><link rel="icon" href="data:,">
<script type="module" src="./pyscript/core.js"></script>
<script type="py"{where} config='{config}'>
url = {url!r}
{code}
import json
import re
from pyscript import document
document.querySelector("#seen").textContent = json.dumps(seen)
</script>
<pre id="seen"></pre>"""


@pytest.fixture
def images() -> Iterator[ImageServer]:
    with ImageServer({"disk.img": DISK}) as server:
        yield server


@pytest.fixture(scope="module")
def folder(site_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of somebody else's: Pyodide, a package index with our wheel, and PyScript."""
    root = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(site_folder / "pyodide", root / "pyodide")
    index = root / "simple" / "aero-browser-disk"
    index.mkdir(parents=True)
    (wheel,) = (site_folder / "wheels").glob("*.whl")
    shutil.copy(wheel, index)
    (index / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    (root / "bare.html").write_text(BARE)
    shutil.copytree(PYSCRIPT, root / "pyscript")
    return root


@pytest.fixture(scope="module")
def plain(folder: Path) -> Iterator[SiteServer]:
    """That site, whose files browsers keep: Pyodide is large, and compiled for a while."""
    with SiteServer(folder, isolated=False, headers=CACHED) as server:
        yield server


@pytest.fixture(scope="module")
def isolated(folder: Path) -> Iterator[SiteServer]:
    """The same, cross-origin isolated."""
    with SiteServer(folder, isolated=True, headers=CACHED) as server:
        yield server


def wheel_url(folder: Path, site: SiteServer) -> str:
    (wheel,) = (folder / "simple" / "aero-browser-disk").glob("*.whl")
    return f"{site.url}{wheel.relative_to(folder).as_posix()}"


def check(seen: list[str], storage: str) -> None:
    assert seen[0] == DISK.read(1_000_000, 100).hex()
    assert seen[1] == DISK.read(3_000_000, 100).hex()
    assert seen[2] == storage
    assert "<progress" in seen[3]


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_micropip_installs_it_from_an_index_on_a_bare_page(
    page: Page, plain: SiteServer, images: ImageServer
) -> None:
    """On the page itself there are no synchronous files: the cache is in memory there."""
    page.goto(f"{plain.url}bare.html")
    page.wait_for_function("window.ready")
    arguments = [f"{plain.url}simple", images.url("disk.img"), READ]
    seen = page.evaluate("(values) => window.run(...values)", arguments)
    check(seen, "memory")


@pytest.mark.parametrize(("where", "storage"), [("", "memory"), (" worker", "opfs")])
def test_pyscript_runs_it_on_the_page_and_in_its_worker(
    page: Page, folder: Path, isolated: SiteServer, images: ImageServer, where: str, storage: str
) -> None:
    config = {
        "interpreter": f"{isolated.url}pyodide/pyodide.mjs",
        "packages": [wheel_url(folder, isolated)],
    }
    url = images.url("disk.img")
    text = TAGS.format(where=where, config=json.dumps(config), url=url, code=READ)
    name = f"pyscript-{storage}.html"
    (folder / name).write_text(text)
    page.goto(f"{isolated.url}{name}")
    page.wait_for_function("document.querySelector('#seen')?.textContent", timeout=START_TIMEOUT_MS)
    seen = json.loads(page.text_content("#seen") or "")
    check(seen, storage)


@pytest.mark.parametrize(
    "block", [b for b in blocks("python") if "import micropip" in b.text], ids=str
)
def test_what_the_pages_say_of_micropip_runs_as_it_stands(
    block: Block, page: Page, folder: Path, plain: SiteServer, images: ImageServer
) -> None:
    page.goto(f"{plain.url}bare.html")
    page.wait_for_function("window.ready")
    text = block.text.replace(EXAMPLE_URL, images.url("disk.img"))
    text, wheels = re.subn(r"https://images\.example/[^\"]*\.whl", wheel_url(folder, plain), text)
    assert wheels == 1
    arguments = [f"{plain.url}simple", images.url("disk.img"), text]
    size = page.evaluate("(values) => window.runAsItStands(...values)", arguments)
    assert size == DISK.size


def test_the_tag_of_pyscript_runs_as_it_stands(
    page: Page, folder: Path, isolated: SiteServer, images: ImageServer
) -> None:
    (tag,) = [block.text for block in blocks("html") if block.text.startswith("<script")]
    # PyPI has neither this wheel nor Pyodide here.
    ours = f'"{wheel_url(folder, isolated)}"], "interpreter": '
    ours += f'"{isolated.url}pyodide/pyodide.mjs"'
    tag = tag.replace('"aero-browser-disk"]', ours)
    tag = tag.replace(EXAMPLE_URL, images.url("disk.img"))
    head = TAGS.partition('<script type="py"')[0]
    (folder / "tag.html").write_text(head + tag)
    page.goto(f"{isolated.url}tag.html")
    page.wait_for_function(f"document.title === '{DISK.size} bytes'", timeout=START_TIMEOUT_MS)
