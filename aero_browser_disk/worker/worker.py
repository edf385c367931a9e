"""Runs the operations that the page and the emulator call by name, with plain values in and out.

`worker.mjs` passes each message on to `Worker.call` and the response back. A response is
`{"value": …}` or `{"error": {"name", "message", "fields"}}`, its keys in camel case.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping

from ..errors import InvalidOptionError, MissingPartError
from ..library.open_image import LibraryDisk
from ..open_disk import open_disk
from ..platform import current_platform
from ..platform.base import Platform
from ..platform.failures import Value, describe
from ..streaming.streaming_disk import StreamingDisk
from .activity_operations import ActivityOperations
from .disk_operations import DiskOperations
from .doctor_operations import DoctorOperations
from .file_operations import FileOperations
from .library_operations import LibraryOperations
from .operations import OpenDisks, Operation
from .page_operations import PageOperations
from .panel_session import OpenDisk, PanelSession
from .shared_operations import SharedOperations


class Worker:
    """The disks that a page has open, and its panel."""

    def __init__(
        self,
        opener: OpenDisk = open_disk,
        platform: Callable[[], Awaitable[Platform]] = current_platform,
    ) -> None:
        disks: OpenDisks[StreamingDisk | LibraryDisk] = OpenDisks()
        files = FileOperations(disks)
        self._disks = disks
        self._opener = opener
        self._platform = platform
        self._panel = PanelSession(opener, disks, platform)
        self._under_way: dict[int, asyncio.Future[Value]] = {}
        self._operations: dict[str, Operation] = {
            **ActivityOperations(disks).operations(),
            **DiskOperations(disks, opener).operations(),
            **DoctorOperations(platform).operations(),
            **files.operations(),
            **LibraryOperations(disks, platform).operations(),
            **PageOperations(files, platform).operations(),
            **self._panel.operations(),
            **SharedOperations(disks).operations(),
        }

    async def call(
        self, operation: str, values: Mapping[str, Value], call_id: int = 0
    ) -> dict[str, Value]:
        """Does an operation. Never raises: a failure is a response too."""
        try:
            work = asyncio.ensure_future(self._begin(operation, values))
            self._under_way[call_id] = work
            return {"value": await work}
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the page must hear of it
            return {"error": describe(error)}
        finally:
            self._under_way.pop(call_id, None)

    def _begin(self, operation: str, values: Mapping[str, Value]) -> Awaitable[Value]:
        """An operation with its values; raises `InvalidOptionError` when it does not take them."""
        if operation.startswith("saves.") and operation not in self._operations:
            self._operations |= self._save_operations()
        begin = self._operations.get(operation)
        if begin is None:
            raise InvalidOptionError("operation", operation, "one that the worker has")
        try:
            return begin(**values)
        except TypeError:  # nothing has run yet: the names do not fit
            takes = ", ".join(inspect.signature(begin).parameters) or "no values"
            given = ", ".join(values) or "no values"
            raise InvalidOptionError(operation, given, takes) from None

    def _save_operations(self) -> Mapping[str, Operation]:
        """Those on saves. Few pages use them, so their modules are fetched when the first is."""
        try:
            from .panel_save_operations import PanelSaves
            from .save_operations import SaveOperations
        except (ImportError, OSError) as error:
            raise MissingPartError("saves", str(error)) from error
        saves = SaveOperations(self._disks, self._platform, self._opener)
        return {**saves.operations(), **PanelSaves(self._panel, saves).operations()}

    def cancel(self, call_id: int) -> None:
        """Cancels the call of that number, if it is still under way."""
        work = self._under_way.get(call_id)
        if work is not None:
            work.cancel()
