"""The operations on saves: push an open disk, and what is on a server of saves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from ..errors import BaseChangedError, DiskError, InvalidOptionError, ReadOnlyError
from ..library.open_image import Closed, LibraryDisk
from ..open_disk import open_disk
from ..platform import current_platform
from ..platform.base import Platform
from ..platform.failures import Value, describe
from ..saves import BackgroundPush, Pushed, Rebase, SaveServer
from ..saves.push_record import read_push_record
from .disk_options import ACCESS_OPTIONS, read_options
from .library_operations import reporting
from .operations import OpenDisks, Operation, checked, function, plain, text, whole
from .panel_session import OpenDisk


class SaveOperations:
    """The operations of JavaScript's `Disk.push` and `Saves`.

    `server` is the address of the saves; its options are those of `openDisk`, and `device`,
    `passphrase` and `key`.
    """

    def __init__(
        self,
        disks: OpenDisks[Any],
        platform: Callable[[], Awaitable[Platform]] = current_platform,
        opener: OpenDisk = open_disk,
    ) -> None:
        self._disks = disks
        self._opener = opener
        self._platform = platform
        self._pushes: dict[int, BackgroundPush] = {}
        self._notifying: set[asyncio.Future[Any]] = set()

    def operations(self) -> Mapping[str, Operation]:
        """The operations by name."""
        return {
            "saves.attach": self._attach,
            "saves.push": self._push,
            "saves.open": self._open,
            "saves.rebase": self.rebase,
            "saves.list": self._list,
            "saves.generations": self._generations,
            "saves.pull": self.pull,
            "saves.share": self._share,
            "saves.endShares": self._end_shares,
            "saves.remove": self._remove,
        }

    # ── an open disk ─────────────────────────────────────────────────────────────────────────────

    async def _attach(
        self,
        disk: int,
        server: Value = None,
        name: Value = None,
        everyS: Value = None,
        pushed: Any = None,
        **options: Value,
    ) -> None:
        """Lets `saves.push` push a disk; by itself too, with `everyS`, and then tells `pushed`."""
        found = self._disks[disk]
        if not isinstance(found, LibraryDisk) or found.overlay is None:
            raise InvalidOptionError("saves", "given", "left out for a disk without an overlay")
        every_s = None
        if everyS is not None:
            every_s = float(cast("float", checked("everyS", everyS, (int, float), "seconds")))
        notify = None if pushed is None else function("onPush", pushed)
        push = (await self._server(server, options)).background(
            found,
            None if name is None else text("name", name),
            every_s=every_s,
            notify=lambda result: self._notify(notify, result),
        )
        before = self._pushes.get(disk)
        self._pushes[disk] = push
        if before is None:
            self._disks.when_removed(disk, lambda: self._detach(disk))
        else:
            before.close()  # pushed to another save from now on

    async def _push(self, disk: int, onProgress: Any = None) -> dict[str, Value]:
        push = self._pushes.get(whole("disk", disk))
        if push is None:
            self._disks[disk]  # a closed disk is another error
            expected = "a disk that was opened with saves"
            raise InvalidOptionError("disk", "one opened without saves", expected)
        async with reporting(onProgress) as report:
            return plain(await push.push(report))

    def _detach(self, disk: int) -> None:
        self._pushes.pop(disk).close()

    def _notify(
        self, notify: Callable[..., Awaitable[Any]] | None, result: Pushed | DiskError
    ) -> None:
        """Tells the page of a push in the background, and waits for nothing."""
        if notify is None:
            return
        told: dict[str, Value] = {}
        if isinstance(result, DiskError):
            told["error"] = describe(result)
        else:
            told["pushed"] = plain(result)
        telling = asyncio.ensure_future(notify(told))
        self._notifying.add(telling)
        telling.add_done_callback(self._notifying.discard)

    async def _open(
        self,
        save: Value = None,
        saves: Value = None,
        url: Value = None,
        overlay: Value = None,
        generation: Value = None,
        renewSave: Any = None,
        **options: Value,
    ) -> dict[str, Value]:
        """A save as a disk over its image, which `options` name; an overlay over it takes writes.

        `saves` has the server and its options, but for `renewSave`: a function.
        """
        if renewSave is not None and isinstance(saves, dict):
            saves = {**saves, "renew": renewSave}
        disk = await self.opened(save, saves, url, overlay, generation, **options)
        return {"disk": self._disks.add(disk), **plain(disk.info)}

    async def opened(
        self,
        save: Value,
        saves: Value,
        url: Value = None,
        overlay: Value = None,
        generation: Value = None,
        **options: Value,
    ) -> LibraryDisk:
        """The same as a disk that is in no table."""
        if not isinstance(saves, dict):
            raise InvalidOptionError("saves", saves, "the server of the save")
        given = dict(saves)
        server = await self._server(given.pop("server", None), given)
        number = None if generation is None else whole("generation", generation)
        name = None if overlay is None else text("overlay", overlay)
        address = None if url is None else text("url", url)
        base = await self._opener(address, **read_options(options))
        opened = await server.open_disk(text("save", save), base, overlay=name, generation=number)
        disk = opened
        if not isinstance(disk, LibraryDisk):
            size = opened.info.sector_size
            disk = LibraryDisk(opened, sector_size=size, refuses=ReadOnlyError, on_close=_nothing)
        return disk

    async def rebase(
        self,
        url: Value = None,
        overlay: Value = None,
        digestsBefore: Value = None,
        to: Value = None,
        toImage: Value = None,
        onProgress: Any = None,
        **options: Value,
    ) -> dict[str, Value]:
        """What moving an overlay to the present version of its image means.

        Moves it if that is `to`; or makes the local image `toImage` of it.
        """
        before = None
        if digestsBefore is not None:
            types = (bytes, bytearray, memoryview)
            checked("digestsBefore", digestsBefore, types, "a Uint8Array")
            before = bytes(cast("bytes", digestsBefore))
        wanted = None if to is None else text("to", to)
        image = None if toImage is None else text("toImage", toImage)
        opening = Rebase.open(
            text("url", url),
            text("overlay", overlay),
            digests_before=before,
            platform=await self._platform(),
            **cast("Any", read_options(options)),
        )
        async with opening as rebase, reporting(onProgress) as report:
            if wanted is not None and wanted != rebase.plan.found:
                raise BaseChangedError(wanted, rebase.plan.found)
            if wanted is not None:
                await rebase.move()
            elif image is not None:
                await rebase.copy_to_image(image, report=report)
            plan = rebase.plan
            facts = {"isCurrent": plan.is_current, "canMove": plan.can_move}
            return {**plain(plan), **facts}

    async def sent_before(self, disk: LibraryDisk) -> dict[str, Value] | None:
        """Where something of an overlay was sent last: `save` and `server`; None if nowhere."""
        record, _ = await read_push_record((await self._platform()).storage, disk.folder)
        return None if record is None else {"save": record.name, "server": record.server}

    # ── a server ─────────────────────────────────────────────────────────────────────────────────

    async def _list(
        self, server: Value = None, baseVersion: Value = None, **options: Value
    ) -> list[dict[str, Value]]:
        version = None if baseVersion is None else text("baseVersion", baseVersion)
        saves = await (await self._server(server, options)).saves(version)
        return [plain(one) for one in saves]

    async def _generations(
        self, server: Value = None, save: Value = None, **options: Value
    ) -> list[dict[str, Value]]:
        found = await (await self._server(server, options)).generations(text("save", save))
        return [plain(one) for one in found]

    async def pull(
        self,
        server: Value = None,
        save: Value = None,
        overlay: Value = None,
        image: Value = None,
        url: Value = None,
        cacheKey: Value = None,
        version: Value = None,
        generation: Value = None,
        onProgress: Any = None,
        **options: Value,
    ) -> dict[str, Value]:
        """Makes an overlay over a local image, or over the image at an address."""
        names = {"image": image, "url": url, "cache_key": cacheKey, "version": version}
        given = {key: text(key, value) for key, value in names.items() if value is not None}
        number = None if generation is None else whole("generation", generation)
        opened = await self._server(server, options)
        async with reporting(onProgress) as report:
            entry = await opened.pull(
                text("save", save),
                text("overlay", overlay),
                generation=number,
                report=report,
                **given,
            )
        return plain(entry)

    async def _share(
        self, server: Value = None, save: Value = None, lifetimeS: Value = None, **options: Value
    ) -> dict[str, Value]:
        opened = await self._server(server, options)
        seconds = {} if lifetimeS is None else {"lifetime_s": whole("lifetimeS", lifetimeS)}
        return plain(await opened.share(text("save", save), **seconds))

    async def _end_shares(self, server: Value = None, save: Value = None, **options: Value) -> None:
        await (await self._server(server, options)).end_shares(text("save", save))

    async def _remove(
        self,
        server: Value = None,
        save: Value = None,
        generation: Value = None,
        **options: Value,
    ) -> None:
        number = None if generation is None else whole("generation", generation)
        opened = await self._server(server, options)
        await opened.remove(text("save", save), generation=number)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    async def _server(self, server: Value, options: dict[str, Value]) -> SaveServer:
        device = options.pop("device", None)
        passphrase = options.pop("passphrase", None)
        key = options.pop("key", None)
        for name, value in options.items():
            if name not in ACCESS_OPTIONS:
                known = ", ".join((*ACCESS_OPTIONS, "device", "passphrase", "key"))
                raise InvalidOptionError(name, value, f"one of {known}")
        return await SaveServer.open(
            text("url", server),
            device=None if device is None else text("device", device),
            passphrase=None if passphrase is None else text("passphrase", passphrase),
            key=key,
            platform=await self._platform(),
            **cast("Any", read_options(options)),
        )


async def _nothing(_: Closed) -> None:
    """A save that is only read has no record."""
