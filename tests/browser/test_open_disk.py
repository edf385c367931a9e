"""What a program imports: `openDisk` and the disk that it gives, in one page."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from support.qemu import needs_qemu, patchy_disk, qemu_img

DISK = SyntheticImage(8 * 2**20 + 100, seed=9)

PRELUDE = """async ({ module, url, other }) => {
  const { openDisk } = await import(module);
  const failure = async (work) => {
    try { await work(); } catch (error) {
      const { name, message } = error;
      return { isError: error instanceof Error, name, message, ...error };
    }
  };
  const digest = async (bytes) => Array.from(
    new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("");
"""


@pytest.fixture
def images() -> Iterator[ImageServer]:
    with ImageServer({"disk.img": DISK, "other.img": DISK}) as server:
        yield server


@pytest.fixture
def run(context: BrowserContext, site: SiteServer, images: ImageServer) -> Any:
    """Runs the body of a function in a page of the site, with `openDisk` at hand."""
    page: Page = context.new_page()
    page.goto(site.url)
    found = {
        "module": f"{site.url.rstrip('/')}/aero-disk.mjs",
        "url": images.url("disk.img"),
        "other": images.url("other.img"),
    }
    return lambda body: page.evaluate(PRELUDE + body + "}", found)


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_a_disk_is_opened_read_counted_cleared_and_closed(run: Any, images: ImageServer) -> None:
    seen = run("""
      const closed = await failure(() => openDisk({ url }));
      const disk = await openDisk({ url, allowRemote: true, blockSize: 65536, bootProfile: null });
      const bytes = await disk.read(1000, 3_000_000);
      const outside = await failure(() => disk.read(disk.size, 1));
      const stats = await disk.stats();
      const profile = JSON.parse(new TextDecoder().decode(await disk.bootProfile()));
      await disk.clearCache();
      const cleared = (await disk.stats()).cachedBytes;
      await disk.close();
      const gone = await failure(() => disk.read(0, 1));
      const facts = { ...disk };
      return { closed, facts, digest: await digest(bytes), outside, stats, profile, cleared, gone };
    """)
    assert seen["closed"]["name"] == "RemoteImagesDisabledError"
    assert seen["closed"]["isError"] is True
    assert seen["facts"]["size"] == DISK.size
    assert seen["facts"]["blockSize"] == 65536
    assert seen["facts"]["readOnly"] is True
    assert seen["digest"] == hashlib.sha256(DISK.read(1000, 3_000_000)).hexdigest()
    assert seen["outside"]["name"] == "OutOfRangeError"
    assert (seen["outside"]["offset"], seen["outside"]["size"]) == (DISK.size, DISK.size)
    assert seen["stats"]["bytesRead"] == 3_000_000
    assert seen["stats"]["storage"] == "opfs"
    assert seen["profile"]["size"] == DISK.size
    assert seen["cleared"] == 0
    assert seen["gone"]["name"] == "DiskClosedError"


@needs_qemu
@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_a_disk_of_another_format_is_read_in_place(
    run: Any, images: ImageServer, tmp_path: Path
) -> None:
    raw, made = patchy_disk(tmp_path / "disk.img", 8 * 2**20), tmp_path / "disk.qcow2"
    options = ["-c", "-o", "compression_type=zstd"]
    qemu_img("convert", "-f", "raw", "-O", "qcow2", *options, raw, made)
    images.image("other.img").replace(made.read_bytes())
    seen = run("""
      const disk = await openDisk({ url: other, allowRemote: true });
      const whole = await digest(await disk.read(0, disk.size));
      const { size, version } = disk;
      const { storage, bytesDownloaded } = await disk.stats();
      await disk.close();
      const again = await openDisk({ url: other, allowRemote: true });
      const cached = await digest(await again.read(0, again.size));
      const { blocksDownloaded } = await again.stats();
      await again.close();
      const file = await openDisk({ url: other, allowRemote: true, format: "raw" });
      const vmdk = { url: other, allowRemote: true, format: "vmdk" };
      const wrong = await failure(() => openDisk(vmdk));
      return { whole, size, version, storage, bytesDownloaded, cached, blocksDownloaded,
               fileSize: file.size, wrong };
    """)
    expected = hashlib.sha256(raw.read_bytes()).hexdigest()
    assert (seen["whole"], seen["cached"]) == (expected, expected)
    assert (seen["size"], seen["storage"]) == (8 * 2**20, "opfs")
    assert seen["version"].startswith("qcow2 ")
    assert seen["bytesDownloaded"] < made.stat().st_size + 2**18
    assert seen["blocksDownloaded"] == 0
    assert seen["fileSize"] == made.stat().st_size
    assert seen["wrong"]["name"] == "DamagedImageError"


def test_access_is_renewed_by_the_page(run: Any, images: ImageServer) -> None:
    images.fail_next(Behaviour(status=403), times=99, only_when=lambda head: "old" in head.query)
    seen = run("""
      let renewals = 0;
      const renew = async () => ({ url: `${url}?token=new${++renewals}` });
      const disk = await openDisk({ url: `${url}?token=old`, allowRemote: true, renew });
      const bytes = await disk.read(4_000_000, 10);
      const refused = await failure(() => openDisk({
        url: `${other}?token=old`, allowRemote: true,
        renew: () => { throw new Error("signed out"); },
      }));
      return { renewals, bytes: Array.from(bytes), refused };
    """)
    assert bytes(seen["bytes"]) == DISK.read(4_000_000, 10)
    assert seen["renewals"] == 1
    assert seen["refused"]["name"] == "RenewalError"
    assert "signed out" in seen["refused"]["message"]


def test_a_read_can_be_given_up(run: Any, images: ImageServer) -> None:
    images.fail_next(
        Behaviour(stall=True), times=9, only_when=lambda head: "=4" in head.headers["range"]
    )
    seen = run("""
      const disk = await openDisk({ url, allowRemote: true, readAhead: false });
      const never = await failure(() => disk.read(4_000_000, 10, { signal: AbortSignal.abort() }));
      const giveUp = new AbortController();
      const read = failure(() => disk.read(4_000_000, 10, { signal: giveUp.signal }));
      while (!(await disk.stats()).requestsInFlight);
      giveUp.abort();
      const given = await read;
      while ((await disk.stats()).requestsInFlight);
      return { never, given, other: Array.from(await disk.read(1_000_000, 4)) };
    """)
    assert seen["never"]["name"] == "AbortError"
    assert seen["given"]["name"] == "AbortError"
    assert bytes(seen["other"]) == DISK.read(1_000_000, 4)


def test_the_whole_image_is_kept_for_reading_without_the_host(
    run: Any, images: ImageServer
) -> None:
    seen = run("""
      const disk = await openDisk({ url, allowRemote: true, persist: true });
      await disk.keepWholeImage();
      while ((await disk.stats()).cachedBytes < disk.size);
      await disk.close();
      return (await openDisk({ url, allowRemote: true })).stats();
    """)
    assert seen["cachedBytes"] == DISK.size
    images.stop()
