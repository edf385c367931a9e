"""A response of which nobody can say where its body begins and ends is refused."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aero_browser_disk import diagnose
from aero_browser_disk.errors import NetworkError
from aero_browser_disk.platform.cpython import CpythonHttp, cpython_platform
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer


@contextmanager
def answering(response: bytes) -> Iterator[str]:
    """A server with one response to one request: its address."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listening.accept()
        with connection:
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(4096)
            connection.sendall(response)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/disk.img"
    finally:
        thread.join()
        listening.close()


async def body_of(head: str, body: bytes) -> bytes:
    http = CpythonHttp()
    try:
        with answering(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body) as url:
            response = await http.request("GET", url)
            parts = []
            while (part := await response.read()) is not None:
                parts.append(bytes(part))
            return b"".join(parts)
    finally:
        await http.close()


CHUNKED = b"4\r\nbody\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "body", "what"),
    [
        ("Transfer-Encoding: gzip\r\n", CHUNKED, "Transfer-Encoding"),
        ("Transfer-Encoding: gzip, chunked\r\n", CHUNKED, "Transfer-Encoding"),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", CHUNKED, "Transfer-Encoding"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", CHUNKED, "Transfer"),
        ("Transfer-Encoding: \r\n", CHUNKED, "Transfer-Encoding"),
        ("Transfer-Encoding: xchunked\r\nContent-Length: 14\r\n", CHUNKED, "Transfer-Encoding"),
        ("Content-Length: 4\r\nContent-Length: 5\r\n", b"body!", "Content-Length"),
        ("Content-Length: 4, 5\r\n", b"body!", "Content-Length"),
        ("Content-Length: four\r\n", b"body", "Content-Length"),
        ("Content-Length: +4\r\n", b"body", "Content-Length"),
        ("Content-Length: \r\n", b"body", "Content-Length"),
    ],
)
async def test_a_body_without_known_ends_is_refused(head, body, what):
    with pytest.raises(NetworkError, match=what):
        await body_of(head, body)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Transfer-Encoding: Chunked\r\n", CHUNKED),
        ("Content-Length: 4\r\n", b"body"),
        ("Content-Length: 4\r\nContent-Length: 4\r\n", b"body"),
        ("Connection: close\r\n", b"body"),
    ],
)
async def test_a_body_with_known_ends_is_read(head, body):
    assert await body_of(head, body) == b"body"


async def test_the_doctor_says_so(tmp_path):
    platform = cpython_platform(tmp_path)
    with ImageServer({"disk.img": bytes(70_000)}) as server:
        server.behaviour = Behaviour(headers=(("Transfer-Encoding", "gzip"),))
        found = await diagnose(server.url("disk.img"), allow_remote=True, platform=platform)
    await platform.http.close()
    assert any(finding.level == "fails" for finding in found.findings)


async def test_the_lines_of_a_field_are_a_list():
    http = CpythonHttp()
    lines = "Content-Length: 0\r\nContent-Range: bytes 0-1/9\r\nContent-Range: bytes 2-3/9\r\n"
    with answering(f"HTTP/1.1 206 Partial Content\r\n{lines}\r\n".encode()) as url:
        response = await http.request("GET", url)
        assert response.headers["content-range"] == "bytes 0-1/9, bytes 2-3/9"
        response.abort()
    await http.close()
