"""Chunks of data that is copied, in Python's memory or JavaScript's, and where they are not
zeros."""

from __future__ import annotations

from typing import Final, Protocol, runtime_checkable

from .base import File
from .byte_source import ByteSource

CELL: Final = 4096
"""The unit in which zeros are found, and in which an image takes storage."""

Run = tuple[int, int]
"""From start to stop in bytes."""

_ZEROS: Final = bytes(CELL)


class Chunk(Protocol):
    """Bytes in any memory: a copy may bypass Python's."""

    def __len__(self) -> int:
        """How many there are."""

    def copy(self, start: int, stop: int) -> bytes:
        """Some of them, from start to stop."""

    def data_runs(self, start: int = 0) -> list[Run]:
        """Where it is not zeros from `start` on: runs of whole cells, but for the last."""

    def put(self, start: int, stop: int, file: File, offset: int) -> None:
        """Writes some of them to a file; raises as `File.write`."""


@runtime_checkable
class ChunkSource(ByteSource, Protocol):
    """A source whose bytes can be read into memory that is not Python's."""

    async def read_chunk(self, offset: int, length: int) -> Chunk:
        """As `read`, in memory of the source's choice."""


class BytesChunk:
    """A `Chunk` in Python's memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def copy(self, start: int, stop: int) -> bytes:
        return self._data[start:stop]

    def data_runs(self, start: int = 0) -> list[Run]:
        return data_runs(self._data, start)

    def put(self, start: int, stop: int, file: File, offset: int) -> None:
        with memoryview(self._data)[start:stop] as part:
            file.write(part, offset)


def data_runs(data: bytes, start: int = 0) -> list[Run]:
    """Where `data` from `start` on is not zeros: runs of whole cells, but for the last."""
    whole = start + (len(data) - start) // CELL * CELL
    runs: list[Run] = []
    # A search for that many bytes passes over as many at a time: most data is seen to have no holes
    # at next to no cost. Where there are some it is quicker to look at each cell.
    begin = start if data.find(_ZEROS, start, whole) < 0 else -1
    for at in range(start, whole, CELL) if begin < 0 else ():
        is_zero = data.startswith(_ZEROS, at)
        if is_zero and begin >= 0:
            runs.append((begin, at))
            begin = -1
        elif not is_zero and begin < 0:
            begin = at
    stop = len(data) if any(data[whole:]) else whole
    begin = whole if begin < 0 else begin
    return [*runs, (begin, stop)] if stop > begin else runs
