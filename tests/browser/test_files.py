"""The files of a streamed disk in JavaScript: `files.mjs` over a worker and a real server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from support import file_images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageServer]:
    """Serves a disk with an ext4 partition from the 2048th sector."""
    folder = tmp_path_factory.mktemp("files")
    volume = file_images.make_ext(
        folder / "ext4", file_images.write_tree(folder / "tree"), "ext4", size=16 << 20
    )
    script = "label: dos\nstart=2048, size=32768, type=83\n"
    disk = file_images.partition(folder / "disk.img", script, 20 << 20, {2048: volume})
    with ImageServer({"disk.img": disk}) as server:
        yield server


BROWSE = """async ({ base, url }) => {
  const { openDisk } = await import(`${base}aero-disk.mjs`);
  const { Files } = await import(`${base}files.mjs`);
  const disk = await openDisk({ url, allowRemote: true });
  const files = new Files(disk);
  const digest = async (blob) => Array.from(
    new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer())),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("");
  const name = async (work) => { try { await work(); } catch (error) { return error.name; } };
  const progress = [];
  const blob = await files.blob("/1/big.bin", { onProgress: (...seen) => progress.push(seen) });
  const [extent] = await files.extents("/1/big.bin");
  const reader = files.stream("/1/big.bin").getReader();
  const first = (await reader.read()).value;
  await reader.cancel();
  const stopped = new AbortController();
  const stop = () => stopped.abort();
  const result = {
    volumes: (await files.list("/")).entries,
    root: (await files.list("/1")).entries.map((entry) => [entry.name, entry.kind, entry.size]),
    many: (await files.list("/1/many")).entries.length,
    hello: new TextDecoder().decode(await files.read("/1/hello.txt", 0, 100)),
    big: await digest(blob),
    size: blob.size,
    progress,
    first: first.length,
    where: await files.where(extent.diskOffset + 5),
    missing: await name(() => files.read("/1/none", 0, 1)),
    aborted: await name(() =>
      files.blob("/1/big.bin", { signal: stopped.signal, onProgress: stop })),
    downloaded: (await disk.stats()).bytesDownloaded,
  };
  await disk.close();
  result.closed = await name(() => files.list("/"));
  return result;
}"""


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_files_are_listed_read_and_taken_out(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    page.goto(site.url)
    seen: dict[str, Any] = page.evaluate(BROWSE, {"base": site.url, "url": images.url("disk.img")})
    (volume,) = seen["volumes"]
    assert (volume["name"], volume["kind"], volume["description"], volume["label"]) == (
        ("1", "volume", "ext4", "Vol")
    )
    assert (volume["offset"], volume["cannot"]) == (2048 * 512, None)
    assert ["hello.txt", "file", 6] in seen["root"]
    assert ["folder", "folder", None] in seen["root"]
    assert seen["many"] == file_images.MANY
    assert seen["hello"] == "hello\n"
    assert seen["big"] == hashlib.sha256(file_images.BIG).hexdigest()
    assert seen["size"] == len(file_images.BIG)
    assert [done for done, _ in seen["progress"]] == [2 << 20, len(file_images.BIG)]
    assert seen["first"] == 2 << 20
    assert seen["where"] == {"volume": "1", "kind": "ext4", "path": "/1/big.bin"}
    assert seen["missing"] == "NoSuchFileError"
    assert seen["aborted"] == "AbortError"
    assert seen["closed"] == "DiskClosedError"
    assert seen["downloaded"] < 5 << 20  # of 20 MiB
