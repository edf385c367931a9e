"""The operations on the library: list, create, import, export, remove."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, cast

from ..errors import DiskClosedError, InvalidOptionError, SourceError
from ..formats.layout_disk import LayoutDisk
from ..library.library import ExportFile, Library
from ..library.open_image import LibraryDisk
from ..library.overlays import OverlayBase
from ..open_disk import remote_base
from ..platform import current_platform, file_of_user
from ..platform.base import Platform
from ..platform.byte_source import (
    ByteSource,
    BytesSource,
    ByteStream,
    SourceIdentity,
    pulled,
    stream_of,
)
from ..platform.concurrent_tasks import end_all
from ..platform.failures import Value
from ..transfer.image_export import Hole
from ..transfer.image_import import CopyProgress, Report
from .disk_options import ACCESS_OPTIONS, names, read_options
from .operations import (
    AnyDisk,
    OpenDisks,
    Operation,
    checked,
    function,
    plain,
    snake_keys,
    text,
    whole,
)

Notify = Callable[[int, "int | None"], Awaitable[object]]
"""A function of the page that takes how many bytes of how many are done."""


@dataclass(slots=True)
class _Export:
    """An export that the page takes chunk by chunk, and what ends it."""

    file: ExportFile
    ends: AsyncExitStack
    coming: asyncio.Task[dict[str, Value]] | None = None

    def read_ahead(self) -> asyncio.Task[dict[str, Value]]:
        """Starts to read the next part before the page requests it."""
        self.coming = asyncio.create_task(self._next())
        return self.coming

    async def _next(self) -> dict[str, Value]:
        file = self.file
        part = await anext(file.foreign_parts, None)
        if part is None:
            return {"done": file.size}
        if isinstance(part, Hole):
            return {"done": file.done, "hole": part.length}
        return {"done": file.done, "bytes": part}


class LibraryOperations(Generic[AnyDisk]):
    """The operations of JavaScript's `library`."""

    def __init__(
        self,
        disks: OpenDisks[AnyDisk],
        platform: Callable[[], Awaitable[Platform]] = current_platform,
    ) -> None:
        self._disks = disks
        self._platform = platform
        self._opened: Library | None = None
        self._exports: dict[int, _Export] = {}
        self._numbers = itertools.count(1)

    def operations(self) -> Mapping[str, Operation]:
        """The operations by name."""
        return {
            "library.list": self._list,
            "library.usage": self._usage,
            "library.create": self._create,
            "library.rename": self._rename,
            "library.duplicate": self._duplicate,
            "library.resize": self._resize,
            "library.recover": self._recover,
            "library.remove": self._remove,
            "library.prune": self._prune,
            "library.import": self._import,
            "library.importDisk": self._import_disk,
            "library.startExport": self._start_export,
            "library.readExport": self._read_export,
            "library.endExport": self._end_export,
            "library.overlays": self._overlays,
            "library.importOverlay": self._import_overlay,
            "library.resetOverlay": self._reset_overlay,
            "library.commitOverlay": self._commit_overlay,
            "library.fileChanges": self._file_changes,
        }

    # ── what there is ────────────────────────────────────────────────────────────────────────────

    async def _list(self) -> list[dict[str, Value]]:
        return [plain(entry) for entry in await (await self._library()).list()]

    async def _usage(self) -> dict[str, Value]:
        return plain(await (await self._library()).usage())

    async def _create(self, name: Value, size: Value) -> dict[str, Value]:
        made = await (await self._library()).create(text("name", name), whole("size", size))
        return plain(made)

    async def _rename(self, name: Value, to: Value) -> dict[str, Value]:
        library = await self._library()
        return plain(await library.rename(text("name", name), text("to", to)))

    async def _duplicate(self, name: Value, to: Value, onProgress: Any = None) -> dict[str, Value]:
        library = await self._library()
        async with reporting(onProgress) as report:
            made = await library.duplicate(text("name", name), text("to", to), report=report)
        return plain(made)

    async def _recover(self, name: Value, to: Value, onProgress: Any = None) -> dict[str, Any]:
        library = await self._library()
        async with reporting(onProgress) as report:
            saved = await library.recover(text("name", name), text("to", to), report=report)
        lost = [list(found) for found in saved.lost]
        return {"entry": plain(saved.entry), "lost": lost, "isLatest": saved.is_latest}

    async def _resize(self, name: Value, size: Value, **flags: Value) -> None:
        library = await self._library()
        await library.resize(
            text("name", name), whole("size", size), **_flags(flags, "cut", "dropOverlays")
        )

    async def _remove(self, name: Value, **flags: Value) -> None:
        wanted = _flags(flags, "dropOverlays")
        await (await self._library()).remove(text("name", name), **wanted)

    async def _prune(
        self,
        unusedForS: Value = None,
        keepBytes: Value = None,
        kinds: Value = ("cache",),
        dryRun: Value = True,
    ) -> list[dict[str, Value]]:
        if unusedForS is not None:
            checked("unusedForS", unusedForS, (int, float), "a number of seconds")
        gone = await (await self._library()).prune(
            unused_for_s=cast("float | None", unusedForS),
            keep_bytes=None if keepBytes is None else whole("keepBytes", keepBytes),
            kinds=names("kinds", kinds),
            **_flags({"dryRun": dryRun}, "dryRun"),
        )
        return [plain(entry) for entry in gone]

    # ── in ───────────────────────────────────────────────────────────────────────────────────────

    async def _import(
        self,
        file: Any = None,
        pull: Any = None,
        url: Value = None,
        fileName: Value = "",
        fileSize: Value = None,
        name: Value = None,
        format: Value = None,  # noqa: A002
        media: Value = None,
        onProgress: Any = None,
        **options: Value,
    ) -> dict[str, Value]:
        """Imports a file, the chunks that `pull` returns, or an address."""
        library = await self._library()
        remote = read_options({key: options.pop(key) for key in ACCESS_OPTIONS if key in options})
        wanted = _flags(options, "pad", "keep")
        if name is not None:
            wanted["name"] = text("name", name)
        if format is not None:
            wanted["format"] = text("format", format)
        if media is not None:
            wanted["media"] = text("media", media)
        async with reporting(onProgress) as report:
            wanted["report"] = report
            if url is not None:
                made = await library.import_url(text("url", url), **wanted, **cast("Any", remote))
            elif pull is not None:
                size = None if fileSize is None else whole("fileSize", fileSize)
                identity = SourceIdentity(text("fileName", fileName), size, "")
                made = await library.import_stream(
                    _pulled(function("pull", pull)), identity, **wanted
                )
            elif isinstance(file, bytes | bytearray | memoryview):
                identity = SourceIdentity(text("fileName", fileName), len(file), "")
                made = await library.import_source(BytesSource(bytes(file)), identity, **wanted)
            else:
                found = file_of_user(file)
                if found is None:
                    expected = "a File, a Blob, bytes, a ReadableStream, or an object with a url"
                    raise InvalidOptionError("file", type(file).__name__, expected)
                made = await library.import_source(*found, **wanted)
        return plain(made)

    async def _import_disk(
        self, disk: int, name: Value, onProgress: Any = None
    ) -> dict[str, Value]:
        """Makes a local image of an open disk, its overlays included."""
        library = await self._library()
        async with reporting(onProgress) as report:
            made = await library.import_disk(self._disks[disk], text("name", name), report=report)
        return plain(made)

    # ── out ──────────────────────────────────────────────────────────────────────────────────────

    async def _start_export(
        self, name: Value, overlays: Value = (), compress: Value = None
    ) -> dict[str, Value]:
        """Opens an image to export; returns the number of the export, and its file name and
        size."""
        library = await self._library()
        ends = AsyncExitStack()
        file = await ends.enter_async_context(
            library.exporting(
                text("name", name),
                names("overlays", overlays),
                compress=cast("Any", compress),
                open_disks=[disk for disk in self._disks if isinstance(disk, LibraryDisk)],
            )
        )
        number = next(self._numbers)
        self._exports[number] = _Export(file, ends)
        return {"export": number, "fileName": file.name, "size": file.size}

    async def _read_export(self, export: int) -> dict[str, Value]:
        """The next part: `bytes`, or so many zeros as a `hole`; neither at the end.

        `done` is how much of the disk went out.
        """
        found = self._exports.get(whole("export", export))
        if found is None:
            raise DiskClosedError
        response = await (found.coming or found.read_ahead())
        if len(response) > 1:
            found.read_ahead()
        return response

    async def _end_export(self, export: int) -> None:
        """Closes the image. Idempotent."""
        found = self._exports.pop(whole("export", export), None)
        if found is None:
            return
        if found.coming is not None:
            await end_all([found.coming])
        await found.ends.aclose()

    # ── overlays ─────────────────────────────────────────────────────────────────────────────────

    async def _overlays(
        self, image: Value = None, url: Value = None, cacheKey: Value = None
    ) -> list[dict[str, Value]]:
        """The overlays over a local image, or over the image at an address."""
        library = await self._library()
        base = await self._base(library, image, url, cacheKey)
        return [plain(entry) for entry in await library.list() if entry.base == base.folder]

    async def _import_overlay(
        self,
        file: Any,
        name: Value,
        image: Value = None,
        url: Value = None,
        cacheKey: Value = None,
    ) -> dict[str, Value]:
        """Creates an overlay over a local image, or over a remote one, from an exported file."""
        library = await self._library()
        found = file_of_user(file)
        if found is not None:
            source: ByteSource = found[0]
        elif isinstance(file, bytes | bytearray | memoryview):
            source = BytesSource(bytes(file))
        else:
            raise InvalidOptionError("file", type(file).__name__, "a File, a Blob or bytes")
        base = await self._base(library, image, url, cacheKey)
        made = await library.import_overlay(stream_of(source), base, text("name", name))
        return plain(made)

    async def _reset_overlay(self, name: Value) -> None:
        await (await self._library()).overlays.reset(text("name", name))

    async def _commit_overlay(self, name: Value, onProgress: Any = None, **flags: Value) -> None:
        wanted = _flags(flags, "dropOverlays")
        library = await self._library()
        async with reporting(onProgress) as report:
            await library.overlays.commit(text("name", name), report=report, **wanted)

    async def _file_changes(self, disk: int, **flags: Value) -> dict[str, Value]:
        """What an overlay over a raw file of the user's has changed, durably, as JavaScript writes
        it.

        The overlay's folder, offsets with lengths, and a number that is another one after a write.
        """
        found = self._disks[disk]
        overlay = found.overlay if isinstance(found, LibraryDisk) else None
        if overlay is None or not (isinstance(overlay.base, LayoutDisk) and overlay.base.is_raw):
            expected = "one with one overlay over a raw image file"
            raise InvalidOptionError("disk", "another one", expected)
        assert isinstance(found, LibraryDisk)
        if not _flags(flags, "dropOverlays").get("drop_overlays"):
            await (await self._library()).overlays.check_alone(found.folder)
        await found.flush()
        ranges: list[Value] = [list(one) for one in overlay.written_ranges()]
        return {"overlay": found.folder, "ranges": ranges, "changes": found.changes}

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    async def _library(self) -> Library:
        if self._opened is None:
            self._opened = await Library.open(await self._platform())
        return self._opened

    async def _base(
        self, library: Library, image: Value, url: Value, cache_key: Value
    ) -> OverlayBase:
        if url is not None:
            key = None if cache_key is None else text("cacheKey", cache_key)
            return remote_base(text("url", url), key)
        return await library.overlays.base_of(text("image", image))


@asynccontextmanager
async def reporting(notify: Notify | None) -> AsyncIterator[Report | None]:
    """Reports the progress of a copy to a function of the page; on exit all was reported."""
    if notify is None:
        yield None
        return
    reporter = _Reporter(function("onProgress", notify))
    yield reporter.report
    await reporter.finish()


class _Reporter:
    """Reports only the latest progress: states that pass during a call are skipped."""

    def __init__(self, notify: Notify) -> None:
        self._notify = notify
        self._latest: CopyProgress | None = None
        self._notifying: asyncio.Task[None] | None = None

    def report(self, progress: CopyProgress) -> None:
        """Notifies the page, unless a call is under way."""
        self._latest = progress
        if self._notifying is None or self._notifying.done():
            self._notifying = asyncio.ensure_future(self._notify_latest())

    async def finish(self) -> None:
        """Returns once all was reported."""
        if self._notifying is not None:
            await self._notifying

    async def _notify_latest(self) -> None:
        while (progress := self._latest) is not None:
            self._latest = None
            await self._notify(progress.done, progress.total)


def _pulled(pull: Callable[[], Awaitable[Any]]) -> ByteStream:
    async def next_chunk() -> bytes | None:
        response = await pull()
        if "error" in response:
            raise SourceError("The stream", str(response["error"]))
        data = response.get("bytes")
        return None if data is None else bytes(data)

    return pulled(next_chunk)


def _flags(values: Mapping[str, Value], *known: str) -> dict[str, Any]:
    """Boolean options, with Python's names."""
    for name, value in values.items():
        if name not in known:
            raise InvalidOptionError(name, value, f"one of {', '.join(known)}")
        checked(name, value, (bool,), "true or false")
    return snake_keys(values)
