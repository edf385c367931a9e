"""An image that is replaced, written or cut while it is served: never bytes of two versions."""

from __future__ import annotations

import http.client
import os
import random
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import RunningService

DISK = "/disks/disk.img/bytes"
# Far more than the sockets between service and client hold: most is unread when the test acts.
SIZE = 48 << 20
OLD = random.Random(1).randbytes(1 << 20) * (SIZE >> 20)
NEW = bytes(byte ^ 0xFF for byte in OLD[: 1 << 20]) * (SIZE >> 20)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(OLD)
    return path


@pytest.fixture(params=["granian", "uvicorn"])
def running(
    image: Path, serve: Callable[..., RunningService], request: pytest.FixtureRequest
) -> RunningService:
    return serve(image.parent, "--server", request.param)


def begin(service: RunningService) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """A whole GET of which only the headers are read, with little room for the rest on its way."""
    connection = service.connect()
    connection.sock = socket.socket()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
    connection.sock.settimeout(30)
    connection.sock.connect((service.host, service.port))
    connection.request("GET", DISK)
    response = connection.getresponse()
    assert response.status == 200
    return connection, response


def test_a_replaced_image_is_sent_to_its_end_as_it_was(
    running: RunningService, image: Path, tmp_path: Path
) -> None:
    before = running.ask(DISK, method="HEAD").headers["etag"]
    connection, response = begin(running)
    (tmp_path / "next").write_bytes(NEW)
    (tmp_path / "next").replace(image)
    # The new version is there at once for those who ask now, and the old one still flows.
    after = running.ask(DISK, {"Range": "bytes=0-99"})
    assert after.body == NEW[:100]
    assert after.headers["etag"] != before
    assert response.read() == OLD
    connection.close()
    stale = running.ask(DISK, {"Range": "bytes=0-99", "If-Range": before})
    assert (stale.status, stale.body) == (200, NEW)


@pytest.mark.parametrize("restored", [False, True], ids=["dated", "date set back"])
def test_an_image_that_is_written_in_place_is_cut_short(
    running: RunningService, image: Path, restored: bool
) -> None:
    before = image.stat()
    connection, response = begin(running)
    with image.open("r+b") as file:
        file.write(NEW)
    if restored:
        os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(http.client.IncompleteRead) as cut:
        response.read()
    connection.close()
    assert len(cut.value.partial) < SIZE
    assert cut.value.partial == OLD[: len(cut.value.partial)]
    line = running.event("request")
    assert (line["status"], line["cut"]) == (200, "the image changed")


def test_an_image_that_is_truncated_is_cut_short(running: RunningService, image: Path) -> None:
    connection, response = begin(running)
    os.truncate(image, SIZE - 1)
    with pytest.raises(http.client.IncompleteRead) as cut:
        response.read()
    connection.close()
    assert cut.value.partial == OLD[: len(cut.value.partial)]
    assert running.event("request")["cut"] == "the image changed"
    assert running.ask(DISK, method="HEAD").headers["content-length"] == str(SIZE - 1)


def test_every_write_makes_a_version_however_fast_they_follow(
    running: RunningService, image: Path
) -> None:
    seen = set()
    for number in range(20):
        with image.open("r+b") as file:
            file.write(number.to_bytes(4, "big"))
        answer = running.ask(DISK, {"Range": "bytes=0-3"})
        assert int.from_bytes(answer.body, "big") == number
        seen.add(answer.headers["etag"])
    assert len(seen) == 20


def test_a_slow_client_holds_up_nobody(running: RunningService) -> None:
    slow = [begin(running) for _ in range(20)]
    for offset in range(0, SIZE, SIZE // 50):
        answer = running.ask(DISK, {"Range": f"bytes={offset}-{offset + 4095}"})
        assert answer.body == OLD[offset : offset + 4096]
    for connection, response in slow:
        response.close()
        connection.close()


def test_who_went_away_gets_nothing_more(running: RunningService, image: Path) -> None:
    os.truncate(image, 1 << 40)
    connection, response = begin(running)
    response.close()
    connection.close()
    # Reading 1 TiB for nobody would take minutes; the line comes once the service stopped.
    assert running.event("request")["bytes"] < 1 << 30


def test_a_whole_image_takes_little_memory(running: RunningService, image: Path) -> None:
    assert running.ask(DISK, {"Range": "bytes=0-0"}).status == 206
    os.truncate(image, 256 << 20)
    before = running.peak_bytes()
    connection = running.connect()
    connection.request("GET", DISK)
    response = connection.getresponse()
    received = 0
    while chunk := response.read(1 << 20):
        received += len(chunk)
    connection.close()
    assert received == 256 << 20
    assert running.peak_bytes() - before < 16 << 20


def test_files_do_not_stay_open(running: RunningService, image: Path, tmp_path: Path) -> None:
    def open_files() -> int:
        return len(list(Path(f"/proc/{running.process.pid}/fd").iterdir()))

    assert running.ask(DISK, {"Range": "bytes=0-0"}).status == 206
    before = open_files()
    for number in range(50):
        (tmp_path / "next").write_bytes(bytes([number]))
        (tmp_path / "next").replace(image)
        assert running.ask(DISK).body == bytes([number])
    assert open_files() <= before
    for number in range(400):
        (tmp_path / f"{number}.img").write_bytes(number.to_bytes(2, "big"))
    for number in range(400):
        assert running.ask(f"/disks/{number}.img/bytes").body == number.to_bytes(2, "big")
    assert open_files() < before + 300
