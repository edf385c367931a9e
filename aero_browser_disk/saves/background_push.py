"""Pushes an open disk by itself: after flushes, at most every so many seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..errors import DiskError
from ..library.open_image import LibraryDisk
from ..platform.base import Clock
from ..remote.retry import is_transient
from ..transfer.image_import import Report
from .disk_save import DiskSave
from .pushed import Pushed

Notify = Callable[[Pushed | DiskError], None]
"""Takes the result of each push in the background: what was sent, or why it failed."""


class BackgroundPush:
    """The pushes of one disk, asked for or by themselves. Close it before the disk.

    The server is asked for the save at the first push, so a disk opens offline too. A push that
    failed for a while is tried again; after any other failure there are none by themselves until
    one that was asked for succeeds.
    """

    def __init__(
        self,
        attach: Callable[[], Awaitable[DiskSave]],
        disk: LibraryDisk,
        clock: Clock,
        *,
        every_s: float | None = None,
        notify: Notify = lambda _: None,
    ) -> None:
        """Use `SaveServer.background`. `every_s` is None for no pushes by themselves."""
        self._attach = attach
        self._clock = clock
        self._every_s = every_s
        self._notify = notify
        self._attaching = asyncio.Lock()
        self._attached: DiskSave | None = None
        self._pushing: asyncio.Task[None] | None = None
        self._is_wanted = self._has_stopped = self._is_closed = False
        self._next_at = 0.0
        if every_s is not None:
            disk.when_flushed(self._flushed)

    async def push(self, report: Report | None = None) -> Pushed:
        """Pushes now: see `DiskSave.push` and `SaveServer.attach`."""
        async with self._attaching:
            if self._attached is None:
                self._attached = await self._attach()
        pushed = await self._attached.push(report)
        self._has_stopped = False
        return pushed

    def close(self) -> None:
        """Ends what goes on in the background. Idempotent."""
        self._is_closed = True
        if self._pushing is not None:
            self._pushing.cancel()
        if self._attached is not None:
            self._attached.close()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _flushed(self) -> None:
        if self._has_stopped or self._is_closed:
            return
        self._is_wanted = True
        if self._pushing is None or self._pushing.done():
            self._pushing = asyncio.ensure_future(self._push_while_wanted())

    async def _push_while_wanted(self) -> None:
        assert self._every_s is not None
        while self._is_wanted and not self._has_stopped:
            await self._clock.sleep(max(0.0, self._next_at - self._clock.now()))
            self._is_wanted = False
            try:
                pushed = await self.push()
            except DiskError as error:
                self._is_wanted = is_transient(error)
                self._has_stopped = not self._is_wanted
                self._notify(error)
            else:
                if not pushed.unchanged:
                    self._notify(pushed)
            self._next_at = self._clock.now() + self._every_s
