"""A disk as a FUSE file system: the files of its volumes, and the whole disk as `disk.img`."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

from ..disk import Disk
from ..errors import DiskError, InvalidOptionError, NoSuchFileError, UnreadableFileError
from ..file_systems import DiskFiles, Entry
from .messages import message_of

Result = TypeVar("Result")
Wait = Callable[[Coroutine[Any, Any, Result]], Result]

DISK_FILE = "disk.img"
"""The name of the file with the whole disk, next to the folders of the volumes."""

_FORMATS = {
    "volume": stat.S_IFDIR,
    "folder": stat.S_IFDIR,
    "file": stat.S_IFREG,
    "link": stat.S_IFLNK,
    "other": stat.S_IFSOCK,  # if the image does not say; a socket cannot be opened
}
_OTHERS = (stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK)
_LATEST = (1 << 62) // 10**9
_BLOCK = 512


class MountedDisk:
    """The operations of a read-only file system, for `mfusepy.FUSE`; called by its threads.

    `wait` runs a coroutine on the disk's event loop and returns its result. A failure of the disk
    or its server is EIO, and `warn` gets the reason. Links that would lead out of their volume
    end at its root.
    """

    use_ns = True  # mfusepy takes times in ns

    def __init__(
        self,
        disk: Disk,
        volumes: Collection[str],
        wait: Wait[Any],
        *,
        warn: Callable[[str], None],
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._disk = disk
        self._files = DiskFiles(disk)
        self._volumes = volumes
        self._wait = wait
        self._warn = warn
        self._ready = ready
        self._owner = (os.getuid(), os.getgid())

    def init(self, path: str) -> None:
        """Called once the disk is mounted."""
        self._ready()

    def getattr(self, path: str, fh: int | None = None) -> Mapping[str, int]:
        """What `stat` shows; raises `OSError`."""
        if path == "/":
            return self._attributes(Entry("", "folder"))
        if path == f"/{DISK_FILE}":
            return self._attributes(Entry(DISK_FILE, "file", self._disk.info.size))
        self._check_volume(path)
        entry = self._run(path, self._files.stat(path, follow_links=False))
        if entry.kind == "link" and entry.target:
            entry = replace(entry, target=inside_volume(path, entry.target))
        return self._attributes(entry)

    def readdir(self, path: str, fh: int) -> Iterator[str]:
        """The names in a folder; raises `OSError`."""
        yield from (".", "..")
        if path == "/":
            yield DISK_FILE
            yield from self._volumes
            return
        self._check_volume(path)
        listing = self._run(path, self._files.list(path))
        if not listing.complete:
            self._warn(f"{path}: the folder has more entries than are listed")
        yield from (e.name for e in listing.entries if e.name not in ("", ".", ".."))

    def readlink(self, path: str) -> str:
        """Where a link leads, relative to its folder; raises `OSError`."""
        self._check_volume(path)
        entry = self._run(path, self._files.stat(path, follow_links=False))
        if entry.kind != "link" or not entry.target:
            raise _error(errno.EINVAL)
        return inside_volume(path, entry.target)

    def open(self, path: str, flags: int) -> int:
        """Checks that a file can be read; raises `OSError`."""
        if path != f"/{DISK_FILE}":
            self._check_volume(path)
            self._run(path, self._files.read(path, 0, 0))
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Bytes of a file, fewer at its end; raises `OSError`."""
        if path == f"/{DISK_FILE}":
            length = max(0, min(size, self._disk.info.size - offset))
            return self._run(path, self._disk.read(offset, length)) if length else b""
        return self._run(path, self._files.read(path, offset, size))

    def statfs(self, path: str) -> Mapping[str, int]:
        """What `df` shows: all of it is used."""
        blocks = -(-self._disk.info.size // _BLOCK)
        return {"f_bsize": _BLOCK, "f_frsize": _BLOCK, "f_blocks": blocks, "f_namemax": 255}

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _check_volume(self, path: str) -> None:
        if path.split("/", 2)[1] not in self._volumes:
            raise _error(errno.ENOENT)

    def _run(self, path: str, work: Coroutine[Any, Any, Result]) -> Result:
        try:
            result: Result = self._wait(work)
        except NoSuchFileError:
            raise _error(errno.ENOENT) from None
        except InvalidOptionError:  # the path has too many components
            raise _error(errno.ENAMETOOLONG) from None
        except UnreadableFileError as error:
            self._fail(path, error, errno.ENOTSUP)
        except Exception as error:  # noqa: BLE001 - mfusepy would turn it into EINVAL
            self._fail(path, error, errno.EIO)
        return result

    def _fail(self, path: str, error: Exception, number: int) -> NoReturn:
        if isinstance(error, DiskError):
            message = message_of(error)
        else:
            message = f"{type(error).__name__}: {error}"
        self._warn(f"{path}: {message}")
        raise _error(number) from error

    def _attributes(self, entry: Entry) -> Mapping[str, int]:
        is_folder = entry.kind in ("folder", "volume")
        size = 0 if is_folder else entry.size or 0
        if entry.kind == "link" and entry.target:
            size = len(entry.target.encode(errors="surrogateescape"))
        mode = 0o555 if is_folder else 0o444
        kind = _FORMATS[entry.kind]
        if entry.mode is not None:
            mode = stat.S_IMODE(entry.mode)
            if entry.kind == "other" and stat.S_IFMT(entry.mode) in _OTHERS:
                kind = stat.S_IFMT(entry.mode)
        user, group = self._owner
        return {
            "st_mode": kind | mode,
            "st_nlink": 2 if is_folder else 1,
            "st_size": size,
            "st_blocks": -(-size // _BLOCK),
            "st_uid": user if entry.uid is None else entry.uid,
            "st_gid": group if entry.gid is None else entry.gid,
            "st_mtime": _nanoseconds(entry.modified),
            "st_ctime": _nanoseconds(entry.changed, entry.modified),
            "st_atime": _nanoseconds(entry.accessed, entry.modified),
        }


def inside_volume(path: str, target: str) -> str:
    """The target of the link at `path` as a relative path that stays inside its volume."""
    folders = path.strip("/").split("/")[1:-1]
    first, *rest = target.split("/")
    is_absolute = not first or first.endswith(":")  # a drive, which is the volume
    steps = [] if is_absolute else [*folders]
    for part in rest if is_absolute else (first, *rest):
        if part == "..":
            del steps[-1:]
        elif part not in ("", "."):
            steps.append(part)
    return posixpath.relpath("/" + "/".join(steps), "/" + "/".join(folders))


def _nanoseconds(*times: float | None) -> int:
    """The first known time, clamped to what the kernel can represent."""
    known = next((time for time in times if time is not None), 0.0)
    return int(max(-_LATEST, min(known, _LATEST)) * 10**9)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
