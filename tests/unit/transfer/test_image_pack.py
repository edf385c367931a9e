"""Packing: the same each time, what changed only, and given back identical."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aero_browser_disk.errors import InvalidOptionError, SourceError
from aero_browser_disk.formats.local_file import open_file_disk
from aero_browser_disk.formats.prepared.boot_bundle import BootBundle
from aero_browser_disk.formats.prepared.chunk_codec import unpack_chunk
from aero_browser_disk.transfer.image_pack import BOOT_BLOCK, PackOptions, pack_image
from aero_browser_disk.transfer.pack_check import check_image, open_folder, unneeded_files
from support.prepared import bytes_of, files_of, pack
from support.qemu import MIB, needs_qemu, patchy_disk, qemu_img, same_disk
from support.unretrieved import errors_nobody_took

CHUNK = 64 << 10


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return patchy_disk(tmp_path / "disk.img", 4 * MIB)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "prepared"


async def unpacked(folder: Path) -> bytes:
    async with await open_file_disk(folder / "manifest.json") as disk:
        return await disk.read(0, disk.info.size)


@pytest.mark.parametrize("options", [{}, {"level": None}, {"chunk_size": 4096}, {"level": 19}])
async def test_it_comes_back_identical(raw: Path, folder: Path, options: dict[str, int]) -> None:
    packed = await pack(raw, folder, **options)
    assert await unpacked(folder) == bytes_of(raw)
    checked = await check_image(open_folder(folder / "manifest.json"))
    assert checked.is_whole
    assert checked.wrong == ()
    table = open_folder(folder / "manifest.json").table
    stored = {entry.file async for chunk, entry in table.files() if chunk >= 0}
    assert packed.manifest.stored_chunks == len(stored)
    assert packed.manifest.stored_bytes == sum(file.length for file in stored if file)


@needs_qemu
@pytest.mark.parametrize("name", ["qcow2", "vmdk", "vdi", "vhdx"])
async def test_any_format_gives_the_same_image(raw: Path, folder: Path, tmp_path, name) -> None:
    qemu_img("convert", "-f", "raw", "-O", name, raw, tmp_path / "other")
    await pack(raw, folder)
    await pack(tmp_path / "other", tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(folder)
    (tmp_path / "back.img").write_bytes(await unpacked(tmp_path / "again"))
    assert same_disk(tmp_path / "back.img", "raw", tmp_path / "other", name)


async def test_the_same_disk_gives_the_same_files_with_any_number_of_threads(
    raw: Path, tmp_path: Path
) -> None:
    made = []
    for workers in (1, 3):
        target = tmp_path / f"by-{workers}"
        await pack(raw, target, workers=workers, boot_blocks=(1, 7, 2))
        made.append(files_of(target))
    assert made[0] == made[1]


async def test_a_new_version_writes_only_what_changed(raw: Path, folder: Path) -> None:
    first = await pack(raw, folder)
    before = files_of(folder)
    with raw.open("r+b") as file:
        file.seek(5 * CHUNK + 100)
        file.write(b"changed")
    second = await pack(raw, folder)
    assert second.files_written == 2, "a chunk and the page that names it"
    assert second.manifest.image_version != first.manifest.image_version
    assert before.items() - files_of(folder).items() == {("manifest.json", before["manifest.json"])}
    assert await unpacked(folder) == bytes_of(raw)


async def test_content_that_moved_is_not_packed_again(raw: Path, folder: Path, tmp_path) -> None:
    await pack(raw, folder)
    moved = tmp_path / "moved.img"
    moved.write_bytes(bytes(CHUNK) + bytes_of(raw))
    (tmp_path / "fresh").mkdir()
    packed = await pack(moved, folder)
    assert packed.files_written == 1, "the page"


async def test_another_level_is_the_same_version_in_other_files(raw: Path, folder: Path) -> None:
    first = await pack(raw, folder, level=3)
    second = await pack(raw, folder, level=None)
    assert second.manifest.image_version == first.manifest.image_version
    assert second.manifest.table != first.manifest.table
    assert await unpacked(folder) == bytes_of(raw)


class StoppingDisk:
    """A disk whose reads fail from an offset on."""

    def __init__(self, disk, stop: int) -> None:
        self._disk, self._stop = disk, stop
        self.info = disk.info

    async def read(self, offset: int, length: int) -> bytes:
        if offset >= self._stop:
            raise SourceError("the disk", "gone")
        return await self._disk.read(offset, length)


async def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, folder: Path) -> None:
    raw = tmp_path / "noise.img"
    raw.write_bytes(random.Random(3).randbytes(16 * MIB))
    options = PackOptions(chunk_size=CHUNK, level=1, workers=1)
    async with await open_file_disk(raw) as disk:
        with pytest.raises(SourceError):
            await pack_image(StoppingDisk(disk, 12 * MIB), folder, options)
        assert not (folder / "manifest.json").exists(), "nobody sees half an image"
        done = len(files_of(folder))
        assert done
        packed = await pack_image(disk, folder, options)
    assert packed.files_written == 16 * MIB // CHUNK + 1 - done
    assert await unpacked(folder) == bytes_of(raw)


class FailingReads(StoppingDisk):
    """A disk whose every read fails, after a moment."""

    under_way = 0

    async def read(self, offset: int, length: int) -> bytes:
        self.under_way += 1
        try:
            for _ in range(offset // MIB + 1):
                await asyncio.sleep(0)
            raise SourceError("the disk", f"gone at {offset}")
        finally:
            self.under_way -= 1


async def test_no_read_outlives_a_run_that_failed(tmp_path: Path, folder: Path) -> None:
    """The next one was read ahead, and the disk may be closed now."""
    raw = tmp_path / "noise.img"
    raw.write_bytes(random.Random(3).randbytes(16 * MIB))
    async with await open_file_disk(raw) as disk:
        failing = FailingReads(disk, 0)
        with errors_nobody_took() as left, pytest.raises(SourceError, match="gone at 0"):
            await pack_image(failing, folder, PackOptions(chunk_size=CHUNK, workers=1))
        assert failing.under_way == 0
    assert left == []


async def test_an_index_that_is_torn_or_foreign_is_no_harm(raw: Path, folder: Path) -> None:
    await pack(raw, folder)
    whole, index = files_of(folder), folder / ".pack-index"
    kept = index.read_bytes()
    for spoilt in (kept[:-5], kept[:100] + b"\xff" + kept[101:], b"", b"something else", kept):
        index.write_bytes(spoilt)
        await pack(raw, folder)
        assert files_of(folder) == whole
    assert len(kept) == (len(kept) - 8) // 76 * 76 + 8, "records of one size behind the magic"


async def test_a_lost_file_is_written_again(raw: Path, folder: Path) -> None:
    await pack(raw, folder)
    whole = files_of(folder)
    lost = sorted(path for path in (folder / "chunks").rglob("*") if path.is_file())[:3]
    lost[0].unlink()
    lost[1].write_bytes(b"cut")
    await pack(raw, folder)
    assert files_of(folder) == whole


async def test_what_is_damaged_or_missing_is_found(raw: Path, folder: Path) -> None:
    packed = await pack(raw, folder, boot_blocks=(0, 1))
    files = files_of(folder)
    root = packed.manifest.table.path
    for path in [path for path in files if path.startswith("chunks/") and path != root][:12]:
        (folder / path).write_bytes(files[path][:-1] + bytes([files[path][-1] ^ 1]))
        found = await check_image(open_folder(folder / "manifest.json"))
        assert found.wrong == (path,)
        assert not found.is_whole
        (folder / path).unlink()
        assert (await check_image(open_folder(folder / "manifest.json"))).wrong == (path,)
        (folder / path).write_bytes(files[path])


# ── what nothing needs ────────────────────────────────────────────────────────────────────────────


async def test_only_what_no_manifest_names_is_unneeded(raw: Path, folder: Path) -> None:
    await pack(raw, folder, manifest_name="old.json", boot_blocks=(3, 4))
    old = set(files_of(folder))
    with raw.open("r+b") as file:
        file.write(b"changed")
    await pack(raw, folder, boot_blocks=(3, 5))
    (folder / "package.json").write_text('{"name": "something else"}')
    assert await unneeded_files(folder) == []
    both = set(files_of(folder))
    await asyncio.to_thread((folder / "old.json").unlink)
    for path in await unneeded_files(folder):
        path.unlink()
    assert await unpacked(folder) == bytes_of(raw)
    assert (await check_image(open_folder(folder / "manifest.json"))).is_whole
    left = set(files_of(folder))
    assert left < both
    assert (old - {"old.json"}) - left, "files of the old version are gone"


async def test_nothing_is_unneeded_while_a_manifest_cannot_be_read(raw: Path, folder: Path) -> None:
    await pack(raw, folder)
    (folder / "manifest.json").rename(folder / "cut.json")
    text = (folder / "cut.json").read_text()
    (folder / "cut.json").write_text(text.replace('"version": 1', '"version": 2'))
    with pytest.raises(Exception, match="version 2"):
        await unneeded_files(folder)
    (folder / "cut.json").unlink()
    with pytest.raises(SourceError):
        await unneeded_files(folder)


# ── the boot, and the rest ────────────────────────────────────────────────────────────────────────


async def test_a_bundle_has_the_blocks_of_the_boot_in_its_order(raw: Path, folder: Path) -> None:
    blocks = [*range(200, 100, -1), 0, 5, 255, 5, 0]
    packed = await pack(raw, folder, boot_blocks=blocks)
    boot = packed.manifest.boot
    assert boot is not None
    bundle = BootBundle.decode((folder / boot.path).read_bytes(), 4 * MIB)
    assert list(bundle.blocks) == [*range(200, 100, -1), 0, 5, 255]
    assert len(bundle.parts) > 2
    data = bytes_of(raw)
    for part in bundle.parts:
        stored = (folder / part.file.path).read_bytes()
        expected = b"".join(data[b * BOOT_BLOCK : (b + 1) * BOOT_BLOCK] for b in part.blocks)
        assert unpack_chunk(part.kind, stored, len(expected)) == expected


async def test_a_signed_image_says_by_whom(raw: Path, folder: Path) -> None:
    key = Ed25519PrivateKey.generate()
    packed = await pack(raw, folder, sign=key.sign)
    assert await packed.manifest.is_signed_by(key.public_key().public_bytes_raw())


@pytest.mark.parametrize(
    "option",
    [
        {"chunk_size": 5000},
        {"chunk_size": 16 * MIB},
        {"level": 0},
        {"level": 23},
        {"workers": 0},
        {"sector_size": 7},
        {"manifest_name": "../x.json"},
        {"boot_blocks": (10_000,)},
        {"boot_blocks": (-1,)},
    ],
)
async def test_options_that_cannot_work_are_refused(raw: Path, folder: Path, option) -> None:
    with pytest.raises(InvalidOptionError):
        await pack(raw, folder, **option)
