"""What a machine wrote in a browser that was killed is in the save that another browser boots."""

from __future__ import annotations

from pathlib import Path

import pytest

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from browser.boot_page import BootPage
from browser.conftest import OpenProfile
from lib import browsers
from lib.project import GRUB_RESCUE_IMAGE
from samples.debian_image import FAT16_LBA, partition
from samples.emulator import can_boot
from samples.sample_image import mtools
from service.conftest import RunningService
from service.save_client import save_options, token

MENU = "GNU GRUB"
PROMPT = "grub>"
TYPED = f"{PROMPT} "
TABLE = 446
ENTRY = 16
START = 6 << 20  # behind the rescue disk
SIZE = 2 << 20
ENVIRONMENT = b"# GRUB Environment Block\n".ljust(1024, b"#")
FILE = "(hd0,msdos2)/grubenv"

pytestmark = [
    pytest.mark.long,  # two boots, and the keys of five lines
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        not (can_boot() and GRUB_RESCUE_IMAGE.exists() and Path("/proc").is_dir()),
        reason="Debian's seabios and grub-rescue-pc are not here: scripts/setup fetches them",
    ),
]


@pytest.fixture
def disk(tmp_path: Path) -> bytes:
    """GRUB's rescue disk, and a FAT partition with the file that GRUB writes its variables to."""
    image, file = tmp_path / "disk.img", tmp_path / "grubenv"
    file.write_bytes(ENVIRONMENT)
    made = bytearray(GRUB_RESCUE_IMAGE.read_bytes().ljust(START + SIZE, b"\0"))
    made[TABLE + ENTRY : TABLE + 2 * ENTRY] = partition(0, FAT16_LBA, START, SIZE)
    image.write_bytes(made)
    there = f"{image}@@{START}"
    mtools("mformat", "-i", there, "-T", str(SIZE // 512), "-h", "16", "-s", "63", "::")
    mtools("mcopy", "-i", there, str(file), "::grubenv")
    return image.read_bytes()


def test_a_guests_file_is_in_the_save_that_another_browser_boots(
    boot_site: SiteServer, disk: bytes, open_profile: OpenProfile, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    options = [*save_options(tmp_path), "--allow-origin", boot_site.origin]
    with (
        ImageServer({"disk.img": disk}) as images,
        RunningService(tmp_path / "images", *options) as service,
    ):
        headers = {"Authorization": f"Bearer {token('ann')}"}
        saves = {"url": f"{service.url}/v1/saves", "headers": headers}
        image = {"url": images.url("disk.img"), "allowRemote": True, "saves": saves}

        first = open_profile("first")
        machine = BootPage(first.pages[0])
        machine.make(boot_site.url, {**image, "overlay": "work"})
        boot(machine)
        machine.type(
            "set written=be'fore-the-kill'", prompt=TYPED
        )  # not the text that is waited for
        machine.type(f"save_env -f {FILE} written", prompt=TYPED)
        machine.type(f"list_env -f {FILE}", prompt=TYPED)
        machine.expect_text("written=before-the-kill")
        machine.evaluate("disk.flush()")
        pushed = machine.evaluate("disk.push()")
        assert pushed["generation"] == 1
        assert 0 < pushed["changedBytes"] <= 64 << 10
        browsers.kill(browsers.processes(tmp_path / "first"))
        browsers.close_killed(first)

        second = open_profile("second")
        machine = BootPage(second.pages[0])
        machine.make(boot_site.url, {**image, "save": "work", "overlay": "here"})
        boot(machine)
        machine.type(f"list_env -f {FILE}", prompt=TYPED)
        machine.expect_text("written=before-the-kill")
        machine.press("Switch off")
        machine.expect_state("off")
        second.close()


def boot(machine: BootPage) -> None:
    """Boots to GRUB's command line."""
    machine.press("Boot")
    machine.expect_text(MENU)
    machine.page.locator(".boot-screen").focus()
    machine.page.keyboard.press("c", delay=60)
    machine.expect_text(PROMPT)
