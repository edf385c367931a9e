"""Python starts from a memory snapshot, and without one when anything is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage

DISK = SyntheticImage(2**20, seed=12)

START = """async ({ url, image }) => {
  const { connect, openDisk } = await import(url);
  const progress = [];
  const onStartProgress = (loaded, total) => progress.push([loaded, total]);
  const started = await connect({ onStartProgress }).started;
  const disk = await openDisk({ url: image, allowRemote: true });
  return { ...started, progress, bytes: Array.from(await disk.read(1000, 16)) };
}"""

# The name of the file that is kept, once the whole snapshot is and nobody writes to it any more.
KEPT = """async (url) => {
  const { build } = await import(url);
  const root = await navigator.storage.getDirectory();
  const ours = await root.getDirectoryHandle("aero-browser-disk", { create: true });
  for (;;) {
    const folder = await ours.getDirectoryHandle("quick-start", { create: true });
    const files = await Array.fromAsync(folder.values());
    const sizes = await Promise.all(files.map(async (file) => (await file.getFile()).size));
    if (files.length !== 1 || sizes[0] !== build.snapshot.bytes) continue;
    const writable = await files[0].createWritable().catch(() => null); // while it is being flushed
    await writable?.abort();
    if (writable) return files[0].name;
  }
}"""

CHANGE = """async (how) => {
  const root = await navigator.storage.getDirectory();
  const ours = await root.getDirectoryHandle("aero-browser-disk");
  const folder = await ours.getDirectoryHandle("quick-start");
  for await (const [name, file] of folder) {
    const stream = await file.createWritable({ keepExistingData: true });
    if (how === "torn") await stream.truncate(5_000_000);
    if (how === "changed") {
      const position = 9_000_000;
      const bytes = await (await file.getFile()).slice(position, position + 1).bytes();
      await stream.write({ type: "write", position, data: bytes.map((byte) => byte ^ 1) });
    }
    await stream.close();
    if (how === "of another build") {
      const other = await folder.getFileHandle(`of-another-${name}`, { create: true });
      const copy = await other.createWritable();
      await copy.write(await file.getFile());
      await copy.close();
      await folder.removeEntry(name);
    }
  }
}"""


@pytest.fixture(scope="module")
def images() -> Iterator[ImageServer]:
    with ImageServer({"disk.img": DISK}) as server:
        yield server


class Visitor:
    """Comes to the site, has Python started there, and reads a little."""

    def __init__(self, context: BrowserContext, site: SiteServer, images: ImageServer) -> None:
        self.page: Page = context.new_page()
        self._site = site
        self._images = images

    def start(self) -> dict[str, Any]:
        """How Python came up, after what it read was seen to be right."""
        self.page.goto(f"{self._site.url}manifest.json")
        places = {"url": f"{self._site.url}aero-disk.mjs", "image": self._images.url("disk.img")}
        facts: dict[str, Any] = self.page.evaluate(START, places)
        assert bytes(facts.pop("bytes")) == DISK.read(1000, 16)
        return facts

    def wait_until_kept(self) -> str:
        """The name of what is kept, once there is nothing but the whole snapshot."""
        name: str = self.page.evaluate(KEPT, f"{self._site.url}build.mjs")
        return name


@pytest.fixture
def visitor(fresh_context: BrowserContext, site: SiteServer, images: ImageServer) -> Visitor:
    return Visitor(fresh_context, site, images)


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_the_snapshot_is_kept_at_the_first_visit_and_used_at_the_next(
    visitor: Visitor, site: SiteServer, site_folder: Path
) -> None:
    facts = visitor.start()
    assert facts["from"] == "snapshot"
    (snapshot,) = (site_folder / "quick-start").glob("*.zst")
    total = sum(
        path.stat().st_size for path in (snapshot, site_folder / "pyodide" / "pyodide.asm.wasm")
    )
    loaded = [loaded for loaded, _ in facts["progress"]]
    assert loaded == sorted(loaded)
    assert facts["progress"][-1] == [total, total]
    assert re.fullmatch(r"python-[0-9a-f]{16}\.snapshot", visitor.wait_until_kept())
    site.forget()

    facts = visitor.start()

    assert (facts["from"], facts["progress"]) == ("kept snapshot", [])
    assert [line for line in site.requests if "quick-start" in line or ".whl" in line] == []


@pytest.mark.parametrize("how", ["torn", "changed", "of another build"])
def test_a_kept_snapshot_that_is_no_good_is_replaced(visitor: Visitor, how: str) -> None:
    visitor.start()
    visitor.wait_until_kept()
    visitor.page.evaluate(CHANGE, how)

    facts = visitor.start()

    if how == "changed":  # seen only once all of it was read
        assert (facts["from"], facts["reason"]) == ("wheel", "the snapshot is damaged")
        facts = visitor.start()
    assert facts["from"] == "snapshot"
    visitor.wait_until_kept()


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_without_private_files_the_snapshot_is_fetched_each_time(
    visitor: Visitor, fresh_context: BrowserContext
) -> None:
    refuse = "navigator.storage.getDirectory = () => Promise.reject(new DOMException('no'));"
    fresh_context.route(
        "**/snapshot.mjs",
        lambda route: route.fulfill(response=(found := route.fetch()), body=refuse + found.text()),
    )
    assert visitor.start()["from"] == "snapshot"
    assert visitor.start()["from"] == "snapshot"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ({"status": 404}, "returned status 404"),
        ({"body": b"this is not zstd"}, "."),
        ({"body": b""}, "."),
    ],
    ids=["missing", "garbage", "empty"],
)
def test_a_snapshot_that_cannot_be_had_leaves_the_wheel(
    visitor: Visitor, fresh_context: BrowserContext, console: Any, response: Any, reason: str
) -> None:
    fresh_context.route("**/quick-start/*", lambda route: route.fulfill(**response))
    facts = visitor.start()
    assert facts["from"] == "wheel"
    assert re.search(reason, facts["reason"])


def test_a_snapshot_of_another_pyodide_leaves_the_wheel(
    visitor: Visitor, fresh_context: BrowserContext
) -> None:
    """Pyodide itself refuses it, by the build that it was made with."""
    fresh_context.route(
        "**/pyodide.mjs",
        lambda route: route.fulfill(
            response=(found := route.fetch()),
            body=re.sub('BUILD_ID:"[0-9a-f]{64}"', f'BUILD_ID:"{"0" * 64}"', found.text()),
        ),
    )
    facts = visitor.start()
    assert facts["from"] == "wheel"
    assert "build id mismatch" in facts["reason"]


WAKE = """(site) => new Promise((resolve) => {
  const script = `
    const { startPython } = await import("${site}python.mjs");
    const { pyodide, facts } = await startPython({ pyodideUrl: "${site}pyodide/", wheelUrl: null });
    const { HEAP32, ...found } = pyodide._module;
    const offset = HEAP32[found.__PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET / 4];
    const trampoline = HEAP32[(found.__PyRuntime + offset) / 4];
    const drawn = pyodide.runPython("import random; random.random()");
    postMessage({ ...facts, trampoline, drawn });
  `;
  const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), {
    type: "module",
  });
  worker.onmessage = ({ data }) => resolve(data);
})"""


def test_each_start_draws_other_random_numbers_and_calls_c_at_full_speed(
    page: Page, site: SiteServer
) -> None:
    page.goto(f"{site.url}manifest.json")
    first, second = page.evaluate(WAKE, site.url), page.evaluate(WAKE, site.url)
    assert "snapshot" in first["from"]
    assert first["drawn"] != second["drawn"]
    assert first["trampoline"] > 0


IMPORTS = """(site) => new Promise((resolve) => {
  const script = `
    const { startPython } = await import("${site}python.mjs");
    const { pyodide, facts } = await startPython({ pyodideUrl: "${site}pyodide/", wheelUrl: null });
    postMessage({ facts, before: true });
    onmessage = ({ data }) => {
      try {
        postMessage({ value: pyodide.runPython(data) });
      } catch (error) {
        postMessage({ error: error.message.trim().split("\\\\n").at(-1) });
      }
    };
  `;
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  globalThis.python = new Worker(url, { type: "module" });
  python.onmessage = ({ data }) => resolve(data.facts);
})"""
RUN = """(code) => new Promise((resolve) => {
  python.onmessage = ({ data }) => resolve(data);
  python.postMessage(code);
})"""
USES_LIBRARY = """
import csv, http.client, importlib, io, traceback, unittest.mock
rows = list(csv.reader(io.StringIO("a,b")))
importlib.invalidate_caches()
import wave
source = __import__("inspect").getsource(wave.open)
str((rows, source.splitlines()[0]))
"""


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_modules_that_are_not_in_the_snapshot_are_fetched_when_they_are_imported(
    page: Page, site: SiteServer
) -> None:
    page.goto(f"{site.url}manifest.json")
    site.forget()
    assert "snapshot" in page.evaluate(IMPORTS, site.url)["from"]
    assert not [line for line in site.requests if ".zip" in line]

    page.evaluate(RUN, "import aero_browser_disk.worker.save_operations")
    assert re.fullmatch(
        r"GET /quick-start/later-\w+\.zip",
        "\n".join(line for line in site.requests if ".zip" in line),
    )

    value = page.evaluate(RUN, USES_LIBRARY)["value"]

    assert value == str(([["a", "b"]], "def open(f, mode=None):"))
    assert [line for line in site.requests if "stdlib" in line] == [
        "GET /pyodide/python_stdlib.zip"
    ]
    missing = page.evaluate(RUN, "import not_there")
    assert missing["error"] == "ModuleNotFoundError: No module named 'not_there'"


def test_modules_that_cannot_be_fetched_are_an_error_and_asked_for_again(
    page: Page, site: SiteServer, console: Any
) -> None:
    page.goto(f"{site.url}manifest.json")
    page.evaluate(IMPORTS, site.url)
    page.route("**/python_stdlib.zip", lambda route: route.fulfill(status=503))
    assert "Error" in page.evaluate(RUN, "import csv")["error"]
    page.unroute("**/python_stdlib.zip")

    assert page.evaluate(RUN, "import csv; csv.__name__") == {"value": "csv"}

    page.route("**/later-*.zip", lambda route: route.fulfill(status=503))
    assert "Error" in page.evaluate(RUN, "import aero_browser_disk.saves")["error"]
    page.unroute("**/later-*.zip")

    code = "from aero_browser_disk.saves import SaveServer; SaveServer.__name__"
    assert page.evaluate(RUN, code) == {"value": "SaveServer"}
