"""The operations of the page around its panel: the library and the files of a disk, as texts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ..errors import DiskError, InvalidOptionError, StorageUnavailableError
from ..file_systems.boot_code import boots_as_cd, boots_either_way, has_boot_code
from ..library.library import Library
from ..platform import current_platform
from ..platform.base import Platform
from ..platform.failures import Value
from ..platform.printable import printable
from ..ui.files_view import files_view
from ..ui.library_view import library_view, prune_view
from ..ui.page_texts import FILES_WHERE, NO_BOOT_CODE
from ..ui.page_view import boot_drive_question
from ..ui.panel_texts import BYTE_COUNT_EXPECTED, error_texts
from ..units import parse_byte_count
from .file_operations import FileOperations
from .operations import Operation

_LETTING_GO_S = 0.05


class PageOperations:
    """The page's own views. Each is of plain values with its texts ready to show."""

    def __init__(
        self,
        files: FileOperations,
        platform: Callable[[], Awaitable[Platform]] = current_platform,
    ) -> None:
        self._files = files
        self._platform = platform
        self._library: Library | None = None

    def operations(self) -> Mapping[str, Operation]:
        """The operations by name."""
        return {
            "page.library": self._list_library,
            "page.prune": self._prune,
            "page.files": self._list_files,
            "page.where": self._where,
            "page.bootNote": self._boot_note,
            "page.bootDrive": self._boot_drive,
            "page.askDrive": self._ask_drive,
            "page.bytes": self._bytes,
        }

    async def _list_library(self) -> Value:
        try:
            library = await self._of_origin()
        except StorageUnavailableError as error:
            return {**library_view([], None), "error": error_texts(error)}
        entries = await library.list()
        if any(entry.is_open for entry in entries):
            # A lock that was just released may be reported as held for a moment longer.
            await (await self._platform()).clock.sleep(_LETTING_GO_S)
            entries = await library.list()
        return {**library_view(entries, await library.usage()), "error": None}

    async def _prune(self, dryRun: bool) -> Value:
        """The caches that pruning would remove, or did if `dryRun` is false."""
        library = await self._of_origin()
        return prune_view(await library.prune(keep_bytes=0, dry_run=dryRun))

    async def _list_files(self, disk: int, path: str) -> Value:
        return files_view(path, await self._files.of(disk).list(path))

    async def _where(self, disk: int, offset: int) -> str:
        """The file or partition that lies at `offset`, as far as that is known; else nothing."""
        try:
            found = await self._files.of(disk).where(offset)
        except DiskError:
            return ""  # the map works without it
        if found.path is not None:
            return printable(found.path)
        if found.volume is None:
            return ""
        return FILES_WHERE.format(volume=found.volume, kind=printable(found.kind))

    async def _boot_note(self, disk: int) -> str:
        """What to say of a machine that is about to boot from the disk; nothing is the rule."""
        try:
            return "" if await has_boot_code(self._files.disk(disk)) else NO_BOOT_CODE
        except DiskError:
            return ""  # the machine will say so

    async def _boot_drive(self, disk: int) -> str:
        """The drive of v86 that the disk belongs in."""
        opened = self._files.disk(disk)
        try:
            return "cdrom" if await boots_as_cd(opened) else "hda"
        except DiskError:  # not of a CD: that takes no read
            return "hda"

    async def _ask_drive(self, disk: int) -> Value:
        """What to ask before a machine starts, whose answer has the drive; None is the rule.

        Nothing is asked about a disk that the guest can write to: then it is meant as a disk.
        """
        opened = self._files.disk(disk)
        try:
            asks = opened.info.read_only and await boots_either_way(opened)
        except DiskError:
            return None  # the machine will say so
        return boot_drive_question() if asks else None

    async def _bytes(self, name: str, text: str) -> int:
        """The number of bytes that was typed into the field of that name."""
        try:
            return parse_byte_count(text)
        except ValueError:
            raise InvalidOptionError(name, text, BYTE_COUNT_EXPECTED) from None

    async def _of_origin(self) -> Library:
        if self._library is None:
            self._library = await Library.open(await self._platform())
        return self._library
