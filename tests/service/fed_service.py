"""The application in this process, behind real sockets whose protocols are fed by hand.

A test decides what comes together, in which turn of the loop, and sees how much of it was parsed.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from uvicorn.server import ServerState

from aero_browser_disk.service.assembly import Assembly
from aero_browser_disk.service.configuration import Configuration
from aero_browser_disk.service.http.access_log import AccessLog
from aero_browser_disk.service.servers.uvicorn_protocol import Protocol
from aero_browser_disk.service.servers.uvicorn_server import server_config

from .conftest import DISK as BYTES
from .conftest import PATIENCE_S

DISK: Final = "/disks/disk.img/bytes"
# What another image has, or a later version.
NEW: Final = random.Random(8).randbytes(len(BYTES))
# Old enough to be settled.
LONG_AGO: Final = 1_700_000_000


class Watched(Protocol):
    """Counts what reaches the parser and what takes a task; says when its connection is over."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.parsed = 0
        self.started = 0
        self.begun = asyncio.Event()
        self.over = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.begun.set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.over.set()

    def go_on(self, application: Any, *, is_begun: bool) -> None:
        self.started += not is_begun
        super().go_on(application, is_begun=is_begun)

    def on_message_begin(self) -> None:
        self.parsed += 1
        super().on_message_begin()


@dataclass(frozen=True, slots=True)
class Connection:
    protocol: Watched
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def feed(self, *chunks: bytes) -> None:
        """What comes, in this turn of the loop."""
        for chunk in chunks:
            self.protocol.data_received(chunk)

    async def answer(self) -> tuple[bytes, bytes]:
        """Head and body of the next answer."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None or head.startswith(b"HTTP/1.1 304 "), head
            return head, await self.reader.readexactly(int(length[1]) if length else 0)

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        self.feed(request)
        return await self.answer()

    async def ended(self) -> None:
        """Returns when the server closed it."""
        async with asyncio.timeout(PATIENCE_S):
            assert await self.reader.read() == b""


class Running:
    """The images of a folder, or of the `store` in `sections`, served in this process."""

    def __init__(self, folder: Path | None, keep_alive_s: float = 3600, **sections: Any) -> None:
        development = {"mode": "development", "store": {"folder": folder, "listing": True}}
        sections.setdefault("limits", {"requests_in_flight": 0})
        configuration = Configuration.model_validate({**development, **sections})
        self.log = AccessLog(io.StringIO())
        self.assembly = Assembly(configuration, self.log)
        self.service = self.assembly.service()
        self.state = ServerState()
        self.config = server_config(self.service, configuration.server)
        protocol: Any = self.config.http
        self.config.http = partial(Watched, **protocol.keywords)  # type: ignore[arg-type]
        self.config.timeout_keep_alive = keep_alive_s  # type: ignore[assignment]
        self.config.load()

    @asynccontextmanager
    async def connected(self, send_buffer: int | None = None) -> AsyncIterator[Connection]:
        """A connection; with `send_buffer` the kernel takes about so many bytes at a time."""
        made: Any = self.config.http_protocol_class
        protocol: Watched = made(config=self.config, server_state=self.state, app_state={})
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: protocol, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await protocol.begun.wait()
        if send_buffer is not None:
            accepted = protocol.transport.get_extra_info("socket")
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        try:
            yield Connection(protocol, reader, writer)
        finally:
            server.close()
            protocol.transport.abort()
            await protocol.over.wait()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def lines(self) -> list[dict[str, Any]]:
        """What the log says of requests."""
        self.log.flush()
        stream = self.log._stream
        assert isinstance(stream, io.StringIO)
        lines = [json.loads(line) for line in stream.getvalue().splitlines()]
        return [line for line in lines if line["event"] == "request"]


def asked(span: str, *more: str, path: str = DISK, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *more, f"Range: bytes={span}", "", ""]
    return "\r\n".join(lines).encode()


def put(folder: Path, content: bytes, at_s: int) -> None:
    """Replaces the image by another."""
    (folder / "next").write_bytes(content)
    os.utime(folder / "next", (at_s, at_s))
    (folder / "next").replace(folder / "disk.img")


def folder_of_images(parent: Path) -> Path:
    """A folder with one image."""
    folder = parent / "images"
    folder.mkdir()
    put(folder, BYTES, LONG_AGO)
    return folder


def etag_of(head: bytes) -> bytes:
    found = re.search(rb"etag: ([^\r]*)\r\n", head)
    assert found is not None
    return found[1]
