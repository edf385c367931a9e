"""A Debian boots from the streamed image into an overlay, and finds its files again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from browser.boot_page import BootPage, copy_with_emulator
from browser.conftest import OpenProfile
from lib.image_service import ImageService
from lib.nginx_server import StaticNginx
from samples.boot_traces import PROMPT
from samples.debian_image import DebianImageError, make_debian_image
from samples.emulator import can_boot
from samples.small_guest import PROMPT as SHELL
from samples.small_guest import check_data, file_in, make_small_guest

HOST = "127.0.0.1"
MEMORY = 256 << 20
DEBIAN_TIMEOUT_MS = 900_000

IMPORT = """async (remote) => {
  const { library } = await import(new URL("library.mjs", location).href);
  await library.import(remote, { name: "guest" });
}"""
COMMIT_AND_EXPORT = """async () => {
  const { library } = await import(new URL("library.mjs", location).href);
  await disk.close();
  const [overlay] = await library.overlays({ image: "guest" });
  await library.commitOverlay(overlay.id);
  await library.export("guest", { to: "download" });
}"""

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
        disk = {"url": service.image_url(debian), "allowRemote": True, "overlay": "work"}
        machine = BootPage(open_profile("guest").pages[0])
        machine.make(boot_site.url, disk, memoryBytes=MEMORY)
        machine.press("Boot")
        machine.expect_text(PROMPT, DEBIAN_TIMEOUT_MS)
        machine.type("seq 100000 > numbers; sync; md5sum numbers; echo is w'ritten'")
        machine.expect_text("is written")
        before = line_with(machine, "  numbers")
        machine.page.context.close()  # not shut down: what was synced must be there

        machine = BootPage(open_profile("guest").pages[0])
        machine.make(boot_site.url, disk, memoryBytes=MEMORY)
        machine.press("Boot")
        machine.expect_text(PROMPT, DEBIAN_TIMEOUT_MS)
        machine.type("md5sum numbers; echo is r'ead'")
        machine.expect_text("is read")
        assert line_with(machine, "  numbers") == before

        machine.press("Save and pause")
        machine.expect_state("paused")
        expect(machine.failure).to_be_hidden()
        machine.make(boot_site.url, disk, memoryBytes=MEMORY)
        machine.press("Resume")
        machine.expect_state("running")
        machine.type("clear; date > later; sync; echo went o'n'")
        machine.expect_text("went on")

        # What the guest has written since makes that state one of another disk.
        machine.make(boot_site.url, disk, memoryBytes=MEMORY)
        machine.press("Resume")
        expect(machine.failure).to_contain_text("belongs to another disk")


def test_it_boots_from_a_prepared_image_on_a_server_without_ranges(
    debian: Path, boot_site: SiteServer, open_profile: OpenProfile, tmp_path: Path
) -> None:
    folder = tmp_path / "prepared"
    run("aero-disk", "pack", debian, "-o", folder, "--level", "3")
    paths = [folder / "manifest.json", *folder.glob("chunks/*/*")]
    files = {path.relative_to(folder).as_posix(): path for path in paths}
    plain = Behaviour(ignore_range=True, accept_ranges=False, cors="hidden")
    with ImageServer(files, behaviour=plain) as server:
        boots_and_reads(server.url("manifest.json"), boot_site, open_profile)
        assert {request.method for request in server.requests} == {"GET"}
        assert not any("range" in request.headers for request in server.requests)
    same_disk(debian, "unpack", folder / "manifest.json", tmp_path)


def test_it_boots_from_a_qcow2_file_on_nginx(
    debian: Path, boot_site: SiteServer, open_profile: OpenProfile, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    made = folder / "debian.qcow2"
    zstd = ("-O", "qcow2", "-c", "-o", "compression_type=zstd")
    run("qemu-img", "convert", "-f", "raw", *zstd, debian, made)
    with StaticNginx(tmp_path, folder) as nginx:
        boots_and_reads(f"{nginx.url}/{made.name}", boot_site, open_profile)
        requests, sent = nginx.traffic()
    assert requests > 1
    assert sent < made.stat().st_size / 2, "ranges, not the whole file"
    same_disk(debian, "export", made, tmp_path)


def boots_and_reads(url: str, boot_site: SiteServer, open_profile: OpenProfile) -> None:
    """Boots an image to the shell, where a program runs and the file system has no errors."""
    machine = BootPage(open_profile("other").pages[0])
    disk = {"url": url, "allowRemote": True, "overlay": "work"}
    machine.make(boot_site.url, disk, memoryBytes=MEMORY)
    machine.press("Boot")
    machine.expect_text(PROMPT, DEBIAN_TIMEOUT_MS)
    machine.type("clear; md5sum /usr/bin/find /bin/bash; dmesg | grep -ci ext4.error; echo d'one'")
    machine.expect_text("done")
    assert line_with(machine, "  /bin/bash")
    assert line_with(machine, "0") == "0"
    machine.page.context.close()


def same_disk(raw: Path, command: str, other: Path, folder: Path) -> None:
    """Compares the raw image with what our reader makes of another, by `qemu-img`."""
    exported = folder / "exported.img"
    run("aero-disk", command, other, exported)
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", raw, exported)


def run(program: str, *arguments: str | Path) -> None:
    """Runs a program, one of this project's or of the system's; raises when it fails."""
    own = Path(sys.executable).with_name(program)
    subprocess.run([own if own.exists() else program, *arguments], check=True)


def test_what_a_guest_wrote_through_an_overlay_is_sound_once_committed(
    debian: Path, boot_site: SiteServer, open_profile: OpenProfile, tmp_path: Path
) -> None:
    guest = tmp_path / "images" / "guest.img"
    guest.parent.mkdir()
    make_small_guest(debian, guest)
    machine = BootPage(open_profile("small").pages[0])
    with ImageService(guest.parent, HOST, [boot_site.origin]) as service:
        machine.page.goto(boot_site.url)
        machine.page.evaluate(IMPORT, {"url": service.image_url(guest), "allowRemote": True})
    machine.make(boot_site.url, {"image": "guest", "overlay": "work"}, memoryBytes=MEMORY // 2)
    machine.press("Boot")
    machine.expect_text(SHELL)
    machine.type("mkdir /m; mount -t ext4 /dev/sda2 /m")
    machine.type("dd if=/dev/sda of=/m/copy bs=65536 count=128; echo hello > /m/hello")
    machine.type("umount /m; sync; echo is w'ritten'")
    machine.expect_text("is written")
    machine.press("Switch off")
    machine.expect_state("off")

    with machine.page.expect_download() as download:
        machine.evaluate(COMMIT_AND_EXPORT)
    exported = tmp_path / "exported.img"
    download.value.save_as(exported)
    file_system = tmp_path / "data.ext4"
    check_data(exported, file_system)
    assert file_in(file_system, "/hello") == b"hello\n"
    assert file_in(file_system, "/copy") == guest.read_bytes()[: 8 << 20]


def line_with(machine: BootPage, text: str) -> str:
    """The last line of the screen that ends with the text."""
    return next(line for line in reversed(machine.text.splitlines()) if line.endswith(text))
