"""The layout of a prepared image: which file has a part of the disk, and how to unpack it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from ..image_format import PREPARED, ImageFormat
from ..layout import Segment
from .chunk_codec import unpack_chunk
from .chunk_table import ChunkTable, LoadPage
from .manifest import Manifest
from .stored_files import StoredFile, StoredFiles, read_proved


@dataclass(frozen=True, slots=True)
class ChunkSource:
    """A stored chunk as a `ByteSource`, which reads and verifies the whole file."""

    files: StoredFiles
    file: StoredFile
    offset: int = field(compare=False)
    """The chunk's offset on the disk, for errors; equal chunks share a file."""

    @property
    def size(self) -> int:
        """The size of the stored file in bytes."""
        return self.file.length

    async def read(self, offset: int, length: int) -> bytes:
        """Verifies the file and returns a part of it; raises as `read_proved`."""
        data = await read_proved(self.files, self.file, self.offset)
        return data[offset : offset + length]


class PreparedLayout:
    """An `ImageLayout` over a manifest and the files it names.

    `load_page` loads the pages of the table; by default they come from `files`.
    """

    def __init__(
        self, manifest: Manifest, files: StoredFiles, load_page: LoadPage | None = None
    ) -> None:
        self.manifest = manifest
        self.size = manifest.size
        self.files = files
        self.table = ChunkTable(manifest, load_page or partial(read_proved, files))

    @property
    def format(self) -> ImageFormat:
        return PREPARED

    async def segment(self, offset: int, stop: int) -> Segment:
        chunk_size, entries = self.manifest.chunk_size, self.table.page_entries
        chunk = offset // chunk_size
        number, index = divmod(chunk, entries)
        leaf = await self.table.leaf(number)
        if leaf is None:
            return Segment(offset, min(stop, (number + 1) * entries * chunk_size))
        entry = leaf[index]
        start = chunk * chunk_size
        if entry.file is None:
            while index < len(leaf) and leaf[index].file is None:
                index += 1
            return Segment(offset, min(stop, (number * entries + index) * chunk_size))
        length = self.manifest.chunk_length(chunk)
        return Segment(
            offset,
            min(stop, start + length),
            ChunkSource(self.files, entry.file, start),
            0,
            entry.file.length,
            partial(unpack_chunk, entry.kind, length=length),
            offset - start,
            length,
            own_length=0,  # equal chunks are stored once
        )

    async def check_tables(self) -> None:
        """Nothing to check: a page has the digests of those below it, so there are no cycles."""
