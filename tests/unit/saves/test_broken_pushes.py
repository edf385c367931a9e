"""Pushes that are given up at any point: none makes half a save, and the next one goes on."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.errors import NoSuchSaveError
from aero_browser_disk.saves import SaveServer
from aero_browser_disk.saves.chunk_upload import ChunkUpload
from aero_browser_disk.saves.content_index import GONE, ContentIndex, Item
from aero_browser_disk.saves.content_scan import UNPLACED
from aero_browser_disk.saves.save_requests import Reply, SaveRequests
from support.saves import SaveService
from support.unretrieved import errors_nobody_took


@pytest.mark.parametrize("seed", range(2))
async def test_a_push_that_is_given_up_anywhere_is_continued(server, platform, seed):
    moments = random.Random(seed)
    url = server.url("disk.img")
    with SaveService() as service:
        for round_number in range(8):
            async with await open_disk(
                url, overlay="work", allow_remote=True, platform=platform
            ) as disk:
                there = await SaveServer.open(service.url, allow_remote=True, platform=platform)
                for _ in range(5):
                    offset = moments.randrange(700) * 4096
                    await disk.write(offset, moments.randbytes(moments.choice([512, 90_000])))
                pushing = asyncio.ensure_future(there.push(disk))
                for _ in range(moments.randrange(2000)):
                    await asyncio.sleep(0)
                pushing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pushing
                if round_number % 4 != 3:
                    continue
                await there.push(disk)
                expected = await disk.read(0, disk.info.size)
                name = f"copy {round_number}"
                await there.pull("work", name, url=url)
            async with await open_disk(
                url, overlay=name, allow_remote=True, platform=platform
            ) as copy:
                assert await copy.read(0, copy.info.size) == expected


class RefusingRequests(SaveRequests):
    """Fails each chunk at once; the rest of a `SaveRequests` is not needed."""

    def __init__(self) -> None:
        self.asked = 0

    async def put_chunk(self, save: str, sha256: str, stored: bytes) -> Reply:
        self.asked += 1
        raise NoSuchSaveError(f"{save}, chunk {self.asked}")


async def test_chunks_that_fail_together_are_one_error():
    with errors_nobody_took() as left:
        requests = RefusingRequests()
        upload = ChunkUpload(requests, "a save", ContentIndex())
        content = random.Random(1)
        for granule in range(3 * 64):  # three chunks
            item = Item(granule, 1, 0xFF, b"h" * 16, UNPLACED, 0)
            await upload.add(item, content.randbytes(4096))
        with pytest.raises(NoSuchSaveError, match=r"chunk [123]"):
            await upload.finish()
        await upload.cancel()
        assert requests.asked == 3
        del upload
    assert left == []


async def test_a_chunk_that_was_never_sent_is_not_taken_for_one_that_arrived():
    """The index has one that the server lost, which looks the same."""
    index = ContentIndex([GONE])
    upload = ChunkUpload(SaveRequests.__new__(SaveRequests), "a save", index)
    await upload.add(Item(0, 1, 0xFF, b"h" * 16, UNPLACED, 0), b"x" * 4096)
    await upload.cancel()
    assert index.find(0) is None
