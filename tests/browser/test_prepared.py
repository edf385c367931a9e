"""A prepared image on a server without ranges, opened and read in a browser."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import BrowserContext

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from support.prepared import files_of, pack

SIZE = 3 * 2**20 + 512
BOOT = [*range(100, 140), 3, 2, *range(30)]

OPEN = """async ({ module, url }) => {
  const { openDisk } = await import(module);
  const digest = async (bytes) => Array.from(
    new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("");
  const disk = await openDisk({ url, allowRemote: true });
  const first = await disk.read(1000, 5000);
  const all = await disk.read(0, disk.size);
  const found = { size: disk.size, first: await digest(first), all: await digest(all) };
  found.stats = await disk.stats();
  await disk.close();
  return found;
}"""


def content() -> bytes:
    """Noise, text and zeros by turns."""
    chance, data = random.Random(4), bytearray(SIZE)
    for number, at in enumerate(range(0, SIZE, 1 << 16)):
        length = min(1 << 16, SIZE - at)
        if number % 3 == 0:
            data[at : at + length] = chance.randbytes(length)
        elif number % 3 == 1:
            data[at : at + length] = (b"a line of text %d\n" % number * length)[:length]
    return bytes(data)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "disk.img").write_bytes(content())
    with ThreadPoolExecutor(1) as thread:  # in this one Playwright's loop runs
        work = partial(pack, folder / "disk.img", folder / "image", boot_blocks=BOOT)
        thread.submit(lambda: asyncio.run(work())).result()
    return files_of(folder / "image")


@pytest.fixture
def server(files: dict[str, bytes]) -> Iterator[ImageServer]:
    plain = Behaviour(ignore_range=True, accept_ranges=False, cors="hidden")
    with ImageServer(files, behaviour=plain) as started:
        yield started


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_it_is_read_without_ranges_and_preflights(
    context: BrowserContext, site: SiteServer, server: ImageServer, files: dict[str, bytes]
) -> None:
    page = context.new_page()
    page.goto(site.url)
    asked: dict[str, Any] = {
        "module": f"{site.url.rstrip('/')}/aero-disk.mjs",
        "url": server.url("manifest.json"),
    }
    found = page.evaluate(OPEN, asked)
    data = content()
    assert found["size"] == SIZE
    assert found["first"] == hashlib.sha256(data[1000:6000]).hexdigest()
    assert found["all"] == hashlib.sha256(data).hexdigest()
    assert {request.method for request in server.requests} == {"GET"}
    assert all("range" not in request.headers for request in server.requests)
    assert found["stats"]["bytesDownloaded"] <= sum(map(len, files.values()))
    server.forget()
    server.behaviour = Behaviour(reset=True)
    assert page.evaluate(OPEN, asked)["all"] == found["all"], "cached unpacked, the manifest kept"
