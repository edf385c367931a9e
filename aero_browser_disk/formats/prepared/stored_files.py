"""Files that are named by the SHA-256 of their bytes, and verified by it before use."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ...errors import IntegrityError, SourceError

DIGEST_LENGTH: Final = 32
FILES_FOLDER: Final = "chunks"
"""The folder next to the manifest with all the files that are named by their digest."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file: the SHA-256 of its bytes, which is its name, and its length in bytes."""

    digest: bytes
    length: int

    @property
    def path(self) -> str:
        """The path relative to the manifest: `chunks/ab/abcd…`."""
        name = self.digest.hex()
        return f"{FILES_FOLDER}/{name[:2]}/{name}"

    def is_file(self, data: bytes | bytearray | memoryview) -> bool:
        """Whether `data` is exactly the content of this file."""
        return len(data) == self.length and hashlib.sha256(data).digest() == self.digest


def stored_file(data: bytes) -> StoredFile:
    """The file with this content."""
    return StoredFile(hashlib.sha256(data).digest(), len(data))


class StoredFiles(Protocol):
    """Where the files of a prepared image come from."""

    async def read(self, file: StoredFile) -> bytes:
        """The unverified bytes found under the name of `file`, at most one more than its length.

        Raises what the source raises if there is no such file.
        """


async def read_proved(files: StoredFiles, file: StoredFile, offset: int) -> bytes:
    """The bytes of a file, verified against its name.

    Raises what the source raises, and `IntegrityError` if the bytes are wrong. `offset` is where
    the file's content begins on the disk, for that error.
    """
    data = await files.read(file)
    if not file.is_file(data):
        raise IntegrityError(offset, file.length)
    return data


@dataclass(frozen=True)
class FolderFiles:
    """Files in a local folder (CPython)."""

    folder: Path

    async def read(self, file: StoredFile) -> bytes:
        path = self.folder / file.path
        try:
            return await asyncio.to_thread(_read_file, path, file.length + 1)
        except OSError as error:
            raise SourceError(os.fspath(path), error.strerror or str(error)) from error


def _read_file(path: Path, max_bytes: int) -> bytes:
    with path.open("rb") as file:
        return file.read(max_bytes)
