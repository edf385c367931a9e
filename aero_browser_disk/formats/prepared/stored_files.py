"""Files that are named by the SHA-256 of their bytes, and proved by it before they are used."""

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
"""The folder next to the manifest with all files that are named by their digest."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file by the SHA-256 of its bytes, which names it, and its length in bytes."""

    digest: bytes
    length: int

    @property
    def path(self) -> str:
        """Where it is, relative to the manifest: `chunks/ab/abcd…`."""
        name = self.digest.hex()
        return f"{FILES_FOLDER}/{name[:2]}/{name}"

    def is_file(self, data: bytes | bytearray | memoryview) -> bool:
        """Whether these are its bytes, all of them."""
        return len(data) == self.length and hashlib.sha256(data).digest() == self.digest


def stored_file(data: bytes) -> StoredFile:
    """The file that has these bytes."""
    return StoredFile(hashlib.sha256(data).digest(), len(data))


class StoredFiles(Protocol):
    """Where the files of a prepared image are."""

    async def read(self, file: StoredFile) -> bytes:
        """The bytes at the name of `file`: at most one more than it should have, not yet proved.

        Raises what the source raises if there is none.
        """


async def read_proved(files: StoredFiles, file: StoredFile, offset: int) -> bytes:
    """The bytes of a file, which are what its name says.

    Raises `IntegrityError` for others, with the `offset` on the disk of what the file is for, and
    what the source raises.
    """
    data = await files.read(file)
    if not file.is_file(data):
        raise IntegrityError(offset, file.length)
    return data


@dataclass(frozen=True)
class FolderFiles:
    """Those in a folder of this machine (CPython)."""

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
