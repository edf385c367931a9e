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
import errno
import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, NoReturn

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from ..errors import NoSuchFileError, UnknownFileSystemError, UnreadableFileError
from ..file_systems import BUFFER_SIZE, NOT_A_FILE, DiskFiles, Entry
from ..formats import LayoutDisk, open_layout
from ..sync import Disk, open_disk, run


class AeroDiskFileSystem(AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """fsspec's `aerodisk`: read-only, over one disk, which `close` closes.

    `fo` is the image: an http(s) URL, a path, or a URL of any other fsspec file system (with
    `target_protocol` and `target_options`); or give an open `disk` of `aero_browser_disk.sync`.
    `disk_options` go to `open_disk`; of `target_options` for an http(s) URL, `headers` do.

    What fsspec keeps for the next use is closed when the interpreter ends. Whatever would change
    the image raises `OSError` with `EROFS`. Links are followed, but a link to a folder is listed as
    a link, so that walks end.
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
        self._is_owner = disk is None
        self.disk = disk or _opened(fo or "", target_protocol, target_options, disk_options or {})
        if self._is_owner:
            self.disk.close_at_exit()

    def __del__(self) -> None:
        if getattr(self, "disk", None) is not None and self._is_owner:
            self.disk.close_in_background()

    def __reduce__(self) -> Any:
        if not self._is_owner:
            raise TypeError("a file system over an open disk cannot be pickled: name the image")
        return super().__reduce__()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = super()._strip_protocol(path)
        return stripped.strip("/")

    def close(self) -> None:
        """Closes the disk. The next `fsspec.filesystem` of the same image opens it anew."""
        if self._cache.get(self._fs_token) is self:
            del self._cache[self._fs_token]
        self.disk.close()

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """`name`, `size`, `type`, `islink` and `destination`, and, where they are known, `mode`,
        `uid`, `gid`, `mtime` and `created` (seconds since the epoch)."""
        path = self._strip_protocol(path)
        files = self.disk.files.asynchronous

        async def looked_at() -> dict[str, Any]:
            itself = await files.stat(f"/{path}", follow_links=False)
            return _facts(path, itself, await files.stat(f"/{path}"))

        with _mapped(path):
            return self.disk.run(looked_at)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What is in a folder; of a file, the file itself.

        Raises `OSError` for a folder that has more entries than `DiskFiles.list` gives.
        """
        path = self._strip_protocol(path)
        found = self.info(path)
        entries = [found]
        if found["type"] == "directory":
            with _mapped(path):
                entries = self.disk.run(lambda: _listed(self.disk.files.asynchronous, path))
        return entries if detail else sorted(entry["name"] for entry in entries)

    def created(self, path: str) -> datetime:
        """When a file was made; raises `FileNotFoundError` where that is not recorded."""
        return _time_of(path, self.info(path)["created"])

    def modified(self, path: str) -> datetime:
        """When a file was written last."""
        return _time_of(path, self.info(path)["mtime"])

    def ukey(self, path: str) -> str:
        """A key that changes with the file, and with the version of the image."""
        facts = (self.disk.info.size, self.disk.info.version, self.info(path))
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def checksum(self, path: str) -> int:
        """`ukey` as a number."""
        return int(self.ukey(path), 16)

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
        starts: int | Iterable[int | None] | None,
        ends: int | Iterable[int | None] | None,
        max_gap: int | None = None,
        on_error: str = "return",
        **_: Any,
    ) -> list[Any]:
        """Parts of files, asked for all at once; negative offsets count from the end of a file.

        `on_error` says what becomes of the errors: "return" puts them in the list, all else raises
        the first one.
        """
        first = list(starts) if isinstance(starts, Iterable) else [starts] * len(paths)
        stop = list(ends) if isinstance(ends, Iterable) else [ends] * len(paths)
        names = [self._strip_protocol(path) for path in paths]
        files = self.disk.files.asynchronous

        async def all_of_them() -> list[bytes | BaseException]:
            reads = (_part(files, *part) for part in zip(names, first, stop, strict=True))
            return await asyncio.gather(*reads, return_exceptions=True)

        found = self.disk.run(all_of_them)
        for data in found:
            if isinstance(data, BaseException) and on_error != "return":
                raise data
        return found

    def _open(
        self, path: str, mode: str = "rb", block_size: int | None = None, **_: Any
    ) -> io.BufferedReader:
        path = self._strip_protocol(path)
        if mode != "rb":
            _refuse(path)
        with _mapped(path):
            return self.disk.files.open(f"/{path}", block_size or BUFFER_SIZE)

    # ── what would change the image ──────────────────────────────────────────────────────────────

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Refused, as is all that would change the image."""
        _refuse(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Refused."""
        _refuse(path)

    def rmdir(self, path: str) -> None:
        """Refused."""
        _refuse(path)

    def rm_file(self, path: str) -> None:
        """Refused."""
        _refuse(path)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Refused."""
        _refuse(path)

    def mv(self, path1: str, path2: str, *_: Any, **__: Any) -> None:
        """Refused."""
        _refuse(path1)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Refused."""
        _refuse(path2)

    def copy(self, path1: Any, path2: Any, *_: Any, **__: Any) -> None:
        """Refused."""
        _refuse(path2)

    def put_file(self, lpath: Any, rpath: str, *_: Any, **__: Any) -> None:
        """Refused."""
        _refuse(rpath)

    def put(self, lpath: Any, rpath: Any, *_: Any, **__: Any) -> None:
        """Refused."""
        _refuse(rpath)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Refused."""
        _refuse(path)

    def touch(self, path: str, truncate: bool = True, **_: Any) -> None:
        """Refused."""
        _refuse(path)


async def _listed(files: DiskFiles, path: str) -> list[dict[str, Any]]:
    listing = await files.list(f"/{path}")
    if not listing.complete:
        raise OSError(errno.EOVERFLOW, "the folder has too many entries to be listed whole", path)
    found = []
    for entry in listing.entries:
        name = f"{path}/{entry.name}".lstrip("/")
        found.append(_facts(name, entry, await _resolved(files, name, entry)))
    return found


async def _resolved(files: DiskFiles, path: str, entry: Entry) -> Entry:
    """A link to a file as that file; others stay links, so that walking ends."""
    if entry.kind != "link":
        return entry
    try:
        found = await files.stat(f"/{path}")
    except (NoSuchFileError, UnreadableFileError):
        return entry
    return found if found.kind == "file" else entry


async def _part(files: DiskFiles, path: str, start: int | None, end: int | None) -> bytes:
    """The bytes of a file as a slice of it has them."""
    with _mapped(path):
        async with files.open(f"/{path}") as file:
            first, stop, _step = slice(start, end).indices(file.size)
            file.seek(first)
            return await file.read(max(0, stop - first))


def _refuse(path: object) -> NoReturn:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


def _time_of(path: str, seconds: float | None) -> datetime:
    if seconds is None:
        raise FileNotFoundError(errno.ENOENT, "its file system does not record that time", path)
    return datetime.fromtimestamp(seconds, UTC)


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
        return open_disk(image, **{"allow_remote": True, **_of_http(target_options), **options})
    if scheme in ("file", "local"):
        return open_disk(path=image.partition("://")[2] or image, **options)
    address = image if "://" in image else f"{scheme}://{image}"
    file_system, path = url_to_fs(address, **(target_options or {}))
    source = _FsspecSource(file_system, path)

    async def opened() -> LayoutDisk:
        layout = await open_layout(source, format=options.get("format", "auto"))
        return LayoutDisk(layout, f"{source.size:x}")

    return Disk(run(opened))


def _of_http(target_options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options of fsspec's `http` as those of `open_disk`; raises `ValueError` for unknown ones.

    Leaving one out in silence could leave out what a server asks for.
    """
    given = dict(target_options or {})
    client = dict(given.pop("client_kwargs", {}))
    headers = {**client.pop("headers", {}), **given.pop("headers", {})}
    if unknown := sorted({*given, *client}):
        names = ", ".join(unknown)
        raise ValueError(f"{names}: not known for http here; open_disk's are in disk_options")
    return {"headers": headers} if headers else {}


def _facts(path: str, itself: Entry, followed: Entry) -> dict[str, Any]:
    """What is at a path as fsspec describes files; of a link, what it leads to."""
    kinds = {"file": "file", "folder": "directory", "volume": "directory", "link": "link"}
    kind = kinds.get(followed.kind, "other")
    facts = {
        "name": path,
        "size": followed.size or 0 if kind == "file" else 0,
        "type": kind,
        "mode": followed.mode,
        "uid": followed.uid,
        "gid": followed.gid,
        "mtime": followed.modified,
        "created": followed.created,
        "islink": itself.kind == "link",
    }
    if itself.kind == "link":
        facts["destination"] = itself.target
    return facts


@contextlib.contextmanager
def _mapped(path: str) -> Iterator[None]:
    """What a path is not, as the error that fsspec's users expect.

    Only that: an error of the network or of the image must not look like a missing file, which
    walks pass over.
    """
    try:
        yield
    except NoSuchFileError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
    except UnreadableFileError as error:
        if error.reason == NOT_A_FILE:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path) from error
        raise OSError(errno.EINVAL, str(error), path) from error
    except UnknownFileSystemError as error:
        raise OSError(errno.EINVAL, str(error), path) from error
