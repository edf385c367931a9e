"""A round of remote disks: a server that misbehaves, files that fail, kills, damage, cancellation.

What must hold: every read gives bytes of the version that the disk was opened with, or raises a
`DiskError`; nothing hangs; and once server and storage behave again, all of the image can be read.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

from aero_browser_disk import Library, RenewedAccess, StreamingDisk, diagnose, open_disk
from aero_browser_disk.errors import DiskError
from aero_browser_disk.formats.prepared.manifest import Manifest, disk_validator
from aero_browser_disk.platform.base import HttpClient
from aero_browser_disk.remote.byte_ranges import format_http_date
from aero_browser_disk.remote.image_catalog import fetch_catalog
from aero_browser_disk.remote.retry import RetryPolicy
from aero_browser_disk.streaming.digest_list import digests_of
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from support.prepared import prepared_files
from support.storms import SECTOR, KilledError, Machine, Round, Step

LONG = "9" * 5000
NUMBERS = ["", "0", "-1", "1e9", LONG, "0x10", "12 13", "\xb2", str(2**53), str(2**64)]
STATUSES = [200, 204, 206, 304, 400, 401, 403, 404, 408, 410, 412, 413, 416, 425, 429, 500, 503]


def a_header(chance: random.Random, size: int) -> tuple[str, str]:
    number = chance.choice([*NUMBERS, str(size), str(size + 1)])
    return chance.choice(
        [
            ("Content-Length", number),
            ("Content-Range", f"bytes 0-0/{number}"),
            ("Content-Range", f"bytes {number}-{number}/{number}"),
            (
                "Content-Range",
                chance.choice(["", "bytes", "bytes */*", "x 0-1/2", "bytes 1-0/5"]),
            ),
            ("Content-Encoding", chance.choice(["gzip", "identity", "br, gzip", "", "\xff"])),
            ("Content-Type", chance.choice(["multipart/byteranges; boundary=x", "", "text/html"])),
            ("Cache-Control", f"max-age={number}"),
            ("Age", number),
            ("Retry-After", number),
            ("Accept-Ranges", chance.choice(["none", "bytes", "", "\xff"])),
            ("Last-Modified", chance.choice(["", "yesterday", "Thu, 01 Jan 1970 00:00:00 GMT"])),
            ("Date", chance.choice(["", "now", format_http_date(chance.randrange(2**33))])),
            ("Link", chance.choice(["<http://[::1>; rel=x", "<", '<a b>; rel="x y"', "é"])),
            ("Transfer-Encoding", chance.choice(["chunked", "gzip", ""])),
        ]
    )


def a_behaviour(chance: random.Random, size: int, block: int) -> Behaviour:
    """A server with up to three faults."""
    at = chance.choice([0, 1, block - 1, block, chance.randrange(size + 1)])
    faults: list[dict[str, Any]] = [
        {"status": chance.choice(STATUSES), "retry_after_s": chance.choice([None, 0, 3, 10**6])},
        {"head_status": chance.choice(STATUSES)},
        {
            "redirect_status": chance.choice([301, 302, 303, 307, 308]),
            "redirect_to": chance.choice(
                [
                    "/disk.img",
                    "/gone.img",
                    "http://[::1",
                    "http://127.0.0.1:99999/",
                    "a b",
                    "é",
                    "//",
                ]
            ),
        },
        {"max_range": max(1, at)},
        {"ignore_range": True},
        {"accept_ranges": False},
        {
            "content_range": chance.choice(
                ["shifted", "missing", "malformed", "wrong-size", "no-size"]
            )
        },
        {"head_length": False},
        {"chunked": True},
        {"multipart": True},
        {"short_by": chance.choice([1, block])},
        {"long_by": chance.choice([1, block])},
        {"coding": chance.choice(["gzip", "gzip-lie"])},
        {"validators": chance.choice(["etag", "last-modified", "weak", "changing", "none"])},
        {"cache_control": chance.choice(["max-age=60", "no-store", f"max-age={LONG}"])},
        {"headers": tuple(a_header(chance, size) for _ in range(chance.choice([1, 1, 2])))},
        {"reset": True},
        {"reset_after": at},
        {"close_after": at},
        {"stall_after": at},
        {"drip_bytes": max(4096, at), "drip_interval_s": 0.0},
    ]
    chosen: dict[str, Any] = {}
    for fault in chance.sample(faults, chance.choice([0, 1, 1, 1, 2, 3])):
        chosen |= fault
    if "short_by" in chosen:
        chosen.pop("long_by", None)  # as long as it should be, and wrong: only digests would tell
    return Behaviour(**chosen)


def misbehave(machine: Machine, server: ImageServer, size: int, block: int) -> None:
    """Lets a server misbehave, now or from now on."""
    behaviour = a_behaviour(machine.chance, size, block)
    times = machine.chance.choice([1, 1, 3, 0])
    machine.note(f"server, {times} times: {behaviour.to_json()}")
    if times:
        server.fail_next(behaviour, times=times)
    else:
        server.behaviour = behaviour


def behave(server: ImageServer) -> None:
    """Lets it behave again."""
    server.behaviour = Behaviour()
    server.forget_faults()
    server.release()


class Version:
    """The bytes of a version of an image."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    def changed(self, chance: random.Random) -> Version:
        """Another version, much of which is the same."""
        data = bytearray(self.data)
        for _ in range(chance.choice([1, 1, 2, 5])):
            offset = chance.randrange(len(data))
            length = min(chance.choice([1, 512, 5000, 70_000]), len(data) - offset)
            data[offset : offset + length] = chance.choice([bytes, chance.randbytes])(length)
        return Version(bytes(data))


class RemoteRound(Round):
    """One image on one server, and the disks that one process after another opens of it."""

    most_steps = 30
    name = "disk.img"

    def __init__(self, seed: int, server: ImageServer, http: HttpClient) -> None:
        super().__init__(seed, http)
        self.server = server
        self.size = self.chance.choice([1, 512, 4096, 70_000, 300_001, 1 << 20])
        self.block = self.chance.choice([4096, 8192, 16384, 65536])
        self.versions: dict[str, Version] = {}
        self.published: list[Version] = []
        self.disk: StreamingDisk | None = None
        self.allowed: list[Version] = []
        self.digests: bytes | None = None
        self.current = Version(SyntheticImage(self.size, seed).read(0, self.size))
        self._publish(self.current)

    def _steps(self) -> list[Step]:
        return [
            *([self._read] * 12),
            *([self._misbehave] * 5),
            self._read_several,
            self._cancel,
            self._clear,
            self._keep_all,
            self._reopen,
            self._reopen,
            self._fail_storage,
            self._fill,
            self._damage,
            self._kill,
            self._replace_image,
            self._diagnose,
            self._import,
            self._listen_to_catalog,
        ]

    def _stop(self) -> None:
        if self.disk is not None:
            self.disk.pause_keeping()

    def _forget(self) -> None:
        self.disk = None

    # ── opening ──

    def _publish(self, image: Version) -> None:
        """Serves a version of the image from now on."""
        self.current = image
        self.published.append(image)
        if self.name in self.server.images:
            self.server.image(self.name).replace(image.data)
        else:
            self.server.add(self.name, image.data)
        version = self.server.image(self.name).version()
        for validator in (version.etag, format_http_date(version.modified_s)):
            self.versions[validator] = image

    async def _open(self) -> StreamingDisk:
        if self.disk is not None:
            return self.disk
        chance = self.chance

        async def renew() -> RenewedAccess:
            if chance.random() < 0.3:
                raise OSError("no renewal")
            return RenewedAccess(self.server.url(self.name) + "?renewed")

        options: dict[str, Any] = {
            "block_size": self.block,
            "cache_limit_bytes": chance.choice([None, None, 0, self.block, self.size // 2]),
            "concurrency": chance.choice([None, 1, 2, 6]),
            "max_request_bytes": chance.choice([65536, 1 << 20]),
            "read_ahead": chance.random() < 0.5,
            "boot_profile": chance.choice(["auto", None]),
            "timeout_s": 0.2,
            "retry": RetryPolicy(tries=chance.choice([1, 3]), base_s=0.001, cap_s=0.01),
        }
        self.digests = None
        if chance.random() < 0.3:
            self.digests = digests_of([self.current.data], 4096).encode()
            options["digests"] = self.digests
            if chance.random() < 0.3:
                self.server.behaviour = Behaviour(corrupt_at=chance.randrange(self.size))
        if chance.random() < 0.2:
            options["renew"] = renew
            options["expires_at"] = self.machine.clock.time + chance.choice([0, 10, 1000])
        digested = self.current
        try:
            disk = await self.machine.call(
                f"open {options | {'digests': self.digests is not None}}",
                open_disk(
                    self.server.url(self.name),
                    allow_remote=True,
                    platform=self.machine.platform,
                    **options,
                ),
            )
        except OSError:
            raise DiskError from None  # what `renew` raised
        finally:
            if self.digests is not None and self.server.behaviour.corrupt_at is not None:
                self.server.behaviour = Behaviour()
        await self._accept(disk, digested)
        return disk

    async def _accept(self, disk: StreamingDisk, digested: SyntheticImage) -> None:
        """Takes a disk that was opened; notes which versions its bytes may be of."""
        if disk.info.size != self.size:
            lies = ("wrong-size", "Content-Range", "Content-Length")
            assert any(lie in line for line in self.machine.log for lie in lies), "a wrong size"
            await self.machine.call("close", disk.close())  # nothing else tells the size
            raise DiskError
        self.disk = disk
        known = self.versions.get(disk.stored_image.validator)
        # Without a validator nothing tells versions apart, later ones included.
        self.allowed = [known] if known else self.published
        if self.digests is not None:
            self.allowed = [digested]

    # ── steps ──

    async def _read(self) -> None:
        disk = await self._open()
        offset, length = self._a_range(self.size, 0, self.block)
        self._check(offset, await self._call_read(disk, offset, length))

    async def _call_read(self, disk: StreamingDisk, offset: int, length: int) -> bytes:
        try:
            return await self.machine.call(f"read {offset} {length}", disk.read(offset, length))
        except OSError:
            raise DiskError from None  # what `renew` raised

    def _check(self, offset: int, data: bytes) -> None:
        if len(self.allowed) == 1:
            expected = self.allowed[0].read(offset, len(data))
            assert data == expected, f"wrong bytes from {offset}"
            return
        # Nothing told the versions apart: each sector is of one of them.
        wanted = [image.read(offset, len(data)) for image in self.allowed]
        at = 0
        while at < len(data):
            stop = min(len(data), at + SECTOR - (offset + at) % SECTOR)
            assert any(data[at:stop] == one[at:stop] for one in wanted), f"wrong at {offset + at}"
            at = stop

    async def _read_several(self) -> None:
        disk = await self._open()
        ranges = [
            self._a_range(self.size, 0, self.block) for _ in range(self.chance.randrange(2, 7))
        ]

        async def read_all() -> list[bytes | BaseException]:
            reads = [disk.read(offset, length) for offset, length in ranges]
            return await asyncio.gather(*reads, return_exceptions=True)

        found = await self.machine.call(f"read {ranges}", read_all())
        for (offset, _), data in zip(ranges, found, strict=True):
            if isinstance(data, bytes):
                self._check(offset, data)
            else:
                assert isinstance(data, DiskError | OSError), repr(data)

    async def _cancel(self) -> None:
        disk = await self._open()
        offset, length = self._a_range(self.size, 0, self.block)
        reading = asyncio.ensure_future(disk.read(offset, length))
        for _ in range(self.chance.choice([0, 1, 2, 3, 5, 20, 100])):
            await asyncio.sleep(0)
        reading.cancel()

        async def ended() -> None:
            await asyncio.wait({reading})

        await self.machine.call(f"cancel a read of {length} at {offset}", ended())
        if not reading.cancelled():
            reading.exception()

    async def _clear(self) -> None:
        await self.machine.call("clear", (await self._open()).clear_cache())

    async def _keep_all(self) -> None:
        disk = await self._open()
        disk.stats()
        disk.boot_profile()
        disk.keep_whole_image()
        await asyncio.sleep(0.01)

    async def _close(self) -> None:
        disk, self.disk = self.disk, None
        if disk is not None:
            await self.machine.call("close", disk.close())

    async def _reopen(self) -> None:
        await self._close()
        await self._open()

    async def _misbehave(self) -> None:
        misbehave(self.machine, self.server, self.size, self.block)

    async def _replace_image(self) -> None:
        self.machine.note("another version")
        self._publish(self.current.changed(self.chance))

    async def _damage(self) -> None:
        await self._close()  # a block is checked when it is first read in a session
        self.machine.damage("cache")

    async def _diagnose(self) -> None:
        await self.machine.call(
            "diagnose",
            diagnose(
                self.server.url(self.name),
                allow_remote=True,
                origin=self.chance.choice([None, "https://page.example"]),
                timeout_s=0.2,
                platform=self.machine.platform,
            ),
        )

    async def _import(self) -> None:
        library = await Library.open(self.machine.platform)
        work = library.import_url(
            self.server.url(self.name), allow_remote=True, timeout_s=0.2, pad=True
        )
        entry = await self.machine.call("import", work)
        await self.machine.call("remove", library.remove(entry.id))

    async def _listen_to_catalog(self) -> None:
        http = self.machine.platform.http
        await self.machine.call(
            "catalog",
            fetch_catalog(self.server.url(self.name), http, allow_remote=True, timeout_s=0.2),
        )

    async def _end(self) -> None:
        """All is well again, so all must be there."""
        self.machine.heal()
        behave(self.server)
        try:
            with contextlib.suppress(DiskError):
                await self._close()
        except KilledError:  # before all was well, by something in the background
            self._stop()
            await self.machine.restart()
            self._forget()
        disk = await self.machine.call(
            "open",
            open_disk(
                self.server.url(self.name),
                allow_remote=True,
                block_size=self.block,
                platform=self.machine.platform,
                timeout_s=20,
            ),
        )
        known = self.versions.get(disk.stored_image.validator)
        # Without a validator nothing tells versions apart, later ones included.
        self.allowed = [known] if known else self.published
        if known is not self.current:
            # Reopened without asking, as `max-age` allows.
            assert disk.info.version
            with contextlib.suppress(DiskError):
                self._check(0, await self.machine.call("read all", disk.read(0, self.size)))
        else:
            self._check(0, await self.machine.call("read all", disk.read(0, self.size)))
        await self.machine.call("close", disk.close())


class PreparedRound(RemoteRound):
    """The same over a prepared image: a manifest, and files that are named by their digest."""

    name = "manifest.json"

    def _publish(self, image: Version) -> None:
        self.current = image
        self.published.append(image)
        chance = self.chance
        if not self.versions:
            self.chunk_size = chance.choice([4096, 16384, 65536])
            self.boot = chance.random() < 0.5
        blocks = range(-(-self.size // 16384)) if self.boot else ()
        boot_blocks = [block for block in blocks if chance.random() < 0.3]
        files = prepared_files(image.data, self.chunk_size, boot_blocks)
        for name, data in files.items():
            if name not in self.server.images:
                self.server.add(name, data)
            elif name == self.name:
                self.server.image(name).replace(data)
        self.versions[disk_validator(Manifest.decode(files[self.name]))] = image
