"""The files of an image for fsspec (extra `fsspec`), and so for pandas, pyarrow, zarr and others.

    pandas.read_csv("aerodisk://1/data.csv::https://images.example/disk.img")

    files = fsspec.filesystem("aerodisk", fo="disk.qcow2")
    files.ls("1/etc")

The first name of a path is a volume's number. Naming a URL is the consent to contact its server.
Everything is read-only. An image on another file system of fsspec's is read through its files.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from ..errors import NoSuchFileError, UnreadableFileError
from ..file_systems import BUFFER_SIZE, Entry
from ..formats import LayoutDisk, open_layout
from ..sync import Disk, open_disk, run


class AeroDiskFileSystem(AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """fsspec's `aerodisk`: read-only, over one disk, which `close` closes.

    `fo` is the image: an http(s) URL, a path, or a URL of any other fsspec file system (with
    `target_protocol` and `target_options`); or give an open `disk` of `aero_browser_disk.sync`.
    `disk_options` go to `open_disk`.
    """

    protocol: ClassVar = "aerodisk"
    root_marker = ""
    cachable = True

    def __init__(
        self,
        fo: str | None = None,
        *,
        disk: Disk | None = None,
        target_protocol: str | None = None,
        target_options: Mapping[str, Any] | None = None,
        disk_options: Mapping[str, Any] | None = None,
        **storage_options: Any,
    ) -> None:
        super().__init__(**storage_options)
        if (fo is None) == (disk is None):
            raise ValueError("name the image, as fo, or give an open disk")
        self.disk = disk or _opened(fo or "", target_protocol, target_options, disk_options or {})

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = super()._strip_protocol(path)
        return stripped.strip("/")

    def close(self) -> None:
        """Closes the disk."""
        self.disk.close()

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """`name`, `size`, `type`, and `mtime` where it is known."""
        path = self._strip_protocol(path)
        with _mapped(path):
            return _facts(path, self.disk.files.stat(f"/{path}"))

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What is in a folder; of a file, the file itself."""
        path = self._strip_protocol(path)
        found = self.info(path)
        entries = [found]
        if found["type"] == "directory":
            with _mapped(path):
                listed = self.disk.files.list(f"/{path}").entries
            entries = [
                _facts(f"{path}/{e.name}".lstrip("/"), self._resolved(path, e)) for e in listed
            ]
        return entries if detail else sorted(entry["name"] for entry in entries)

    def modified(self, path: str) -> datetime:
        """When a file was written last."""
        return datetime.fromtimestamp(self.info(path)["mtime"] or 0, UTC)

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """The bytes of a file, or of a part of it; negative offsets count from its end."""
        with self.open(path) as file:
            size = file.seek(0, io.SEEK_END)
            first, stop, _step = slice(start, end).indices(size)
            file.seek(first)
            return bytes(file.read(max(0, stop - first)))

    def cat_ranges(
        self,
        paths: list[str],
        starts: int | list[int],
        ends: int | list[int],
        max_gap: int | None = None,
        on_error: str = "return",
        **_: Any,
    ) -> list[Any]:
        """Parts of files, asked for all at once."""
        first = starts if isinstance(starts, list) else [starts] * len(paths)
        stop = ends if isinstance(ends, list) else [ends] * len(paths)

        async def one(path: str, start: int, end: int) -> bytes:
            whole = f"/{self._strip_protocol(path)}"
            size = (await files.stat(whole)).size or 0
            begin, past, _step = slice(start, end).indices(size)
            async with files.open(whole) as file:
                file.seek(begin)
                return await file.read(max(0, past - begin))

        async def all_of_them() -> list[bytes | BaseException]:
            reads = (one(*part) for part in zip(paths, first, stop, strict=True))
            return await asyncio.gather(*reads, return_exceptions=True)

        files = self.disk.files.asynchronous
        found = [_usual(path, data) for path, data in zip(paths, run(all_of_them), strict=True)]
        for data in found:
            if isinstance(data, BaseException) and on_error == "raise":
                raise data
        return found

    def _open(
        self, path: str, mode: str = "rb", block_size: int | None = None, **_: Any
    ) -> io.BufferedReader:
        if mode != "rb":
            raise NotImplementedError("an image's files are read-only")
        path = self._strip_protocol(path)
        if self.info(path)["type"] == "directory":
            raise IsADirectoryError(path)
        with _mapped(path):
            return self.disk.files.open(f"/{path}", block_size or BUFFER_SIZE)

    def _resolved(self, path: str, entry: Entry) -> Entry:
        """A link to a file as that file; others stay links, so that walking ends."""
        if entry.kind != "link":
            return entry
        try:
            found = self.disk.files.stat(f"/{path}/{entry.name}")
        except (NoSuchFileError, UnreadableFileError):
            return entry
        return found if found.kind == "file" else entry


class _FsspecSource:
    """An image on another file system of fsspec's, to be read anywhere."""

    def __init__(self, file_system: AbstractFileSystem, path: str) -> None:
        self._file_system = file_system
        self._path = path
        self.size: int = file_system.size(path)

    async def read(self, offset: int, length: int) -> bytes:
        return await asyncio.to_thread(
            self._file_system.cat_file, self._path, offset, offset + length
        )


def _opened(
    image: str,
    protocol: str | None,
    target_options: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> Disk:
    """The disk at a URL or path; what this package cannot reach itself is read through fsspec."""
    scheme = image.partition("://")[0] if "://" in image else protocol or "file"
    if scheme in ("http", "https"):
        return open_disk(image, **{"allow_remote": True, **options})
    if scheme in ("file", "local"):
        return open_disk(path=image.partition("://")[2] or image, **options)
    address = image if "://" in image else f"{scheme}://{image}"
    file_system, path = url_to_fs(address, **(target_options or {}))
    source = _FsspecSource(file_system, path)

    async def opened() -> LayoutDisk:
        layout = await open_layout(source, format=options.get("format", "auto"))
        return LayoutDisk(layout, f"{source.size:x}")

    return Disk(run(opened))


def _facts(path: str, entry: Entry) -> dict[str, Any]:
    """An entry as fsspec describes files."""
    kinds = {"file": "file", "folder": "directory", "volume": "directory", "link": "link"}
    kind = kinds.get(entry.kind, "other")
    size = entry.size or 0 if kind == "file" else 0
    return {"name": path, "size": size, "type": kind, "mtime": entry.modified}


@contextlib.contextmanager
def _mapped(path: str) -> Iterator[None]:
    """What is missing, as the error that fsspec's users expect."""
    try:
        yield
    except NoSuchFileError as error:
        raise FileNotFoundError(path) from error


def _usual(path: str, found: bytes | BaseException) -> bytes | BaseException:
    return FileNotFoundError(path) if isinstance(found, NoSuchFileError) else found
