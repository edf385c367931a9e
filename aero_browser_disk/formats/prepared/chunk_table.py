"""The table of chunks: a tree of pages, each of which is a file named in the page above.

A leaf has an entry for each chunk, in order. A page above it has an entry for each page below. A
part of the disk that is all zeros has no page.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ...errors import DamagedImageError
from ..image_format import PREPARED
from .chunk_codec import KINDS, RAW
from .manifest import Manifest
from .stored_files import DIGEST_LENGTH, StoredFile

ZEROS: Final = 0
PAGE: Final = 3
DEFAULT_PAGE_ENTRIES: Final = 512

_MAGIC = b"AEROTAB1"
_HEADER = struct.Struct("<8sB3sI")  # magic, level, reserved, entries
_ENTRY = struct.Struct("<32sIB3s")  # SHA-256, stored length, kind, reserved
_NOTHING = bytes(DIGEST_LENGTH)
_PAGES_CACHED = 256

LoadPage = Callable[[StoredFile, int], Awaitable[bytes]]
"""Returns the verified bytes of a page. Its chunks begin at the given offset of the disk."""


@dataclass(frozen=True, slots=True)
class Entry:
    """How a chunk, or all chunks below a page, are stored. `file` is None for zeros."""

    kind: int
    file: StoredFile | None

    def encode(self) -> bytes:
        """The 40 bytes of the entry."""
        if self.file is None:
            return _ENTRY.pack(_NOTHING, 0, ZEROS, b"")
        return _ENTRY.pack(self.file.digest, self.file.length, self.kind, b"")


NO_CHUNK: Final = Entry(ZEROS, None)
"""A chunk of zeros."""


def encode_page(level: int, entries: list[Entry]) -> bytes:
    """The bytes of a page; level 0 is a leaf."""
    header = _HEADER.pack(_MAGIC, level, b"", len(entries))
    return header + b"".join(entry.encode() for entry in entries)


def decode_page(data: bytes, level: int, count: int, chunk_size: int) -> list[Entry]:
    """The entries of a page, which must have that level and that many entries.

    Raises `DamagedImageError`.
    """
    if len(data) != _HEADER.size + count * _ENTRY.size:
        raise _damaged(f"a page of its table has {len(data):,} bytes")
    if _HEADER.unpack_from(data) != (_MAGIC, level, bytes(3), count):
        raise _damaged("a page of its table has no valid header")
    found = _ENTRY.iter_unpack(data[_HEADER.size :])
    return [_entry(fields, level, chunk_size) for fields in found]


def _entry(fields: tuple[bytes, int, int, bytes], level: int, chunk_size: int) -> Entry:
    digest, length, kind, reserved = fields
    if reserved != b"\0\0\0":
        raise _damaged("its table has an entry whose reserved bytes are not zero")
    if kind == ZEROS:
        if length or digest != _NOTHING:
            raise _damaged("its table has an entry of zeros that names a file")
        return NO_CHUNK
    known = kind in KINDS if level == 0 else kind == PAGE
    largest = chunk_size if level == 0 else _HEADER.size + _ENTRY.size * 8192
    if not known or not 0 < length <= largest:
        raise _damaged(f"its table has an entry of kind {kind} and {length:,} bytes")
    return Entry(kind, StoredFile(digest, length))


class ChunkTable:
    """Reads the table of a manifest. Pages are loaded when needed.

    The `pages_cached` most recent ones are cached.
    """

    def __init__(
        self, manifest: Manifest, load: LoadPage, *, pages_cached: int = _PAGES_CACHED
    ) -> None:
        self.page_entries = manifest.page_entries
        self.manifest = manifest
        self._load = load
        self._pages_cached = pages_cached
        self._depth = depth_of(manifest.chunk_count, manifest.page_entries)
        self._pages: OrderedDict[tuple[int, int], list[Entry]] = OrderedDict()

    @property
    def leaf_count(self) -> int:
        """The number of leaves, including those that are not stored."""
        return -(-self.manifest.chunk_count // self.page_entries)

    async def leaf(self, number: int) -> list[Entry] | None:
        """The entries of a leaf; None when all of its chunks are zeros.

        Raises `DamagedImageError`, and what loading a page does.
        """
        return await self._page(0, number)

    async def entry(self, chunk: int) -> Entry:
        """How a chunk is stored; raises as `leaf`."""
        number, index = divmod(chunk, self.page_entries)
        leaf = await self.leaf(number)
        return NO_CHUNK if leaf is None else leaf[index]

    async def _page(self, level: int, number: int) -> list[Entry] | None:
        cached = self._pages.get((level, number))
        if cached is not None:
            self._pages.move_to_end((level, number))
            return cached
        file: StoredFile | None = self.manifest.table
        if level < self._depth - 1:
            above, index = divmod(number, self.page_entries)
            parent = await self._page(level + 1, above)
            file = None if parent is None else parent[index].file
        if file is None:
            return None
        chunks = self.page_entries ** (level + 1)  # below a full page of this level
        first = number * chunks
        below = chunks // self.page_entries
        count = -(-min(chunks, self.manifest.chunk_count - first) // below)
        data = await self._load(file, first * self.manifest.chunk_size)
        page = decode_page(data, level, count, self.manifest.chunk_size)
        if level == 0:
            self._check_lengths(first, page)
        self._pages[level, number] = page
        while len(self._pages) > self._pages_cached:
            self._pages.popitem(last=False)
        return page

    def _check_lengths(self, first: int, page: list[Entry]) -> None:
        for index, entry in enumerate(page):
            length = self.manifest.chunk_length(first + index)
            if entry.file is not None and (
                entry.file.length > length or (entry.kind == RAW and entry.file.length != length)
            ):
                raise _damaged(
                    f"its chunk {first + index:,} is stored in {entry.file.length:,} bytes"
                )

    async def files(self) -> AsyncIterator[tuple[int, Entry]]:
        """All files that the table names: pages as they are read, then the chunks of each leaf.

        Each comes with the number of its chunk, or -1 for a page. Raises as `leaf`.
        """
        yield -1, Entry(PAGE, self.manifest.table)
        async for number, leaf in self.leaves():
            for index, entry in enumerate(leaf):
                if entry.file is not None:
                    yield number * self.page_entries + index, entry
        for level in range(1, self._depth):
            async for entry in self._pages_below(level):
                yield -1, entry

    async def leaves(self) -> AsyncIterator[tuple[int, list[Entry]]]:
        """The leaves that are stored, with their numbers; raises as `leaf`."""
        number = 0
        while number < self.leaf_count:
            leaf = await self.leaf(number)
            if leaf is not None:
                yield number, leaf
                number += 1
            else:
                number = await self._after_zeros(number)

    async def _after_zeros(self, number: int) -> int:
        """The number of the next leaf that may be stored, after one that is not."""
        step = 1
        for level in range(1, self._depth - 1):
            wider = self.page_entries**level
            if number % wider or await self._page(level, number // wider) is not None:
                break
            step = wider
        return number + step

    async def _pages_below(self, level: int) -> AsyncIterator[Entry]:
        """The stored entries of all pages of a level above the leaves."""
        for number in range(-(-self.leaf_count // self.page_entries**level)):
            for entry in await self._page(level, number) or ():
                if entry.file is not None:
                    yield entry


class TableWriter:
    """Makes the pages of a table from its entries, in order, and passes each to `write`."""

    def __init__(
        self, chunk_count: int, page_entries: int, write: Callable[[bytes], StoredFile]
    ) -> None:
        self._page_entries = page_entries
        self._write = write
        self._levels: list[list[Entry]] = [[] for _ in range(depth_of(chunk_count, page_entries))]

    def add(self, entry: Entry) -> None:
        """Adds the entry of the next chunk."""
        self._add(0, entry)

    def finish(self) -> StoredFile:
        """Writes the rest and returns the root page; called after the last chunk."""
        for level in range(len(self._levels) - 1):
            self._close(level)
        return self._write(encode_page(len(self._levels) - 1, self._levels[-1]))

    def _add(self, level: int, entry: Entry) -> None:
        entries = self._levels[level]
        if len(entries) == self._page_entries:
            self._close(level)
            entries = self._levels[level]
        entries.append(entry)

    def _close(self, level: int) -> None:
        entries = self._levels[level]
        if not entries:
            return
        self._levels[level] = []
        is_zeros = all(entry.file is None for entry in entries)
        above = NO_CHUNK if is_zeros else Entry(PAGE, self._write(encode_page(level, entries)))
        self._add(level + 1, above)


def depth_of(chunk_count: int, page_entries: int) -> int:
    """The number of levels; 1 if the root is the only leaf."""
    depth, pages = 1, -(-chunk_count // page_entries)
    while pages > 1:
        depth, pages = depth + 1, -(-pages // page_entries)
    return depth


def _damaged(reason: str) -> DamagedImageError:
    return DamagedImageError(PREPARED.title, reason)
