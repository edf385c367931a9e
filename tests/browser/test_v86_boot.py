"""A real machine boots a streamed image: v86 in Chromium, the image from the real service."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from browser.boot_page import BootPage
from lib.image_service import ImageService
from lib.project import GRUB_RESCUE_IMAGE
from samples.emulator import can_boot
from support.prepared import files_of, pack

HOST = "127.0.0.1"
MENU = "GNU GRUB"
PROMPT = "grub>"

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (can_boot() and GRUB_RESCUE_IMAGE.exists()),
        reason="Debian's seabios and grub-rescue-pc are not here: scripts/setup fetches them",
    ),
]

HOLD_SAVING = """() => {
  const { prototype } = FileSystemFileHandle;
  const { createWritable } = prototype;
  prototype.createWritable = async function () {
    prototype.createWritable = createWritable;
    await new Promise((resolve) => { globalThis.goOnSaving = resolve; });
    return this.createWritable();
  };
}"""
"""Stops the next file that the page writes, until `goOnSaving` is called."""

WRITTEN = {"overlay": "work"}
WRITE = """async () => {
  await disk.write(disk.size - 512, new Uint8Array(512).fill(1));
  await disk.flush();
}"""
"""Gives the disk another version at the next visit."""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The rescue disk in a folder of its own."""
    (tmp_path / "images").mkdir()
    return Path(shutil.copyfile(GRUB_RESCUE_IMAGE, tmp_path / "images" / "rescue.img"))


def test_a_machine_outlives_its_host_going_away_and_its_page_being_reloaded(
    boot_site: SiteServer, image: Path, page: Page
) -> None:
    machine = BootPage(page)
    with ImageService(image.parent, HOST, [boot_site.origin]) as service:
        url = service.image_url(image)
        machine.make(boot_site.url, streamed(url) | WRITTEN)
        expect(machine.button("Resume")).to_be_hidden()
        machine.evaluate(WRITE)
        pause_after(machine, reads=12)
        machine.press("Boot")
        machine.expect_state("paused")
    assert MENU not in machine.text

    machine.press("Resume")
    stands_still(machine)
    machine.press("Try again")
    stands_still(machine)

    with ImageService(image.parent, HOST, [boot_site.origin], port=port_of(url)) as service:
        machine.press("Try again")
        machine.expect_text(MENU)
        machine.expect_state("running")
        expect(machine.failure).to_be_hidden()

        machine.page.locator(".boot-screen").focus()
        machine.page.keyboard.press("c", delay=60)
        machine.expect_text(PROMPT)
        machine.type("echo before")
        machine.evaluate(f"({HOLD_SAVING})()")
        machine.press("Save and pause")
        page.wait_for_function("() => globalThis.goOnSaving")
        machine.evaluate("document.querySelector('.boot-retry').click()")
        machine.expect_state("saving")  # whatever happens on the disk meanwhile
        machine.evaluate("goOnSaving()")
        machine.expect_state("paused")
        expect(machine.page.locator(".boot-status")).to_contain_text("saved")

        machine.make(boot_site.url, streamed(url) | WRITTEN)
        machine.press("Resume")
        machine.expect_state("running")
        machine.expect_text("echo before")
        machine.type("ls (hd0)")
        machine.expect_text("Device hd0")
        machine.press("Switch off")
        machine.expect_state("off")

        name = machine.evaluate("boot.saved().then(({ name }) => name)")
        other = image.with_name("other.img")
        other.write_bytes(image.read_bytes() + bytes(512))
        machine.make(boot_site.url, streamed(service.image_url(other)), name=name)
        machine.press("Resume")
        expect(machine.failure).to_contain_text("belongs to another disk")
        machine.expect_state("off")


def test_a_machine_boots_from_a_prepared_image_on_a_server_without_ranges(
    boot_site: SiteServer, image: Path, page: Page
) -> None:
    folder = image.parent / "prepared"
    with ThreadPoolExecutor(1) as thread:  # in this one Playwright's loop runs
        thread.submit(lambda: asyncio.run(pack(image, folder, level=19))).result()
    files = files_of(folder)
    plain = Behaviour(ignore_range=True, accept_ranges=False)
    with ImageServer(files, behaviour=plain) as server:
        machine = BootPage(page)
        machine.make(boot_site.url, streamed(server.url("manifest.json")))
        machine.press("Boot")
        machine.expect_text(MENU)
        machine.page.locator(".boot-screen").focus()
        machine.page.keyboard.press("c", delay=60)
        machine.expect_text(PROMPT)
        machine.type("ls (hd0)")
        machine.expect_text("Device hd0")
        machine.press("Switch off")
        machine.expect_state("off")
        assert {request.method for request in server.requests} == {"GET"}
        assert all("range" not in request.headers for request in server.requests)
        sent = sum(request.bytes_sent for request in server.requests)
        assert sent <= sum(map(len, files.values())) < image.stat().st_size


def streamed(url: str) -> dict[str, object]:
    """The image with nothing of it at hand before it is read."""
    options = {"readAhead": False, "bootProfile": None}
    return {"url": url, "allowRemote": True, "retry": {"tries": 2, "baseS": 0.1}, **options}


def pause_after(machine: BootPage, reads: int) -> None:
    """Has the machine paused when it has read that often."""
    machine.page.evaluate(
        """count => {
          let reads = 0;
          boot.addEventListener("activity", () => { if (++reads === count) boot.pause(); });
        }""",
        reads,
    )


def stands_still(machine: BootPage) -> None:
    machine.expect_state("failed")
    expect(machine.failure).to_contain_text("The disk could not be read")
    assert not machine.evaluate("boot.machine.is_running()")


def port_of(url: str) -> int:
    return int(url.split("/")[2].rpartition(":")[2])
