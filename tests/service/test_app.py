"""The application when its store fails: the client is told, or cut off, and the log says why."""

from __future__ import annotations

import asyncio
import gc
import io
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aero_browser_disk.service.app import Service
from aero_browser_disk.service.configuration import Configuration
from aero_browser_disk.service.http.access_log import AccessLog
from aero_browser_disk.service.http.exchange import Exchange
from aero_browser_disk.service.stores.folder_store import FolderStore
from aero_browser_disk.service.stores.image_file import FileVersion
from aero_browser_disk.service.stores.image_store import (
    CHUNK_LENGTH,
    Image,
    OpenImage,
    VersionChangedError,
)
from aero_browser_disk.service.stores.manifest import ManifestEntry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

VERSION = FileVersion(1, 2, 3_000_000_000, 3_000_000_000, 3 * CHUNK_LENGTH)
IMAGE = Image(
    ManifestEntry("disk", "disk", "disk", public=True), VERSION.size, VERSION.entity_tag, 3
)


class FailingReader:
    """Reads zeros until `good_reads` of them went well, then raises `error`."""

    def __init__(self, good_reads: int, error: Exception) -> None:
        self.good_reads = good_reads
        self.error = error

    async def chunks(self, start: int, stop: int) -> AsyncGenerator[bytes]:
        for _ in range(self.good_reads):
            yield bytes(CHUNK_LENGTH)
        raise self.error


class FailingStore:
    def __init__(self, reader: FailingReader) -> None:
        self.reader = reader

    @asynccontextmanager
    async def open(self, image_id: str, **_: Any) -> AsyncIterator[OpenImage]:
        yield OpenImage(IMAGE, self.reader)


async def ask(good_reads: int, error: Exception) -> tuple[list[Any], list[dict[str, Any]]]:
    """What the application sends to a GET of the whole disk, and what it logs."""
    lines = io.StringIO()
    store = FailingStore(FailingReader(good_reads, error))
    log = AccessLog(lines)
    service = Service(store, Configuration(), log)  # type: ignore[arg-type]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return await asyncio.Future()  # the client stays, and has nothing more to say

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/disks/disk/bytes", "headers": []}
    await service(scope, receive, send)
    log.flush()
    return sent, [json.loads(line) for line in lines.getvalue().splitlines()]


async def test_a_first_read_that_fails_is_said() -> None:
    for error, status, code in (
        (OSError(5, "Input/output error"), 503, "store_failed"),
        (VersionChangedError(), 503, "image_changing"),
        (RuntimeError("a defect"), 500, "internal_error"),
    ):
        sent, lines = await ask(0, error)
        headers = dict(sent[0]["headers"])
        assert sent[0]["status"] == status
        assert headers[b"access-control-allow-origin"] == b"*"
        assert headers[b"cache-control"] == b"no-store"
        assert (b"retry-after" in headers) == (status == 503)
        assert json.loads(sent[1]["body"])["error"]["code"] == code
        assert "a defect" not in sent[1]["body"].decode()
        assert sent[1]["more_body"] is False
        assert lines[-1]["status"] == status
        if not isinstance(error, VersionChangedError):
            assert str(error) in lines[0]["error"]


async def test_a_later_read_that_fails_leaves_the_body_unfinished() -> None:
    for error, cut in (
        (OSError(5, "Input/output error"), "reading failed: Input/output error"),
        (VersionChangedError(), "the image changed"),
        (RuntimeError("a defect"), "internal_error"),
    ):
        sent, lines = await ask(2, error)
        assert sent[0]["status"] == 200
        assert sum(len(message["body"]) for message in sent[1:]) == 2 * CHUNK_LENGTH
        assert all(message["more_body"] for message in sent[1:])
        assert (lines[-1]["cut"], lines[-1]["bytes"]) == (cut, 2 * CHUNK_LENGTH)


async def test_refused_requests_leave_nothing_behind(tmp_path: Path) -> None:
    """An error that is kept, or that keeps itself, keeps its request and its connection."""
    (tmp_path / "disk").write_bytes(bytes(4096))
    store = FolderStore(tmp_path, lambda _: None)
    service = Service(store, Configuration(), AccessLog(io.StringIO()))
    sent: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if "status" in message:
            sent.append(message["status"])

    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            for method, path, fields in (
                ("GET", "/nowhere", []),
                ("POST", "/healthz", []),
                ("GET", "/disks/none/bytes", []),
                ("GET", "/v1/images/disk/digests", []),
                ("GET", "/disks/disk/bytes", [(b"range", b"bytes=9999-")]),
            ):
                scope = {"type": "http", "method": method, "path": path, "headers": fields}
                await service(scope, receive, send)
        assert sent == [404, 405, 404, 404, 416] * 3
        assert [found for found in gc.get_objects() if isinstance(found, Exchange)] == []
    finally:
        gc.enable()
        store.close()
