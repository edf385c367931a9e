"""Whether a PC would find something to boot on a disk, with what other tools write there."""

from __future__ import annotations

from pathlib import Path

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.file_systems.boot_code import boots_as_cd, boots_either_way, has_boot_code
from aero_browser_disk.formats.local_file import open_source_disk
from aero_browser_disk.platform.byte_source import PathSource
from support import file_images as images

MIB = 1 << 20


def without_code(folder: Path) -> Path:
    return images.blank(folder / "blank.img", MIB)


def of_mkfs(folder: Path) -> Path:
    path = images.blank(folder / "fat.img", 8 * MIB)
    images.tool("mkfs.fat", path)
    return path


def with_a_table_alone(folder: Path) -> Path:
    return images.partition(folder / "table.img", "label: dos\nstart=2048, type=6\n", 4 * MIB, {})


def with_code(folder: Path) -> Path:
    path = with_a_table_alone(folder)
    with path.open("r+b") as file:
        file.write(b"\xfa\x31\xc0")
    return path


def short(folder: Path) -> Path:
    return images.blank(folder / "short.img", 100)


def cd(folder: Path, *options: str) -> Path:
    tree = folder / "tree"
    tree.mkdir()
    (tree / "loader").write_bytes(bytes(2048))
    images.tool("genisoimage", "-quiet", "-o", folder / "cd.iso", *options, tree)
    return folder / "cd.iso"


def bootable_cd(folder: Path) -> Path:
    return cd(folder, "-b", "loader", "-no-emul-boot")


@pytest.mark.parametrize(
    ("make", "boots"),
    [
        (without_code, False),
        (of_mkfs, False),
        (with_a_table_alone, False),
        (with_code, True),
        (short, False),
        (cd, False),
        (bootable_cd, True),
    ],
)
async def test_boot_code_is_found(make, boots: bool, tmp_path: Path) -> None:
    with PathSource(make(tmp_path)) as source:
        async with await open_source_disk(source, source.identity) as disk:
            assert await has_boot_code(disk) is boots


def hybrid_cd(folder: Path) -> Path:
    path = bootable_cd(folder)
    with path.open("r+b") as file:
        file.write(b"\xfa\x31\xc0".ljust(510, b"\0") + b"\x55\xaa")
    return path


@pytest.mark.parametrize(
    ("make", "is_cd"),
    [
        (short, False),
        (with_code, False),
        (cd, False),
        (bootable_cd, True),
        (hybrid_cd, False),
    ],
)
async def test_a_cd_at_an_address_is_booted_as_a_cd(make, is_cd: bool, tmp_path: Path) -> None:
    """There it has sectors of 512 bytes, as every raw image; of a hybrid the user chooses."""
    async with open_disk(path=make(tmp_path)) as disk:
        assert disk.info.sector_size == 512
        assert await boots_as_cd(disk) is is_cd
        assert await boots_either_way(disk) is (make is hybrid_cd)


async def test_what_is_opened_as_a_cd_is_booted_as_one(tmp_path: Path) -> None:
    with PathSource(cd(tmp_path)) as source:
        async with await open_source_disk(source, source.identity) as disk:
            assert disk.info.sector_size == 2048
            assert await boots_as_cd(disk)


async def test_a_hybrid_that_is_opened_as_a_cd_is_booted_as_one(tmp_path: Path) -> None:
    with PathSource(hybrid_cd(tmp_path)) as source:
        async with await open_source_disk(source, source.identity) as disk:
            assert (disk.info.sector_size, await boots_as_cd(disk)) == (2048, True)
            assert not await boots_either_way(disk)
