"""Lines of requests are written together, in order, soon, and never at a request's expense."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import http.client
import io
import json
import os
import signal
import subprocess
import sysconfig
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from aero_browser_disk.service.http.access_log import AccessLog
from aero_browser_disk.service.http.client_address import TrustedProxies
from aero_browser_disk.service.http.cors import CorsPolicy
from aero_browser_disk.service.http.exchange import Exchange
from aero_browser_disk.service.http.log_writer import LogWriter
from aero_browser_disk.service.http.service_context import ServiceContext


def exchange(number: int, **headers: str) -> Exchange:
    async def receive() -> Any:
        raise NotImplementedError

    async def send(message: Any) -> None:
        raise NotImplementedError

    fields = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": "/x", "headers": fields}
    made = Exchange(scope, receive, send, ServiceContext(CorsPolicy(), TrustedProxies()))
    made.record.status = number
    return made


class Counting(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.flushes = 0
        self.flushed = asyncio.Event()

    def flush(self) -> None:
        self.flushes += 1
        self.flushed.set()


async def test_lines_are_written_together_and_in_order() -> None:
    stream = Counting()
    log = AccessLog(stream)
    for number in range(100):
        log.request(exchange(200 + number))
    assert stream.getvalue() == ""
    log.event("reloaded")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("status") for line in lines] == [*range(200, 300), None]
    assert lines[-1] == {"event": "reloaded"}
    assert stream.flushes == 1


async def test_they_do_not_wait_for_more() -> None:
    stream = Counting()
    AccessLog(stream).request(exchange(206))
    async with asyncio.timeout(10):
        await stream.flushed.wait()
    assert json.loads(stream.getvalue())["status"] == 206


async def test_each_line_is_json_whatever_was_asked() -> None:
    stream = Counting()
    log = AccessLog(stream)
    for text in ('bytes="0-1"', "\\", "é\x7f", "{}", "x" * 1000):
        made = exchange(200, range=text)
        made.record.cut = f"because {text}"
        log.request(made)
        log.flush()
        line = json.loads(stream.getvalue().splitlines()[-1])
        assert line["range"] == text[:100]
        assert line["cut"] == f"because {text}"


async def test_a_full_disk_ends_nothing() -> None:
    class Full(Counting):
        is_full = True

        def flush(self) -> None:
            super().flush()
            if self.is_full:
                raise OSError(errno.ENOSPC, "No space left on device")

    stream = Full()
    log = AccessLog(stream)
    log.event("failed")
    assert stream.flushes == 1
    stream.is_full = False
    log.event("reloaded")
    assert json.loads(stream.getvalue().splitlines()[-1]) == {"event": "reloaded"}


class Pipe:
    """A pipe that nobody empties yet."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)

    def lines(self) -> Iterator[dict[str, Any]]:
        with os.fdopen(self.reader, "rb") as stream:
            for line in stream:
                yield json.loads(line)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_full_pipe_blocks_nobody_and_what_is_dropped_is_counted(blocking: bool) -> None:
    pipe = Pipe()
    os.set_blocking(pipe.writer, blocking)
    writer = LogWriter(pipe.writer, max_waiting_bytes=20_000)
    log = AccessLog(writer)
    for number in range(5000):
        log.event("numbered", number=number)
    # Whoever reads finds what was kept, in order, and how much was not.
    seen = dropped = 0
    for line in pipe.lines():
        if line["event"] == "log_dropped":
            dropped += line["lines"]
        else:
            assert line["number"] == seen if not dropped else line["number"] > seen
            seen += 1
        if seen + dropped == 5000:
            break
    assert seen > 0
    assert dropped > 0
    os.close(pipe.writer)


def test_the_service_goes_on_behind_a_full_pipe(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(b"disk")
    command = Path(sysconfig.get_path("scripts")) / "aero-disk-service"
    process = subprocess.Popen(
        [command, "serve", "--images", str(tmp_path), "--port", "0"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    url = urlsplit(json.loads(process.stdout.readline())["url"])
    connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=30)
    for _ in range(200):
        connection.request("GET", "/disks/disk.img/bytes")
        assert connection.getresponse().read() == b"disk"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    process.stdout.close()
    connection.close()


def test_the_service_outlives_who_reads_its_log(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(b"disk")
    command = Path(sysconfig.get_path("scripts")) / "aero-disk-service"
    process = subprocess.Popen(
        [command, "serve", "--images", str(tmp_path), "--port", "0"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    process.stdout.close()
    for _ in range(3):
        with urllib.request.urlopen(f"{url}/disks/disk.img/bytes", timeout=30) as answer:
            assert answer.read() == b"disk"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
