"""What a real guest wrote to its ext4 file system, replayed: sound in the image once committed.

`scripts/samples/small_guest.py` recorded it: Linux in v86, making, moving and copying files.
"""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.library.library import Library
from samples.debian_image import SYSTEM_PATH
from samples.small_guest import SESSION, check_data, file_in

WRITES_BETWEEN_FLUSHES = 16


@pytest.fixture(scope="module")
def session() -> Any:
    return json.loads(gzip.decompress(SESSION.read_bytes()))


@pytest.fixture
def base(session: Any, tmp_path: Path) -> Path:
    """The disk as the guest found it."""
    image = tmp_path / "guest.img"
    with image.open("wb") as file:
        file.truncate(session["size"])
        for offset, data in session["before"]:
            file.seek(offset)
            file.write(base64.b64decode(data))
    return image


@pytest.mark.skipif(
    not all(shutil.which(name, path=SYSTEM_PATH) for name in ("e2fsck", "debugfs")),
    reason="e2fsprogs is not there",
)
async def test_what_a_guest_wrote_through_an_overlay_is_sound_once_committed(
    session, base, platform, tmp_path
):
    library = Library(platform)
    await library.import_path(base)
    expected = bytearray(base.read_bytes())
    disk = await open_disk(image="guest", overlay="work", platform=platform)
    for number, (offset, encoded) in enumerate(session["writes"]):
        data = base64.b64decode(encoded)
        expected[offset : offset + len(data)] = data
        await disk.write(offset, data)
        if number % WRITES_BETWEEN_FLUSHES == 0:
            await disk.flush()
        if number == len(session["writes"]) // 2:  # as after a reload
            await disk.close()
            disk = await open_disk(image="guest", overlay="work", platform=platform)
    await disk.close()

    untouched, exported = tmp_path / "untouched.img", tmp_path / "exported.img"
    await library.export_to_path("guest", untouched)
    assert untouched.read_bytes() == base.read_bytes()

    (work,) = [entry for entry in await library.list() if entry.kind == "overlay"]
    await library.overlays.commit(work.id)
    await library.export_to_path("guest", exported)
    assert exported.read_bytes() == expected
    file_system = tmp_path / "data.ext4"
    check_data(exported, file_system)
    assert file_in(file_system, "/hello") == b"hello\n"
    assert file_in(file_system, "/moved") == b"00\n"
    assert file_in(file_system, "/many/94") == b"94\n"
    copy = file_in(file_system, "/copy")
    assert len(copy) == 8 * 65536
    assert copy == file_in(file_system, "/again")
