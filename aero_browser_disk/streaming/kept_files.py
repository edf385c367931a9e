"""The manifest and the pages of a prepared image, or a CD's cue sheet, in the folder of its cache.

One file of records: kind, length, SHA-256, bytes. Records that do not match their digest are
skipped, so a crash loses only what was being written. With these files, a disk whose blocks are
cached can be opened and read without its server.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import Final

from ..errors import StorageError
from ..platform.base import File, Storage

MANIFEST: Final = 1
"""The manifest, or the cue sheet of a CD."""
DOCUMENT: Final = 2
"""A page of the table, or the document of a boot bundle."""

_MAGIC = b"AEROKPT1"
_RECORD = struct.Struct("<B3sI32s")
_MAX_BYTES = 32 << 20  # the pages of 200 GiB
_LARGEST = 16 << 20


class KeptFiles:
    """Stores small files by their SHA-256. A storage failure is no error: nothing is stored."""

    def __init__(self, file: File) -> None:
        self._file: File | None = file
        self._extents: dict[bytes, tuple[int, int]] = {}
        self._manifest: bytes | None = None
        self._manifests: dict[bytes, None] = {}
        self._stop = len(_MAGIC)
        try:
            self._read_index()
        except StorageError:
            self.close()

    @classmethod
    async def open(cls, storage: Storage, folder: str) -> KeptFiles:
        """Opens the files in a cache's folder; raises `StorageError`."""
        return cls(await storage.open(f"{folder}/kept"))

    @property
    def manifest(self) -> bytes | None:
        """The manifest that was stored last."""
        return None if self._manifest is None else self.get(self._manifest)

    def manifests(self) -> Iterator[bytes]:
        """All stored manifests that are intact."""
        for digest in self._manifests:
            found = self.get(digest)
            if found is not None:
                yield found

    def get(self, digest: bytes) -> bytes | None:
        """The bytes with that SHA-256, if they were stored and are intact."""
        extent = self._extents.get(digest)
        if extent is None or self._file is None:
            return None
        data = bytearray(extent[1])
        try:
            self._file.read_into(data, extent[0])
        except StorageError:
            return None
        return bytes(data) if hashlib.sha256(data).digest() == digest else None

    def keep(self, kind: int, data: bytes) -> None:
        """Stores a file; a manifest becomes the current one."""
        digest = hashlib.sha256(data).digest()
        if kind == DOCUMENT and digest in self._extents:
            return
        if kind == MANIFEST and self._manifest == digest:
            return
        if self._file is None:
            return
        record = _RECORD.pack(kind, b"", len(data), digest) + data
        try:
            if self._stop + len(record) > _MAX_BYTES:
                self._clear(self._file)
            self._file.write(record, self._stop)
        except StorageError:
            return
        self._note(kind, digest, self._stop + _RECORD.size, len(data))

    def close(self) -> None:
        """Closes the file. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _clear(self, file: File) -> None:
        self._extents.clear()
        self._manifests.clear()
        self._manifest, self._stop = None, len(_MAGIC)
        file.truncate(len(_MAGIC))

    def _read_index(self) -> None:
        file = self._file
        assert file is not None
        magic, size = bytearray(len(_MAGIC)), file.size()
        file.read_into(magic, 0)
        if magic != _MAGIC:
            file.truncate(0)
            file.write(_MAGIC, 0)
            return
        head = bytearray(_RECORD.size)
        while file.read_into(head, self._stop) == len(head):
            kind, _, length, digest = _RECORD.unpack(head)
            begin = self._stop + _RECORD.size
            if kind not in (MANIFEST, DOCUMENT) or length > _LARGEST or begin + length > size:
                break  # torn: the next record overwrites it
            self._note(kind, digest, begin, length)

    def _note(self, kind: int, digest: bytes, begin: int, length: int) -> None:
        self._extents[digest] = begin, length
        if kind == MANIFEST:
            self._manifest = digest
            self._manifests[digest] = None
        self._stop = begin + length
