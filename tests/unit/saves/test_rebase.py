"""Overlays whose image has a new version: used with the old one, moved, or copied to an image."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aero_browser_disk import open_disk
from aero_browser_disk.errors import (
    BaseChangedError,
    HasOverlaysError,
    ImageBusyError,
    ImageChangedError,
    InvalidDocumentError,
    MissingBaseError,
    NoSuchImageError,
    RebaseRefusedError,
)
from aero_browser_disk.library.library import Library
from aero_browser_disk.platform.cpython import cpython_platform
from aero_browser_disk.platform.memory import MemoryLocks
from aero_browser_disk.saves import Rebase
from aero_browser_disk.streaming.digest_list import digests_of
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.failing_files import PowerCutError
from aero_browser_disk.testing.image_server import ImageServer
from support.fuzz import fuzz, rounds
from support.prepared import prepared_files
from support.storms import LastingStorage

CHUNK = 16 << 10
SIZE = 40 * CHUNK
OLD = random.Random(1).randbytes(SIZE)
WRITTEN = (3 * CHUNK, random.Random(2).randbytes(CHUNK))


def changed(*chunks, size=SIZE):
    """The next version: other bytes in these chunks."""
    data = bytearray(OLD)
    for chunk in chunks:
        data[chunk * CHUNK : (chunk + 1) * CHUNK] = random.Random(chunk).randbytes(CHUNK)
    return bytes(data[:size])


def digests(data, chunk_size=CHUNK):
    return digests_of([data], chunk_size).encode()


class Image:
    """An image on a server that gets new versions: raw, with digests beside it, or prepared."""

    def __init__(self, server, platform, kind):
        self.server, self.platform, self.kind = server, platform, kind
        self.data = OLD
        self.files = {}
        self.publish(OLD)

    @property
    def url(self):
        return self.server.url("manifest.json" if self.kind == "prepared" else "raw.img")

    def publish(self, data):
        self.data = data
        files = prepared_files(data, CHUNK) if self.kind == "prepared" else {"raw.img": data}
        for name, content in files.items():
            if name in self.files:
                self.files[name].replace(content)
            else:
                self.files[name] = self.server.add(name, content)

    def open(self, *overlays, **options):
        given = {"block_size": CHUNK, "read_ahead": False, **options}
        return open_disk(
            self.url, overlay=overlays, allow_remote=True, platform=self.platform, **given
        )

    def rebase(self, overlay="work", **options):
        given = {"block_size": CHUNK, **options}
        if self.kind == "raw" and "digests" not in given:
            given |= {"digests": digests(self.data), "digests_before": digests(OLD)}
        return Rebase.open(self.url, overlay, allow_remote=True, platform=self.platform, **given)


@pytest.fixture(params=["raw", "prepared"])
def image(server, platform, request):
    return Image(server, platform, request.param)


@pytest.fixture
def raw_image(server, platform):
    return Image(server, platform, "raw")


@pytest.fixture
async def expected(image):
    return await written(image)


async def written(image):
    async with await image.open("work") as disk:
        await disk.write(*WRITTEN)
        return await disk.read(0, SIZE)


async def content(disk):
    return await disk.read(0, disk.info.size)


async def test_an_overlay_moves_when_it_has_all_that_changed(image, expected):
    image.publish(changed(3))
    async with await image.rebase() as rebase:
        plan = rebase.plan
        assert (plan.obstacle, plan.can_move) == (None, True)
        assert (plan.hidden, plan.updated, plan.needed) == (((3 * CHUNK, CHUNK),), (), ())
        await rebase.move()
        assert rebase.plan.is_current
        await rebase.move()
        await rebase.copy_to_image("copy")
    async with await image.open("work") as disk:
        assert await content(disk) == expected
        assert disk.overlay.base_version == plan.found
        assert not disk.stats().notices
    async with await image.rebase() as rebase:
        assert rebase.plan.is_current
        await rebase.copy_to_image("another")
    for name in ("copy", "another"):
        async with open_disk(image=name, platform=image.platform) as copy:
            assert await content(copy) == expected


async def test_an_overlay_stays_when_something_else_changed(image, expected):
    image.publish(changed(3, 4, 30))
    async with await image.rebase() as rebase:
        plan = rebase.plan
        assert plan.obstacle == "needed"
        assert plan.needed == ((4 * CHUNK, CHUNK), (30 * CHUNK, CHUNK))
        with pytest.raises(RebaseRefusedError, match="have changed"):
            await rebase.move()
        with pytest.raises((ImageBusyError, BaseChangedError)):
            await image.open("work")
    image.publish(OLD)
    async with await image.rebase() as rebase:
        assert not rebase.plan.needed
        await rebase.move()
    async with await image.open("work") as disk:
        assert await content(disk) == expected


async def test_a_chunk_that_the_overlay_has_only_in_part_is_needed(image):
    async with await image.open("work") as disk:
        await disk.write(5 * CHUNK, bytes(CHUNK - 512))
        await disk.discard(6 * CHUNK, CHUNK)
    image.publish(changed(5, 6))
    async with await image.rebase() as rebase:
        assert rebase.plan.needed == ((6 * CHUNK - 512, 512),)
        assert rebase.plan.hidden == ((5 * CHUNK, CHUNK - 512), (6 * CHUNK, CHUNK))


async def test_the_old_version_of_a_prepared_image_is_used_while_its_files_are_there(
    server, platform
):
    image = Image(server, platform, "prepared")
    expected = await written(image)
    image.publish(changed(3, 4, 30))
    async with await image.open("work") as disk:
        assert "older-version" in disk.stats().notices
        assert await content(disk) == expected
        await disk.write(9 * CHUNK, b"more")
    # Another overlay begins over the new version, and the image itself is opened in it.
    async with await image.open("other") as disk:
        assert await content(disk) == image.data
    async with await image.open() as disk:
        assert await content(disk) == image.data
    async with await image.open("work") as disk:
        assert (await content(disk))[: 9 * CHUNK] == expected[: 9 * CHUNK]
        assert await disk.read(9 * CHUNK, 4) == b"more"


async def test_files_of_the_old_version_that_are_gone_are_an_error(server, platform):
    image = Image(server, platform, "prepared")
    async with await image.open("work") as disk:
        await disk.write(*WRITTEN)
    image.publish(changed(*range(40)))
    current = prepared_files(image.data, CHUNK)
    for name in image.files.keys() - current.keys():
        image.files[name].behaviour = Behaviour(status=404)
    async with await image.open("work") as disk:
        assert await disk.read(WRITTEN[0], CHUNK) == WRITTEN[1]
        with pytest.raises(ImageChangedError):
            await disk.read(20 * CHUNK, CHUNK)
    async with await image.rebase() as rebase:
        assert rebase.plan.needed == ((0, 3 * CHUNK), (4 * CHUNK, SIZE - 4 * CHUNK))
        assert rebase.plan.missing[-1] == (4 * CHUNK, SIZE - 4 * CHUNK)


async def test_an_overlay_without_its_version_keeps_what_is_cached_of_it(raw_image):
    image = raw_image
    expected = await written(image)
    image.publish(changed(3, 4, 30))
    for _ in range(2):
        with pytest.raises(BaseChangedError):
            await image.open("work")
    async with await image.rebase() as rebase:
        assert rebase.plan.missing == ()
        entry = await rebase.copy_to_image("copy")
        assert (entry.kind, entry.name) == ("image", "copy")
    async with open_disk(image="copy", platform=image.platform) as copy:
        assert await content(copy) == expected


async def test_an_image_is_made_of_what_is_cached_and_what_is_the_same(raw_image):
    image = raw_image
    async with await image.open("work") as disk:
        await disk.write(*WRITTEN)
        await disk.read(4 * CHUNK, CHUNK)
        expected = bytearray(OLD)
        expected[WRITTEN[0] : WRITTEN[0] + CHUNK] = WRITTEN[1]
    image.publish(changed(3, 4))
    async with await image.rebase() as rebase:
        assert rebase.plan.missing == ()
        await rebase.copy_to_image("copy")
    async with open_disk(image="copy", platform=image.platform) as copy:
        assert await content(copy) == expected
    async with await image.rebase() as rebase:
        assert rebase.plan.pinned != rebase.plan.found, "the overlay stays"


async def test_what_is_missing_is_named_and_nothing_is_made(raw_image):
    image = raw_image
    async with await image.open("work") as disk:
        await disk.write(*WRITTEN)
        await disk.read(4 * CHUNK, CHUNK)
    image.publish(changed(3, 4, 30))
    async with await image.rebase() as rebase:
        assert rebase.plan.missing == ((30 * CHUNK, CHUNK),)
        with pytest.raises(MissingBaseError) as caught:
            await rebase.copy_to_image("copy")
        assert caught.value.ranges == ((30 * CHUNK, CHUNK),)
    async with Library.open(image.platform) as library:
        entries = await library.list()
        assert [e.name for e in entries if e.kind != "cache"] == ["work"]
        (overlay,) = [e for e in entries if e.kind == "overlay"]
        async with library.exporting(overlay.id) as file:
            assert [part async for part in file.parts]


async def test_without_digests_of_both_versions_it_stays(raw_image):
    image = raw_image
    await written(image)
    image.publish(changed(3))
    for options in (
        {"digests": None},
        {"digests": digests(image.data)},
        {"digests": digests(image.data), "digests_before": digests(OLD, 2 * CHUNK)},
        {"digests": digests(image.data), "digests_before": digests(OLD[:-CHUNK])},
    ):
        async with await image.rebase(**options) as rebase:
            assert rebase.plan.obstacle == "no-digests"
            assert rebase.plan.missing == ()
            with pytest.raises(RebaseRefusedError, match="no digests"):
                await rebase.move()
    with pytest.raises(InvalidDocumentError):
        await image.rebase(digests=digests(image.data), digests_before=b"{}")


async def test_a_prepared_image_whose_old_manifest_is_lost_is_compared_by_digest_lists(
    server, platform
):
    image = Image(server, platform, "prepared")
    expected = await written(image)
    image.publish(changed(3))
    async with Library.open(platform) as library:
        (cache,) = [entry for entry in await library.list() if entry.kind == "cache"]
        await library.remove(cache.id)
    async with await image.rebase() as rebase:
        assert rebase.plan.obstacle == "no-digests"
    lists = {"digests": digests(image.data), "digests_before": digests(OLD)}
    async with await image.rebase(**lists) as rebase:
        assert rebase.plan.hidden == ((3 * CHUNK, CHUNK),)
        await rebase.move()
    async with await image.open("work") as disk:
        assert await content(disk) == expected


async def test_another_size_is_refused(image, expected):
    image.publish(changed(size=SIZE - CHUNK))
    async with await image.rebase() as rebase:
        assert rebase.plan.obstacle == "size"
        with pytest.raises(RebaseRefusedError, match="another size"):
            await rebase.move()
        with pytest.raises(MissingBaseError):
            await rebase.copy_to_image("copy")


async def test_overlays_over_an_overlay_are_in_its_way(image, expected):
    async with await image.open("work", "upper") as disk:
        await disk.write(0, b"x")
    image.publish(changed(3))
    with pytest.raises(HasOverlaysError, match="upper"):
        await image.rebase()
    with pytest.raises(NoSuchImageError):
        await image.rebase("none")


async def test_an_empty_overlay_fits_any_version(image):
    async with await image.open("work"):
        pass
    async with Library.open(image.platform) as library:
        (overlay,) = [e for e in await library.list() if e.kind == "overlay"]
        await library.overlays.reset(overlay.id)
    image.publish(changed(3))
    async with await image.rebase() as rebase:
        assert rebase.plan.is_current
    async with await image.open("work") as disk:
        assert await content(disk) == image.data


@pytest.mark.parametrize("power", [False, True], ids=["kill", "power cut"])
async def test_a_move_that_dies_at_any_change_is_all_or_nothing(server, platform, power):
    """The overlay is bound to one of both versions, and has its bytes."""
    chance = random.Random(power)
    storage = LastingStorage()
    image = Image(server, replace(platform, storage=storage), "raw")
    expected = await written(image)
    storage = storage.restarted(chance, power=False)
    image.publish(changed(3))
    bound = set()
    for change in range(1, 40):
        machine = storage.restarted(chance, power=False)
        image.platform = replace(platform, storage=machine, locks=MemoryLocks())
        rebase = await image.rebase()
        found = rebase.plan.found
        machine.cut_power_at(change)
        with contextlib.suppress(PowerCutError):
            await rebase.move()
        died = machine.cut.is_set()
        machine = machine.restarted(chance, power=power)
        image.platform = replace(platform, storage=machine, locks=MemoryLocks())
        async with await image.rebase() as after:
            bound.add(after.plan.pinned)
            assert died or after.plan.is_current
            await after.move()
        async with await image.open("work") as disk:
            assert await content(disk) == expected
            assert disk.overlay.base_version == found
        if not died:
            break
    else:
        pytest.fail("a move takes fewer changes")
    assert len(bound) == 2
    assert change > 2


CHUNKS = st.sets(st.integers(0, 39), max_size=8)
SECTORS = st.lists(
    st.tuples(st.integers(0, SIZE // 512 - 1), st.integers(1, 80), st.booleans()), max_size=8
)


@fuzz
@settings(max_examples=rounds(20), deadline=None, database=None)
@given(kind=st.sampled_from(["raw", "prepared"]), writes=SECTORS, differing=CHUNKS)
def test_an_overlay_moves_exactly_when_its_disk_stays_the_same(kind, writes, differing):
    async def check(folder):
        platform = cpython_platform(folder)
        with ImageServer() as server:
            image = Image(server, platform, kind)
            after = changed(*differing)
            async with await image.open("work") as disk:
                for first, count, is_data in writes:
                    length = min(count * 512, SIZE - first * 512)
                    if is_data:
                        await disk.write(first * 512, random.Random(first).randbytes(length))
                    else:
                        await disk.discard(first * 512, length)
                expected = await content(disk)
                seen = bytearray(after)
                for offset, length in disk.overlay.written_ranges():
                    seen[offset : offset + length] = expected[offset : offset + length]
            image.publish(after)
            async with await image.rebase() as rebase:
                plan = rebase.plan
                assert plan.is_current or plan.can_move == (seen == expected)
                for start, length in plan.needed:
                    assert any(
                        chunk * CHUNK < start + length and start < (chunk + 1) * CHUNK
                        for chunk in differing
                    )
                if plan.can_move:
                    await rebase.move()
            if seen == expected:
                async with await image.open("work") as disk:
                    assert await content(disk) == expected
                    assert not disk.stats().notices
        await platform.http.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder)))
