"""What the page asks before a machine starts, with plain values."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.worker.worker import Worker

CODE = b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa"
BOOT_RECORD = b"\x00CD001\x01EL TORITO SPECIFICATION"


def image(*, is_disk: bool, is_cd: bool) -> bytes:
    """An image with boot code of a disk, of a CD, of both or of neither."""
    made = bytearray(64 * 2048)
    if is_disk:
        made[: len(CODE)] = CODE
    if is_cd:
        made[17 * 2048 : 17 * 2048 + len(BOOT_RECORD)] = BOOT_RECORD
    return bytes(made)


@pytest.mark.parametrize(
    ("is_disk", "is_cd", "drive"),
    [(True, True, "hda"), (True, False, "hda"), (False, True, "cdrom"), (False, False, "hda")],
)
async def test_the_drive_is_asked_of_what_boots_from_two(
    platform, is_disk: bool, is_cd: bool, drive: str
) -> None:
    worker = Worker(partial(open_disk, platform=platform))
    with ImageServer({"disk.img": image(is_disk=is_disk, is_cd=is_cd)}) as server:
        for overlay in ({}, {"overlay": "mine"}):
            values = {"url": server.url("disk.img"), "allowRemote": True, **overlay}
            disk = (await worker.call("disk.open", values))["value"]["disk"]
            question: Any = (await worker.call("page.askDrive", {"disk": disk}))["value"]
            # A guest writes to a disk with an overlay, and to no CD.
            assert (question is not None) is (is_disk and is_cd and not overlay)
            if question is not None:
                assert question["title"] == "Boot it as a CD or as a disk?"
                (field,) = question["fields"]
                assert field["name"] == "drive"
                assert [choice["value"] for choice in field["choices"]] == ["cdrom", "hda"]
            assert (await worker.call("page.bootDrive", {"disk": disk}))["value"] == drive
            await worker.call("disk.close", {"disk": disk})
