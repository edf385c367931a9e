"""A Debian boots from the streamed image into an overlay, and finds its files again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from aero_browser_disk.testing.site_server import SiteServer
from boot_traces import PROMPT
from browser.boot_page import BootPage, copy_with_emulator
from browser.conftest import OpenProfile
from debian_image import DebianImageError, make_debian_image
from emulator import can_boot
from image_service import ImageService

HOST = "127.0.0.1"
MEMORY = 256 << 20

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image, made unless it is there."""
    if not can_boot():
        pytest.fail("Debian's seabios is not here: scripts/setup debian fetches it")
    try:
        made = make_debian_image()
    except DebianImageError as error:
        pytest.fail(str(error))
    folder = tmp_path_factory.mktemp("debian")
    image = folder / "debian.img"
    try:
        os.link(made, image)
    except OSError:  # another file system
        shutil.copyfile(made, image)
    return image


@pytest.fixture
def boot_site(site_folder: Path, tmp_path: Path) -> Iterator[SiteServer]:
    copy_with_emulator(site_folder, tmp_path / "site")
    with SiteServer(tmp_path / "site", isolated=True) as server:
        yield server


def test_what_a_guest_writes_is_there_when_it_boots_again(
    debian: Path, boot_site: SiteServer, open_profile: OpenProfile
) -> None:
    with ImageService(debian.parent, HOST, [boot_site.origin]) as service:
        url = service.image_url(debian)
        machine = BootPage(open_profile("guest").pages[0])
        machine.make(boot_site.url, url, overlay="work", memoryBytes=MEMORY)
        machine.press("Boot")
        machine.expect_text(PROMPT)
        machine.type("seq 100000 > numbers; sync; md5sum numbers; echo is w'ritten'")
        machine.expect_text("is written")
        before = line_with(machine, "  numbers")
        machine.page.context.close()  # not shut down: what was synced must be there

        machine = BootPage(open_profile("guest").pages[0])
        machine.make(boot_site.url, url, overlay="work", memoryBytes=MEMORY)
        machine.press("Boot")
        machine.expect_text(PROMPT)
        machine.type("md5sum numbers; echo is r'ead'")
        machine.expect_text("is read")
        assert line_with(machine, "  numbers") == before

        machine.press("Save and pause")
        machine.expect_state("paused")
        machine.make(boot_site.url, url, overlay="work", memoryBytes=MEMORY)
        machine.press("Resume")
        machine.expect_state("running")
        machine.type("clear; date > later; sync; echo went o'n'")
        machine.expect_text("went on")

        # What the guest has written since makes that state one of another disk.
        machine.make(boot_site.url, url, overlay="work", memoryBytes=MEMORY)
        machine.press("Resume")
        expect(machine.failure).to_contain_text("belongs to another disk")


def line_with(machine: BootPage, text: str) -> str:
    """The last line of the screen that ends with the text."""
    return next(line for line in reversed(machine.text.splitlines()) if line.endswith(text))
