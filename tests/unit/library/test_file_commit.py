"""An overlay is written into the image file that it lies over: all of it, or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.errors import (
    BaseChangedError,
    HasOverlaysError,
    InvalidOptionError,
    SourceError,
)
from aero_browser_disk.library.library import Library

TESTS = Path(__file__).parents[2]
BASE = bytes(range(256)) * 1024


@pytest.fixture
def image(tmp_path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(BASE)
    return path


@pytest.fixture
def library(platform) -> Library:
    return Library(platform)


@pytest.fixture
def write(platform, image):
    async def write(offset, data, overlay="work", path=image):
        async with open_disk(path=path, overlay=overlay, platform=platform) as disk:
            await disk.write(offset, data)

    return write


async def test_a_commit_writes_the_file_and_empties_the_overlay(library, platform, image, write):
    image.chmod(0o640)
    link = image.with_name("link.img")
    link.symlink_to(image)
    await write(1000, b"for good")
    reports = []
    await library.commit_to_path(link, "work", report=reports.append)
    assert image.read_bytes() == BASE[:1000] + b"for good" + BASE[1008:]
    assert image.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert reports[-1].done == reports[-1].total == len(BASE)
    assert not list(image.parent.glob(".*.part"))
    async with open_disk(path=image, overlay="work", platform=platform) as disk:
        assert list(disk.overlay.written_ranges()) == []
    # The same overlay again, over the file as it is now.
    await write(0, b"again")
    await library.commit_to_path(image, "work")
    assert image.read_bytes()[:5] == b"again"


async def test_holes_stay_holes(library, image, write):
    with image.open("r+b") as file:
        file.truncate(1 << 30)
    await write(1 << 29, b"x")
    await library.commit_to_path(image, "work")
    assert image.stat().st_size == 1 << 30
    assert image.stat().st_blocks * 512 < 1 << 22


async def test_a_commit_that_makes_others_useless_needs_consent(library, platform, image, write):
    await write(0, b"one", "one")
    await write(0, b"two", "two")
    with pytest.raises(HasOverlaysError, match="'two'"):
        await library.commit_to_path(image, "one")
    assert image.read_bytes() == BASE
    await library.commit_to_path(image, "one", drop_overlays=True)
    assert image.read_bytes()[:3] == b"one"
    with pytest.raises(BaseChangedError):
        await open_disk(path=image, overlay="two", platform=platform)
    # A commit of what does not fit the file is no end of one that was cut short.
    with pytest.raises(BaseChangedError):
        await library.commit_to_path(image, "two", drop_overlays=True)
    assert image.read_bytes()[:3] == b"one"


async def test_a_file_that_changes_meanwhile_is_left_as_it_is(library, image, write):
    await write(0, b"mine")
    others = BASE[::-1]

    def change(_):
        image.write_bytes(others)
        os.utime(image, ns=(1, 1))

    with pytest.raises(SourceError, match="changed"):
        await library.commit_to_path(image, "work", report=change)
    assert image.read_bytes() == others
    assert not list(image.parent.glob(".*.part"))


async def test_only_a_regular_file_is_replaced(library, image):
    with pytest.raises(InvalidOptionError, match="regular file"):
        await library.commit_to_path(image.parent, "work")


def test_a_kill_in_the_middle_loses_nothing(tmp_path):
    command = [sys.executable, "-m", "support.commit_kills", tmp_path]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5
