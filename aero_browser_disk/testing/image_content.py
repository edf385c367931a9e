"""The images of a test server: in memory, in files or synthetic, and their versions."""

from __future__ import annotations

import hashlib
import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .synthetic_image import SyntheticImage

if TYPE_CHECKING:
    from .behaviour import Behaviour

ImageData = bytes | bytearray | memoryview | Path | SyntheticImage
"""The types that an image can be given as. Bytes are copied; a file is read again for each
request."""

_EPOCH_S = 1_600_000_000
_DAY_S = 86_400


class ServedContent(Protocol):
    """Bytes by offset."""

    @property
    def size(self) -> int:
        """How many there are."""

    def read(self, offset: int, length: int) -> bytes:
        """Those at `offset`; fewer than `length` at the end."""


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """One state of an image. `etag` has its quotes; `modified_s` is in seconds since 1970."""

    content: ServedContent
    etag: str
    modified_s: int


class ServedImage:
    """An image that a server has under one name."""

    def __init__(self, data: ImageData) -> None:
        self.behaviour: Behaviour | None = None
        """How the server responds for it; None: as the server's own behaviour says."""
        self._content = _content(data)
        self._generation = 1

    @property
    def size(self) -> int:
        """Bytes in the image as it is now."""
        return self._content.size

    def replace(self, data: ImageData) -> None:
        """Another version from now on: a new ETag and a later Last-Modified, even for equal bytes.

        A response that is under way goes on with the old one.
        """
        self._content = _content(data)
        self._generation += 1

    def version(self) -> ServedVersion:
        """The version that a request gets now."""
        content = self._content
        name = hashlib.sha256(content.identity()).hexdigest()[:16]
        return ServedVersion(
            content,
            etag=f'"{self._generation}-{name}"',
            # Never the same for two versions, even within one second.
            modified_s=_EPOCH_S + self._generation * _DAY_S + int(name, 16) % _DAY_S,
        )


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._digest = hashlib.sha256(data).digest()

    @property
    def size(self) -> int:
        return len(self._data)

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def identity(self) -> bytes:
        return self._digest


class _FileBytes:
    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)  # kept: a file that replaces it is another image
        weakref.finalize(self, self._file.close)

    @property
    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, length: int) -> bytes:
        # One seek and read at a time: all reads are made by the server's one thread.
        self._file.seek(offset)
        parts = []
        while length and (part := self._file.read(length)):
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def identity(self) -> bytes:
        state = os.fstat(self._file.fileno())
        return f"{state.st_dev} {state.st_ino} {state.st_mtime_ns} {state.st_size}".encode()


class _MadeUp:
    def __init__(self, image: SyntheticImage) -> None:
        self._image = image
        self.size = image.size
        self.read = image.read

    def identity(self) -> bytes:
        return f"synthetic {self._image.size} {self._image.seed}".encode()


def _content(data: ImageData) -> _Bytes | _FileBytes | _MadeUp:
    if isinstance(data, SyntheticImage):
        return _MadeUp(data)
    if isinstance(data, Path):
        return _FileBytes(data)
    return _Bytes(bytes(data))
