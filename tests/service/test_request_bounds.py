"""Requests without end, and what is no request: bounded as the bytes come, on each server."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from .conftest import DISK as BYTES
from .conftest import PATIENCE_S, RunningService
from .fed_service import DISK, Running, asked, folder_of_images

PAGE: Final = "https://app.example.com"
# What may leave a client before it is stopped: what the service takes, and what the kernel buffers
# on both sides of a connection on this machine.
MOST_SENT: Final = 12 << 20
OFFERED: Final = 40 << 20

LINES: Final = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
CHUNKED: Final = b"POST /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS: Final = {
    "request line": (b"GET /", b"a" * 65536),
    "header lines": (LINES, b"a:b\r\n" * 13_107),
    "header name": (LINES, b"a" * 65536),
    "header value": (LINES + b"X: ", b"a" * 65536),
    "folded value": (LINES + b"X: a\r\n", b" a\r\n" * 16_384),
    "chunk extension": (CHUNKED + b"1;", b"a=b;" * 16_384),
    "chunk size": (CHUNKED, b"0" * 65536),
    "trailer lines": (CHUNKED + b"0\r\n", b"a:b\r\n" * 13_107),
    "trailer value": (CHUNKED + b"0\r\nX: ", b"a" * 65536),
    "bare line feeds": (b"GET /healthz HTTP/1.1\nHost: a\n", b"a:b\n" * 16_384),
}


@pytest.fixture(scope="module", params=["uvicorn", "granian"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    images = tmp_path_factory.mktemp("images")
    (images / "disk.img").write_bytes(BYTES)
    options = ("--set", "server.keep_alive_s=1", "--server", request.param)
    with RunningService(images, *options) as running:
        yield running


def send_all(service: RunningService, first: bytes, again: bytes) -> tuple[int, bytes]:
    """Sends until the service ends it; how much left, and what it said."""
    sent, said = 0, b""
    with socket.create_connection((service.host, service.port)) as connection:
        connection.settimeout(PATIENCE_S)
        with suppress(ConnectionError):
            connection.sendall(first)
            while sent < OFFERED:
                connection.sendall(again)
                sent += len(again)
        with suppress(ConnectionError):
            while more := connection.recv(65536):
                said += more
    return sent, said


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_never_ends_is_ended(server: RunningService, kind: str) -> None:
    before = server.peak_bytes()
    for _ in range(2):
        sent, said = send_all(server, *ENDLESS[kind])
        # hyper, below granian, bounds sizes of chunks in time alone: zeros before them say nothing.
        assert sent < MOST_SENT or (kind, server.process.args[-1]) == ("chunk size", "granian")
        if said:
            assert re.match(rb"HTTP/1\.1 (400|405|413|414|431) ", said), said[:100]
    assert server.peak_bytes() - before < 8 << 20
    with closing(server.connect()) as connection:
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200


# ── on uvicorn each byte can be counted ──


@pytest.fixture
def running(tmp_path: Path) -> Running:
    return Running(
        folder_of_images(tmp_path),
        cors={"allow_origins": [PAGE]},
        metrics={"enabled": True, "token": "x" * 20},
    )


async def response(connection: Any) -> tuple[bytes, dict[str, Any]]:
    head, body = await connection.answer()
    return head, json.loads(body)["error"]


@pytest.mark.parametrize(
    ("first", "again", "status", "most"),
    [
        (*ENDLESS["request line"], 414, 3 * 1024),
        (*ENDLESS["header lines"], 431, 1024),
        (*ENDLESS["header name"], 431, 36 * 1024),
        (*ENDLESS["header value"], 431, 36 * 1024),
        (*ENDLESS["bare line feeds"], 400, 1024),
    ],
    ids=["request line", "header lines", "header name", "header value", "bare line feeds"],
)
@pytest.mark.parametrize("step", [100, 65536])
async def test_the_refusal_comes_after_so_many_bytes(
    running: Running, first: bytes, again: bytes, status: int, most: int, step: int
) -> None:
    """And the parser saw none of them."""
    async with running.connected() as connection:
        everything = first + again
        taken = 0
        while connection.protocol.cycle is None:
            connection.feed(everything[taken : taken + step])
            taken += step
            assert len(connection.protocol._gate.waiting) <= most + step
        assert taken <= most + step
        head, error = await response(connection)
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nconnection: close\r\n" in head
        # What still comes is dropped.
        connection.feed(everything)
        assert connection.protocol._gate.waiting == b""
        await connection.ended()
    (line,) = running.lines()
    assert (line["status"], line["route"]) == (status, None)
    assert error["code"] in ("url_too_long", "headers_too_large", "bad_request")


@pytest.mark.parametrize("kind", ["chunk extension", "trailer lines", "trailer value"])
async def test_framing_without_end(running: Running, kind: str) -> None:
    first, again = ENDLESS[kind]
    async with running.connected() as connection:
        connection.feed(first)
        taken = 0
        while connection.protocol.cycle.scope["path"]:
            connection.feed(again[taken : taken + 4096])
            taken += 4096
        assert taken <= 40 * 1024
        assert len(connection.protocol.headers) < 5
        head, _ = await response(connection)
        assert head.startswith(b"HTTP/1.1 431 ")
        await connection.ended()


async def test_long_bodies_in_small_chunks_are_no_framing(running: Running) -> None:
    async with running.connected() as connection:
        connection.feed(CHUNKED)
        for _ in range(100):
            connection.feed(b"1\r\nx\r\n" * 1000)
        connection.feed(b"0\r\nX-Trailer: a\r\n\r\n")
        head, error = await response(connection)
        assert head.startswith(b"HTTP/1.1 405 ")
        assert error["code"] == "method_not_allowed"
        await connection.ended()


BROKEN: Final = {
    "no request": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "bad header": b"GET /healthz HTTP/1.1\r\nHost: a\r\nOrigin: %b\r\nX Y: z\r\n\r\n"
    % PAGE.encode(),
    "two lengths": asked("0-9", "Content-Length: 3", "Content-Length: 4", f"Origin: {PAGE}"),
    "length and chunks": asked("0-9", "Content-Length: 3", "Transfer-Encoding: chunked"),
    "no number": asked("0-9", "Content-Length: x", f"Origin: {PAGE}"),
    "another protocol": b"GET / SPDY/9\r\nOrigin: %b\r\n\r\n" % PAGE.encode(),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_what_is_no_request_is_answered_logged_and_counted(
    running: Running, kind: str
) -> None:
    async with running.connected() as connection:
        await connection.ask(asked("0-9"))
        connection.feed(BROKEN[kind])
        head, error = await response(connection)
        assert head.startswith(b"HTTP/1.1 400 ")
        assert error["code"] == "bad_request"
        assert b"\r\nx-content-type-options: nosniff\r\n" in head
        allowed = b"\r\naccess-control-allow-origin: %b\r\n" % PAGE.encode()
        assert (allowed in head) == (PAGE.encode() in BROKEN[kind])
        assert b"\r\nvary: Origin\r\n" in head
        await connection.ended()
    assert [line["status"] for line in running.lines()] == [206, 400]
    metrics = running.assembly.metrics
    assert metrics is not None
    counted = re.findall(r'requests_total\{.*status="400"\} (\S+)', metrics.exposition().decode())
    assert counted == ["1.0"]


async def test_a_body_that_breaks_is_refused(running: Running) -> None:
    async with running.connected() as connection:
        connection.feed(CHUNKED, b"zz\r\n")
        head, _ = await response(connection)
        assert head.startswith(b"HTTP/1.1 400 ")
        await connection.ended()
    assert [line["status"] for line in running.lines()][-1] == 400


# ── requests with a body that nobody reads, and requests behind others ──


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("more", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("path", [DISK, "/healthz"])
def test_a_body_that_does_not_end_holds_no_connection(
    server: RunningService, method: str, more: str, path: str
) -> None:
    with socket.create_connection((server.host, server.port)) as connection:
        connection.settimeout(PATIENCE_S)
        connection.sendall(asked("0-9", more, path=path, method=method))
        said = b""
        with suppress(ConnectionError):
            while data := connection.recv(65536):
                said += data
    assert said.startswith(b"HTTP/1.1 2")


def test_a_body_that_came_with_its_request_keeps_the_connection(server: RunningService) -> None:
    with socket.create_connection((server.host, server.port)) as connection:
        connection.settimeout(PATIENCE_S)
        for _ in range(3):
            connection.sendall(asked("0-9", "Content-Length: 3") + b"abc")
            said = b""
            while not said.endswith(b"\r\n\r\n" + BYTES[:10]):
                data = connection.recv(65536)
                assert data
                said += data


async def test_a_request_behind_an_upgrade_is_answered(running: Running) -> None:
    upgrade = ("Connection: Upgrade", "Upgrade: h2c")
    async with running.connected() as connection:
        for _ in range(2):
            connection.feed(asked("0-9", *upgrade) + asked("5-6") + asked("7-8", *upgrade))
            for first, last in ((0, 9), (5, 6), (7, 8)):
                assert (await connection.answer())[1] == BYTES[first : last + 1]


async def test_requests_behind_one_under_way_wait_unparsed(running: Running) -> None:
    """However many: reading stops, and none of them takes more than its bytes."""
    many = asked("0-9", path="/healthz") * 5000
    async with running.connected() as connection:
        connection.feed(asked("0-") + many[: 64 * 1024], many[64 * 1024 : 128 * 1024])
        assert connection.protocol.parsed == 1
        assert connection.protocol.flow.read_paused
        assert (await connection.answer())[1] == BYTES
        for _ in range(len(many[: 128 * 1024]) // len(asked("0-9", path="/healthz"))):
            assert (await connection.answer())[0].startswith(b"HTTP/1.1 200 ")
        assert not connection.protocol.flow.read_paused


@pytest.mark.parametrize(
    "path",
    [
        *("/disks%2Fdisk.img/bytes", "/disks/disk.img%2fbytes"),
        *("/disks/a%2Fdisk.img/bytes", "/v1%2Fimages"),
    ],
)
def test_an_escaped_slash_is_no_separator(server: RunningService, path: str) -> None:
    for target, status in ((path, 404), ("/disks/%64isk.img/bytes", 200)):
        with closing(server.connect()) as connection:
            connection.request("GET", target)
            assert connection.getresponse().status == status
