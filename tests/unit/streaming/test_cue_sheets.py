"""A CD in several files is opened by its cue sheet, on a server and on this computer."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.errors import DamagedImageError, DiskError, UnsupportedImageError
from aero_browser_disk.formats.cue_sheet import MAX_CUE_SHEET, data_track
from aero_browser_disk.formats.image_format import CUE
from aero_browser_disk.formats.recognition import recognise
from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.platform.base import Platform
from aero_browser_disk.remote.access import RenewedAccess
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from support.cd import bin_file

ISO = random.Random(7).randbytes(2048 * 101)
AUDIO = random.Random(8).randbytes(2352 * 10)
SHEET = b"""REM made by hand\r
FILE "music (Track 1).bin" BINARY\r
  TRACK 01 AUDIO\r
    INDEX 01 00:00:00\r
FILE "A game: #1 (Track 2).bin" BINARY\r
  TRACK 02 MODE1/2352\r
    PREGAP 00:02:00\r
    INDEX 01 00:00:00\r
"""
FILES = {
    "game.cue": SHEET,
    "music (Track 1).bin": AUDIO,
    "A game: #1 (Track 2).bin": bin_file(ISO),
}


@pytest.fixture
def cds() -> Iterator[ImageServer]:
    with ImageServer(FILES) as started:
        yield started


async def opened(url: str, platform: Platform, **options: Any) -> bytes:
    """All of the disk."""
    async with open_disk(url, allow_remote=True, platform=platform, **options) as disk:
        return await disk.read(0, disk.info.size)


async def test_the_data_track_is_read_from_its_file(cds: ImageServer, platform: Platform):
    assert await opened(f"{cds.url('game.cue')}?key=7", platform) == ISO
    asked = cds.image_requests("A game: #1 (Track 2).bin")
    assert {request.query for request in asked} == {"key=7"}
    assert not cds.image_requests("music (Track 1).bin")
    cds.forget()
    assert await opened(f"{cds.url('game.cue')}?key=7", platform) == ISO
    read = cds.image_requests("A game: #1 (Track 2).bin")
    assert sum(request.bytes_sent for request in read) <= 16 << 10, "it is cached"


async def test_a_cached_one_is_read_while_the_server_is_down(platform: Platform):
    with ImageServer(FILES) as server:
        url = server.url("game.cue")
        assert await opened(url, platform) == ISO
    async with open_disk(url, allow_remote=True, platform=platform) as disk:
        assert "offline" in disk.stats().notices
        assert await disk.read(0, disk.info.size) == ISO


async def test_a_fresh_one_is_not_asked_for(cds: ImageServer, platform: Platform):
    cds.behaviour = Behaviour(cache_control="max-age=1000")
    assert await opened(cds.url("game.cue"), platform) == ISO
    cds.forget()
    assert await opened(cds.url("game.cue"), platform) == ISO
    assert cds.requests == []


async def test_a_sheet_that_names_another_file_now(platform: Platform):
    other = random.Random(9).randbytes(2048 * 90)
    sheets = [
        f'FILE "{name}.bin" BINARY\nTRACK 01 MODE1/2352\nINDEX 01 00:00:00\n' for name in "ab"
    ]
    files = {"a.bin": bin_file(ISO), "b.bin": bin_file(other)}
    with ImageServer({"disc.cue": sheets[0].encode(), **files}) as server:
        assert await opened(server.url("disc.cue"), platform) == ISO
        port = server.port
    with ImageServer({"disc.cue": sheets[1].encode(), **files}, port=port) as server:
        assert await opened(server.url("disc.cue"), platform) == other


async def test_renewed_access_is_to_the_sheet(cds: ImageServer, platform: Platform):
    async def renew() -> RenewedAccess:
        return RenewedAccess(f"{cds.url('game.cue')}?key=new")

    cds.image("A game: #1 (Track 2).bin").behaviour = Behaviour(status=403)
    cds.fail_next(Behaviour(status=403), image="game.cue")

    async def renew_and_allow() -> RenewedAccess:
        cds.image("A game: #1 (Track 2).bin").behaviour = Behaviour()
        return await renew()

    url = f"{cds.url('game.cue')}?key=old"
    assert await opened(url, platform, renew=renew_and_allow) == ISO
    asked = cds.image_requests("A game: #1 (Track 2).bin")
    assert asked[-1].query == "key=new"


async def test_a_disc_of_plain_sectors(platform: Platform):
    sheet = b'FILE "disc.iso" BINARY\n  TRACK 01 MODE1/2048\n    INDEX 01 00:00:00\n'
    with ImageServer({"disc.cue": sheet, "disc.iso": ISO}) as server:
        assert await opened(server.url("disc.cue"), platform) == ISO


async def test_one_of_this_computer(tmp_path: Path):
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    async with open_disk(path=tmp_path / "game.cue") as disk:
        assert await disk.read(0, disk.info.size) == ISO


def sheet(
    file: str = '"a.bin" BINARY', track: str = "MODE1/2352", index: str = "00:00:00"
) -> bytes:
    return f"FILE {file}\nTRACK 01 {track}\nINDEX 01 {index}\n".encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (sheet(track="AUDIO"), "no data track"),
        (sheet(track="MODE2/2336"), "MODE2/2336"),
        (sheet(index="00:02:00"), "begin at the start"),
        (sheet(file='"a.wav" WAVE'), "WAVE"),
        (b"not a sheet", "no data track"),
    ],
)
def test_what_cannot_be_read_is_refused(content: bytes, said: str):
    with pytest.raises(UnsupportedImageError, match=said):
        data_track(content)


def test_a_file_is_next_to_its_sheet_whatever_the_sheet_says():
    assert data_track(sheet(file=r'"C:\\cds\\a.bin" BINARY')).file == "a.bin"
    assert data_track(sheet(file='"../../a.bin" BINARY')).file == "a.bin"
    for name in ('".." BINARY', '"a/.." BINARY', '"" BINARY'):
        with pytest.raises(DamagedImageError):
            data_track(sheet(file=name))
    with pytest.raises(DamagedImageError):
        data_track(sheet() + b" " * MAX_CUE_SHEET)


def test_it_is_recognised():
    assert recognise(SHEET) is CUE
    assert recognise(b"FILE of something else\n" * 9) is not CUE


@given(st.binary(max_size=200), st.integers(0, len(SHEET)))
def test_any_text_is_a_track_or_an_error(noise: bytes, at: int):
    try:
        track = data_track(SHEET[:at] + noise + SHEET[at:])
    except DiskError:
        return
    assert track.file
    assert "/" not in track.file
