"""What of an image is not the same in two of its versions, by digests of both."""

from __future__ import annotations

import asyncio
from typing import Final

from ..errors import HttpStatusError, IntegrityError
from ..formats.prepared.chunk_table import NO_CHUNK, ChunkTable, Entry
from ..streaming.digest_list import DIGEST_LENGTH, DigestList
from ..writable.range_set import RangeSet

_YIELD_EVERY: Final = 64  # pages of a table


def changed_by_digests(before: DigestList, after: DigestList) -> RangeSet | None:
    """The bytes in chunks with another digest; None if the lists cannot be compared.

    They must be of one size, in chunks of one size.
    """
    size = before.chunk_size
    if (before.size, size) != (after.size, after.chunk_size):
        return None
    changed = RangeSet()
    for chunk in range(before.chunk_count):
        at = chunk * DIGEST_LENGTH
        digest = slice(at, at + DIGEST_LENGTH)
        if before.digests[digest] != after.digests[digest]:
            changed.add(chunk * size, min(before.size, (chunk + 1) * size))
    return changed


async def changed_by_tables(before: ChunkTable, after: ChunkTable) -> RangeSet | None:
    """The bytes in chunks with another entry, or one that cannot be read any more, in `before`.

    None if the tables cannot be compared: they must be of one size, in chunks of one size and
    pages of one length. Raises what loading a page of `after` does.
    """
    old, new = before.manifest, after.manifest
    shape = (old.size, old.chunk_size, old.page_entries)
    if shape != (new.size, new.chunk_size, new.page_entries):
        return None
    changed = RangeSet()
    for number in range(after.leaf_count):
        if number % _YIELD_EVERY == 0:
            await asyncio.sleep(0)
        first = number * new.page_entries
        count = min(new.page_entries, new.chunk_count - first)
        after_page = await after.leaf(number) or [NO_CHUNK] * count
        before_page = await _old_leaf(before, number, count)
        for index in range(count):
            if before_page is None or before_page[index] != after_page[index]:
                start = (first + index) * new.chunk_size
                changed.add(start, start + new.chunk_length(first + index))
    return changed


async def _old_leaf(table: ChunkTable, number: int, count: int) -> list[Entry] | None:
    """A page of a table; None when it is neither stored here nor on the server."""
    try:
        return await table.leaf(number) or [NO_CHUNK] * count
    except HttpStatusError as error:
        if error.status not in (404, 410):
            raise
    except IntegrityError:
        pass
    return None
