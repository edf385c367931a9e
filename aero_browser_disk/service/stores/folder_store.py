"""Images in a folder: found by id, never outside the folder, one open file for each version."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from aero_browser_disk.formats.prepared.manifest import MAX_MANIFEST
from aero_browser_disk.remote.byte_ranges import EntityTag

from .image_file import FileVersion, ImageFile
from .image_store import (
    BOOT_PROFILE_ENDING,
    DIGESTS_ENDING,
    Image,
    ImageNotFoundError,
    MayRead,
    OpenImage,
    StoreError,
    VersionChangedError,
    described,
    is_readable,
    opened_entry,
)
from .manifest import MANIFEST, ManifestEntry, ManifestError, is_image_id, parse_manifest
from .prepared_image import decoded_manifest

# Concurrent reads that wait for a device. One stuck device must not block images on others.
_DEVICE_THREADS: Final = 32
# Files kept open for the next request.
_KEPT_OPEN: Final = 256
# Linux stamps files with a clock that ticks every 1 to 10 ms, so two writes within a tick leave the
# same time. The tick that stamped a file this old is over.
_SETTLED_NS: Final = 20_000_000
_SETTLING_TRIES: Final = 5


class FolderStore:
    """The images of `root`: those that its `manifest.json` names, else every plain file in it.

    Without it, each folder in `root` with the manifest of a prepared image is one too.

    With `nginx_validators` an image's ETag is the one that nginx gives the file, whatever the
    manifest says, so that nginx can send it. A manifest that changes is read again; while it is
    invalid the last good one stays in force and `on_rejected_manifest` is notified. For one event
    loop. The constructor raises `ManifestError`, or `OSError` when the folder cannot be served.
    """

    def __init__(
        self,
        root: Path,
        on_rejected_manifest: Callable[[str], None],
        *,
        nginx_validators: bool = False,
    ) -> None:
        self._root = Path(os.path.realpath(root, strict=True))
        self._root_descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._threads = ThreadPoolExecutor(_DEVICE_THREADS, thread_name_prefix="image-read")
        self._files: OrderedDict[str, ImageFile] = OrderedDict()
        self._on_rejected_manifest = on_rejected_manifest
        self._nginx_validators = nginx_validators
        self._manifest: dict[str, ManifestEntry] | None = None
        self._manifest_version: FileVersion | None = None
        # What was reported last, if the manifest is still wrong.
        self._rejected: tuple[FileVersion | None, str] | None = None
        self._read_manifest()

    def close(self) -> None:
        """As `ImageStore.close`."""
        if self._root_descriptor < 0:
            return
        for file in self._files.values():
            file.retire()
        self._files.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)
        os.close(self._root_descriptor)
        self._root_descriptor = -1

    @asynccontextmanager
    async def open(
        self, image_id: str, sidecar: str = "", *, may_read: MayRead | None = None
    ) -> AsyncIterator[OpenImage]:
        """As `ImageStore.open`."""
        entry = opened_entry(self._entry(image_id), sidecar, may_read)
        try:
            file = await self._stable_file(entry)
        except ImageNotFoundError:
            if self._manifest is None:
                # The name is made up: no reason to report.
                raise ImageNotFoundError from None
            raise
        file.users += 1
        try:
            if file.described is None or file.described[0] is not entry:
                path = file.path if self._nginx_validators else None
                image = self._describe(entry, file.version)
                file.described = entry, OpenImage(image, file, path, _Lender(self, entry, file))
            yield file.described[1]
        finally:
            file.release()

    def is_current(self, entry: ManifestEntry, file: ImageFile) -> bool:
        """Whether `open` would find that file for that entry."""
        try:
            same = self._entry(entry.id) is entry and file.version.is_of(self._status(entry))
        except (ImageNotFoundError, OSError):
            return False
        if not same or self._files.get(entry.file) is not file:
            return False
        self._files.move_to_end(entry.file)
        return True

    async def images(self, *, may_read: MayRead | None = None) -> list[Image]:
        """As `ImageStore.images`."""
        self._reread_manifest()
        # A folder may be large or slow.
        return await asyncio.to_thread(self._images, may_read)

    def _images(self, may_read: MayRead | None) -> list[Image]:
        if self._manifest is None:
            names = sorted(path.name for path in self._root.iterdir())
            entries = [self._plain_entry(name) for name in names if _is_plain_id(name)]
        else:
            entries = list(self._manifest.values())
        images = []
        for entry in entries:
            try:
                if is_readable(entry, may_read):
                    self._path_inside(entry.file)
                    images.append(self._describe(entry, self._version(entry)))
            except ImageNotFoundError:
                continue
        return images

    async def refresh(self) -> None:
        """As `ImageStore.refresh`; reads the manifest even if it looks unchanged."""
        self._reread_manifest(unchanged=True)

    async def ready(self) -> Mapping[str, str]:
        """As `ImageStore.ready`: the folder is still where it was, and can be listed."""
        self._reread_manifest()
        await asyncio.to_thread(self._check_folder)
        return await asyncio.to_thread(self.unusable)

    def unusable(self) -> Mapping[str, str]:
        """The images of the manifest that cannot be served, and why."""
        found = {}
        for entry in (self._manifest or {}).values():
            try:
                self._path_inside(entry.file)
                self._version(entry)
                if entry.layout == "prepared":
                    self._check_prepared(entry)
            except ImageNotFoundError as error:
                found[entry.id] = str(error)
        return found

    def _check_prepared(self, entry: ManifestEntry) -> None:
        """Raises `ImageNotFoundError` for an invalid manifest, or one without its table."""
        descriptor = self._open_inside(self._path_inside(entry.file))
        try:
            manifest = decoded_manifest(os.pread(descriptor, MAX_MANIFEST + 1, 0))
        finally:
            os.close(descriptor)
        table = replace(entry, file=str(entry.folder / manifest.table.path))
        with _missing_is_no_image():
            length = self._status(table).st_size
        if length != manifest.table.length:
            raise ImageNotFoundError(f"{table.file} has {length} bytes")

    def _check_folder(self) -> None:
        try:
            same = os.path.samestat(self._root.stat(), os.fstat(self._root_descriptor))
            with os.scandir(self._root) as entries:
                next(entries, None)
        except OSError as error:
            raise StoreError(f"the folder of images: {error.strerror}") from error
        if not same:
            raise StoreError("the folder of images was replaced; restart to serve the new one")

    def _reread_manifest(self, *, unchanged: bool = False) -> None:
        known = self._manifest_version
        try:
            status = os.stat(MANIFEST, dir_fd=self._root_descriptor)
        except FileNotFoundError:
            if known is None:
                return
            version = None
        else:
            if known is not None and known.is_of(status) and not unchanged:
                return
            version = FileVersion.of(status)
        try:
            self._read_manifest()
        except (ManifestError, OSError) as error:
            self._manifest_version = version
            rejected = version, str(error)
            if rejected != self._rejected:
                self._on_rejected_manifest(str(error))
            self._rejected = rejected
        else:
            self._rejected = None

    def _read_manifest(self) -> None:
        try:
            with open(
                MANIFEST,
                "rb",
                opener=lambda name, flags: os.open(name, flags, dir_fd=self._root_descriptor),
            ) as file:
                version = FileVersion.of(os.fstat(file.fileno()))
                manifest = parse_manifest(file.read())
        except FileNotFoundError:
            # Without it every file would be public; it may just be being replaced.
            if self._manifest is not None:
                raise ManifestError("manifest.json is gone; restart to serve every file") from None
        else:
            self._manifest, self._manifest_version = manifest, version

    def _entry(self, image_id: str) -> ManifestEntry:
        self._reread_manifest()
        if self._manifest is not None:
            entry = self._manifest.get(image_id)
            if entry is None:
                raise ImageNotFoundError
            return entry
        if not _is_plain_id(image_id):
            raise ImageNotFoundError
        return self._plain_entry(image_id)

    def _plain_entry(self, name: str) -> ManifestEntry:
        """The image of a file, or of a folder with the manifest of a prepared image."""
        try:
            is_folder = stat.S_ISDIR(os.stat(name, dir_fd=self._root_descriptor).st_mode)
        except OSError:
            is_folder = False  # opening it says what is wrong
        return _plain_entry(name, is_folder=is_folder)

    def _describe(self, entry: ManifestEntry, version: FileVersion) -> Image:
        if self._nginx_validators and entry.layout == "raw":
            etag = EntityTag(f"{version.mtime_ns // 1_000_000_000:x}-{version.size:x}")
            entry = replace(entry, etag=etag, last_modified_s=None)
        modified_s = version.mtime_ns // 1_000_000_000
        return described(entry, version.size, version.entity_tag, modified_s)

    def _status(self, entry: ManifestEntry) -> os.stat_result:
        return os.stat(entry.file, dir_fd=self._root_descriptor)

    def _version(self, entry: ManifestEntry) -> FileVersion:
        with _missing_is_no_image():
            status = self._status(entry)
        if not stat.S_ISREG(status.st_mode):
            raise ImageNotFoundError("it is not a file")
        return FileVersion.of(status)

    async def _stable_file(self, entry: ManifestEntry) -> ImageFile:
        """The open file, at a version that no later write can share."""
        for _ in range(_SETTLING_TRIES):
            version = self._version(entry)
            wait_ns = self._unstable_ns(version)
            if wait_ns > 0:
                # uvloop counts milliseconds, and may wake up one too early.
                await asyncio.sleep(wait_ns / 1e9 + 0.001)
            elif (file := self._current(entry, version)).version == version:
                return file
        raise VersionChangedError

    def _unstable_ns(self, version: FileVersion) -> int:
        """How long a later write may leave the same times; 0 for times in the future."""
        now_ns = time.time_ns()
        ages = [(now_ns - version.ctime_ns, _SETTLED_NS)]
        if self._nginx_validators:
            # nginx knows the modification time alone, in seconds.
            ages.append((now_ns - version.mtime_ns, 1_000_000_000))
        return max(settled_ns - age_ns if age_ns >= 0 else 0 for age_ns, settled_ns in ages)

    def _current(self, entry: ManifestEntry, version: FileVersion) -> ImageFile:
        """The open file of that version; readers of an older one keep it."""
        file = self._files.get(entry.file)
        if file is not None and file.version == version:
            self._files.move_to_end(entry.file)
            return file
        names = self._path_inside(entry.file)
        descriptor = self._open_inside(names)
        if file is not None:
            file.retire()
        # From the descriptor: the name may lead to another file by now.
        version = FileVersion.of(os.fstat(descriptor))
        file = ImageFile(descriptor, version, self._threads, "/".join(names))
        self._files[entry.file] = file
        self._files.move_to_end(entry.file)
        while len(self._files) > _KEPT_OPEN:
            self._files.popitem(last=False)[1].retire()
        return file

    def _path_inside(self, name: str) -> tuple[str, ...]:
        """The names that lead from the root to the file, its symbolic links resolved."""
        with _missing_is_no_image():
            path = Path(os.path.realpath(self._root / name, strict=True))
        if not path.is_relative_to(self._root):
            raise ImageNotFoundError("it is outside the folder of images")
        return path.relative_to(self._root).parts

    def _open_inside(self, names: tuple[str, ...]) -> int:
        """Opens the file name by name, following no link that appeared after they were resolved."""
        *folders, last = names
        parent = os.dup(self._root_descriptor)
        try:
            with _missing_is_no_image():
                for folder in folders:
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                    inner = os.open(folder, flags, dir_fd=parent)
                    os.close(parent)
                    parent = inner
                # Not blocking: opening a pipe would wait for its writer.
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                return os.open(last, flags, dir_fd=parent)
        finally:
            os.close(parent)


class _Lender:
    """As `Lender`."""

    __slots__ = ("_entry", "_file", "_known_current", "_store", "lend")

    def __init__(self, store: FolderStore, entry: ManifestEntry, file: ImageFile) -> None:
        self._store = store
        self._entry = entry
        self._file = file
        self._known_current = False
        self.lend = file.lend

    def hold(self) -> Callable[[], None]:
        """As `Lender.hold`."""
        self._file.users += 1
        return self._file.release

    def is_current(self) -> bool:
        """As `Lender.is_current`: looked up once in each turn of the loop.

        Requests in one turn, a dozen on a busy service, see the file as of its start.
        """
        if not self._known_current and self._store.is_current(self._entry, self._file):
            self._known_current = True
            asyncio.get_running_loop().call_soon(self._forget)
        return self._known_current

    def _forget(self) -> None:
        self._known_current = False


# A name that leads nowhere, through a file, in circles, or to a socket.
_NO_IMAGE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO)


@contextmanager
def _missing_is_no_image() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_IMAGE:
            raise ImageNotFoundError(f"its file cannot be opened: {error.strerror}") from None
        raise


def _is_plain_id(name: str) -> bool:
    """Whether a file of a folder without a manifest is an image: hidden files are not."""
    return (
        is_image_id(name)
        and not name.startswith(".")
        and name != MANIFEST
        and not name.endswith((DIGESTS_ENDING, BOOT_PROFILE_ENDING))
    )


@lru_cache(_KEPT_OPEN)
def _plain_entry(name: str, *, is_folder: bool) -> ManifestEntry:
    if is_folder:
        file = f"{name}/{MANIFEST}"
        return ManifestEntry(id=name, file=file, name=name, public=True, layout="prepared")
    return ManifestEntry(id=name, file=name, name=name, public=True)
