"""The folder that a prepared image is written to (CPython): files by their digest, and an index.

The index (`.pack-index`) is for the next run alone: which content was stored as which file. So a
run that was interrupted goes on, and a later version of an image stores only what changed. Readers
do not need it; without it everything is packed again, to the same bytes.
"""

from __future__ import annotations

import re
import struct
import threading
import zlib
from pathlib import Path
from typing import Final, Self

from ..formats.prepared.chunk_table import Entry
from ..formats.prepared.stored_files import FILES_FOLDER, StoredFile, stored_file
from ..platform.whole_file import whole_file

_NAME = re.compile(r"[0-9a-f]{64}")
INDEX_NAME: Final = ".pack-index"
_MAGIC = b"AEROPIX1"
_RECORD = struct.Struct("<32s32sIBbxx")  # content, file, length, kind, level
_CHECKSUM = struct.Struct("<I")
_RECORD_SIZE = _RECORD.size + _CHECKSUM.size
_MAX_RECORDS = 1 << 20  # some 200 MiB in memory, for 256 GiB of data


class PackFolder:
    """Writes the files of a prepared image, each once. May be used by several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files_written = 0
        self.bytes_written = 0
        self._lock = threading.Lock()
        self._folders: set[Path] = set()

    def has(self, file: StoredFile) -> bool:
        """Whether the file is there, by its name and length."""
        try:
            return (self.folder / file.path).stat().st_size == file.length
        except OSError:
            return False

    def write(self, data: bytes) -> StoredFile:
        """Writes a file unless it is there; raises `OSError`."""
        file = stored_file(data)
        if self.has(file):
            return file
        path = self.folder / file.path
        if path.parent not in self._folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(path.parent)
        with whole_file(path) as target:
            target.write(data)
        with self._lock:
            self.files_written += 1
            self.bytes_written += file.length
        return file

    def all_files(self) -> list[Path]:
        """The files that are there, each by its digest; others are left out."""
        found = sorted((self.folder / FILES_FOLDER).glob("[0-9a-f][0-9a-f]/*"))
        return [path for path in found if _NAME.fullmatch(path.name)]


class PackIndex:
    """How content was stored before, at one level of compression."""

    def __init__(self, path: Path, level: int | None) -> None:
        self._level = -128 if level is None else level
        self._known: dict[bytes, Entry] = {}
        self._unwritten: list[bytes] = []
        self._lock = threading.Lock()
        data = path.read_bytes() if path.exists() else b""
        if not data.startswith(_MAGIC):
            data = b""
        for at in range(len(_MAGIC), len(data) - _RECORD_SIZE + 1, _RECORD_SIZE):
            self._take(data[at : at + _RECORD_SIZE])
        whole = (len(data) - len(_MAGIC)) // _RECORD_SIZE * _RECORD_SIZE + len(_MAGIC)
        self._file = path.open("r+b" if data else "w+b")
        if data:
            self._file.truncate(whole)  # the end may be torn
            self._file.seek(whole)
        else:
            self._file.write(_MAGIC)

    def find(self, content: bytes) -> Entry | None:
        """How the content with that SHA-256 was stored."""
        return self._known.get(content)

    def note(self, content: bytes, entry: Entry) -> None:
        """The content is stored so now."""
        assert entry.file is not None
        record = _RECORD.pack(
            content, entry.file.digest, entry.file.length, entry.kind, self._level
        )
        with self._lock:
            if len(self._known) < _MAX_RECORDS:
                self._known[content] = entry
                self._unwritten.append(record + _CHECKSUM.pack(zlib.crc32(record)))

    def save(self) -> None:
        """Writes what was noted: it is there after the process ends."""
        with self._lock:
            data, self._unwritten = b"".join(self._unwritten), []
        self._file.write(data)
        self._file.flush()

    def close(self) -> None:
        """Saves and closes the file."""
        self.save()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, record: bytes) -> None:
        if _CHECKSUM.unpack_from(record, _RECORD.size)[0] != zlib.crc32(record[: _RECORD.size]):
            return
        content, digest, length, kind, level = _RECORD.unpack_from(record)
        if level == self._level and len(self._known) < _MAX_RECORDS:
            self._known[content] = Entry(kind, StoredFile(digest, length))
