"""Files of the user that a page hands over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from ...errors import SourceError
from ..base import File
from ..byte_source import SourceIdentity
from ..chunks import CELL, BytesChunk, Chunk, Run
from .interop import bridge, js_exception
from .opfs import OpfsFile

_CHANGED = "it was changed, moved or removed since it was chosen. Choose it again"
_GONE = {
    "NotReadableError": _CHANGED,
    "AbortError": _CHANGED,  # in Firefox
    "NotFoundError": "it was moved or removed since it was chosen. Choose it again",
}
"""Reasons by the name of the browser's error, whose message blames permissions (File API §10)."""


class BlobSource:
    """A `ChunkSource` over a `Blob` or `File`; only the requested bytes are in memory."""

    def __init__(self, blob: Any) -> None:
        self._blob = blob
        self.size = int(blob.size)
        name = getattr(blob, "name", "")
        self.identity = SourceIdentity(name, self.size, str(getattr(blob, "lastModified", "")))

    async def read(self, offset: int, length: int) -> bytes:
        with self._source_errors():
            buffer = await self._blob.slice(offset, offset + length).arrayBuffer()
        data: bytes = buffer.to_bytes()
        return data

    async def read_chunk(self, offset: int, length: int) -> Chunk:
        """The bytes in JavaScript's memory, if our bridge is there; else in Python's."""
        between = bridge()
        if between is None:
            return BytesChunk(await self.read(offset, length))
        with self._source_errors():
            return BlobChunk(await between.holdBlob(self._blob, offset, length))

    @contextmanager
    def _source_errors(self) -> Iterator[None]:
        try:
            yield
        except js_exception() as error:
            name = self.identity.name or "The file"
            message = str(getattr(error, "message", error))
            raise SourceError(name, _GONE.get(getattr(error, "name", ""), message)) from error


class BlobChunk:
    """A `Chunk` in JavaScript's memory."""

    def __init__(self, foreign: Any) -> None:
        self._bytes = foreign
        self._length = int(foreign.length)

    def __len__(self) -> int:
        return self._length

    def copy(self, start: int, stop: int) -> bytes:
        data: bytes = self._bytes.copy(start, stop).to_bytes()
        return data

    def data_runs(self, start: int = 0) -> list[Run]:
        ends = self._bytes.dataRuns(start, CELL).to_py()
        return list(pairwise(ends))[::2]

    def put(self, start: int, stop: int, file: File, offset: int) -> None:
        if isinstance(file, OpfsFile):
            file.write_foreign(self._bytes, start, stop, offset)
        else:
            file.write(self.copy(start, stop), offset)
