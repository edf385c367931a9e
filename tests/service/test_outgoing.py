"""What the service asks of other servers: a slow one delays what needs it alone."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import signal
import threading
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text

from aero_browser_disk.service.access import issuer_keys
from aero_browser_disk.service.access.authorization import RefusedError
from aero_browser_disk.service.access.issuer_keys import FetchedKeys
from aero_browser_disk.service.http import shared_limits
from aero_browser_disk.service.http.access_log import AccessLog
from aero_browser_disk.service.http.client_limits import Allowance
from aero_browser_disk.service.outgoing import BlockingCalls
from aero_browser_disk.service.stores import object_store
from aero_browser_disk.service.stores.bucket import open_bucket
from aero_browser_disk.service.stores.image_store import StoreError
from aero_browser_disk.service.stores.object_store import ObjectStore
from aero_browser_disk.service.uploads import uploaded_images
from aero_browser_disk.service.uploads.upload_records import UploadRecords
from aero_browser_disk.service.uploads.uploaded_images import UploadedImages

from .conftest import PATIENCE_S
from .test_authorization import AUDIENCE, EC, ISSUER, RSA, jwk_set, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from .conftest import RunningService
    from .object_server import Bucket
    from .postgres import Postgres


# ── blocking calls ──


async def test_a_call_that_hangs_takes_its_own_place_and_nobody_elses_time() -> None:
    calls = BlockingCalls("the test", 2, 0.1)
    end = threading.Event()
    with pytest.raises(StoreError, match=r"the test did not respond within 0\.1 s"):
        await calls.run(end.wait)
    assert await calls.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await calls.run(lambda: 1 // 0)
    with pytest.raises(StoreError):
        await calls.run(end.wait)
    # Two hang, and no third thread is begun for more.
    before = threading.active_count()
    with pytest.raises(StoreError):
        await calls.run(lambda: 7)
    assert threading.active_count() == before
    end.set()
    assert await BlockingCalls("the test", 1, 30).run(lambda: 8) == 8
    patient = asyncio.timeout(30)
    async with patient:
        while True:
            with suppress(StoreError):
                assert await calls.run(lambda: 9) == 9
                break


async def test_a_call_outlives_who_waited_for_it() -> None:
    calls = BlockingCalls("the test", 1, 30)
    begun, end = threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        end.wait()

    task = asyncio.create_task(calls.run(call))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    end.set()
    assert await calls.run(lambda: 1) == 1


# ── the issuer of tokens ──


class Issuer:
    """Serves `keys`; as slowly, or from as far away, as `respond` does it."""

    def __init__(self) -> None:
        self.keys = jwk_set(rsa=RSA)
        self.asked: list[str] = []
        self.was_asked = threading.Event()
        self.was_left = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.location: str | None = None
        self.drips = False
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                issuer.was_asked.set()
                issuer.go_on.wait(30)
                if issuer.drips:
                    self.drip()
                    return
                body = issuer.keys.encode()
                elsewhere = issuer.location if self.path == "/jwks.json" else None
                self.send_response(302 if elsewhere else 200)
                if elsewhere:
                    self.send_header("Location", elsewhere)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(body)

            def drip(self) -> None:
                """A head without end."""
                try:
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                    while not ended.wait(0.05):
                        self.wfile.write(b"x")
                except OSError:
                    issuer.was_left.set()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        ended = self.ended = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"

    def close(self) -> None:
        self.go_on.set()
        self.ended.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


async def test_old_keys_serve_while_new_ones_are_fetched(issuer: Issuer) -> None:
    now = 0.0
    fetched = FetchedKeys(issuer.url, 300, lambda: now)
    assert [*await fetched.keys("rsa")] == ["rsa"]
    now = 301.0
    issuer.keys = jwk_set(rsa=RSA, ec=EC)
    issuer.go_on.clear()
    # At once: the issuer does not respond.
    for _ in range(3):
        assert [*await fetched.keys("rsa")] == ["rsa"]
    fetching = fetched._fetching
    assert fetching is not None
    issuer.go_on.set()
    await fetching
    assert [*await fetched.keys("rsa")] == ["rsa", "ec"]
    assert len(issuer.asked) == 2


async def test_a_reload_while_the_issuer_hangs_keeps_the_keys(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "_FETCH_TIMEOUT_S", 1.0)
    fetched = FetchedKeys(issuer.url, 300)
    await fetched.keys("rsa")
    issuer.go_on.clear()
    fetched.reload()
    assert [*await fetched.keys("rsa")] == ["rsa"]
    assert len(issuer.asked) == 2


async def test_an_issuer_that_drips_is_given_up(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "_FETCH_TIMEOUT_S", 0.3)
    issuer.drips = True
    fetched = FetchedKeys(issuer.url, 300)
    with pytest.raises(RefusedError) as refused:
        await fetched.keys("rsa")
    assert refused.value.status == 503
    # Nothing of the request goes on.
    assert await asyncio.to_thread(issuer.was_left.wait, PATIENCE_S)


async def test_redirects_stay_on_the_origin_of_the_keys(issuer: Issuer) -> None:
    other = Issuer()
    try:
        issuer.location = "/elsewhere.json"
        assert [*await FetchedKeys(issuer.url, 300).keys("rsa")] == ["rsa"]
        for location in (
            other.url,
            other.url.replace("127.0.0.1", "localhost"),
            "file:///etc/hostname",
            "ftp://127.0.0.1/x",
            issuer.url.replace("http:", "https:"),
            issuer.url.replace("127.0.0.1", "localhost"),
        ):
            issuer.location = location
            with pytest.raises(RefusedError):
                await FetchedKeys(issuer.url, 300).keys("rsa")
        assert other.asked == []
    finally:
        other.close()


@pytest.mark.parametrize("server", ["uvicorn", "granian"])
def test_an_issuer_that_hangs_delays_neither_others_nor_the_end(
    tmp_path: Path, serve: Callable[..., RunningService], issuer: Issuer, server: str
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    entries = []
    for name, public in (("mine", False), ("open", True)):
        (images / name).write_bytes(bytes(512))
        entries.append({"id": name, "file": name, "public": public})
    (images / "manifest.json").write_text(json.dumps({"images": entries}))
    (tmp_path / "service.toml").write_text(
        f'[cors]\nallow_origins = []\n[authorization.jwt]\nissuer = "{ISSUER}"\n'
        f'audience = "{AUDIENCE}"\njwks_url = "{issuer.url}"\n'
    )
    issuer.drips = True
    service = serve(images, "--config", str(tmp_path / "service.toml"), "--server", server)
    with closing(service.connect()) as waiting:
        waiting.request("GET", "/disks/mine/bytes", headers=token())
        assert issuer.was_asked.wait(PATIENCE_S)
        assert service.ask("/disks/open/bytes").status == 200
        service.process.send_signal(signal.SIGTERM)
        with suppress(http.client.HTTPException, OSError):
            assert waiting.getresponse().status == 503
    assert service.wait() == (0, "")


# ── Redis ──


async def test_a_redis_that_hangs_is_asked_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_limits, "_TIMEOUT_S", 1.0)
    asked = 0

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        with closing(writer), suppress(OSError):
            await reader.read(-1)

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    now = 100.0
    lines = io.StringIO()
    limits = shared_limits.SharedLimits(
        Allowance(requests_in_flight=1),
        f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        AccessLog(lines),
        lambda: now,
    )
    for _ in range(5):
        # Counted here meanwhile.
        async with limits.admitted("a"):
            with pytest.raises(shared_limits.LimitExceededError):
                async with limits.admitted("a"):
                    pass
    assert asked == 1
    now += 11
    for _ in range(5):
        async with limits.admitted("a"):
            pass
    assert asked == 2
    assert len(lines.getvalue().splitlines()) == 1
    await limits.close()
    server.close()
    await server.wait_closed()


# ── the bucket ──


@asynccontextmanager
async def slow_server(response: bytes) -> AsyncIterator[str]:
    """Sends that, whatever it is asked, and then a byte now and then."""
    tasks: list[asyncio.Task[object]] = []

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        with closing(writer), suppress(OSError, asyncio.CancelledError):
            writer.write(response)
            while True:
                await asyncio.sleep(0.02)
                writer.write(b"x")
                await writer.drain()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX: ",
        b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 10000\r\n\r\n',
    ],
)
async def test_a_bucket_that_hangs_is_said(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, response: bytes
) -> None:
    monkeypatch.setattr(object_store, "_RESPONSE_TIMEOUT_S", 0.5)
    async with slow_server(response) as url:
        store = ObjectStore(open_bucket(replace(bucket.address, endpoint=url)), lambda _: None)
        with pytest.raises(StoreError):
            async with store.open("disk"):
                pass
        store.close()


# ── the database ──


async def test_a_database_that_hangs_is_said(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploaded_images, "_TIMEOUT_S", 0.5)
    url = postgres.database("hanging")
    records = UploadRecords(url)
    images = UploadedImages(records)
    assert await images.find("win7") is None
    engine = create_engine(url)
    with engine.begin() as locking:
        locking.execute(text("LOCK TABLE uploads"))
        for asking in (images.find("win7"), images.entries()):
            with pytest.raises(StoreError, match="did not respond within"):
                await asking
    assert await images.find("win7") is None
    engine.dispose()
    records.close()
