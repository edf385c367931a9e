"""The command: start, log, stop, and what it refuses."""

from __future__ import annotations

import json
import re
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk.service.cli import main
from aero_browser_disk.service.servers.server import listen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import RunningService


def test_small_answers_do_not_wait_to_be_acknowledged() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_health(service: RunningService) -> None:
    answer = service.ask("/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    assert answer.headers["cache-control"] == "no-store"


def test_a_line_for_each_request(tmp_path: Path, serve: Callable[..., RunningService]) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(1000))
    service = serve(tmp_path)
    service.ask("/disks/disk.img/bytes?token=secret", {"Range": "bytes=1-9"})
    line = service.event("request")
    assert line.pop("duration_ms") >= 0
    assert re.fullmatch(r"[0-9a-f]{32}", line.pop("request_id"))
    assert line == {
        "event": "request",
        "method": "GET",
        "route": "/disks/{id}/bytes",
        "id": "disk.img",
        "status": 206,
        "range": "bytes=1-9",
        "bytes": 9,
    }
    service.ask("/disks/nothing/bytes", method="HEAD")
    line = service.event("request")
    assert (line["id"], line["status"], line["bytes"]) == ("nothing", 404, 0)


def test_no_line_holds_what_a_stranger_made_up(
    tmp_path: Path, serve: Callable[..., RunningService]
) -> None:
    service = serve(tmp_path)
    service.ask("/secret-path", {"Range": "bytes=" + "1" * 5000, "Authorization": "Bearer secret"})
    line = service.event("request")
    assert "secret" not in json.dumps(line)
    assert (line["route"], line["id"], line["status"]) == (None, None, 404)
    assert len(line["range"]) <= 100
    service.ask("/disks/" + "x" * 500 + "/bytes")
    assert service.event("request")["id"] is None


def test_max_age(tmp_path: Path, serve: Callable[..., RunningService]) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(512))
    answer = serve(tmp_path, "--max-age", "86400").ask("/disks/disk.img/bytes")
    assert answer.headers["cache-control"] == "public, max-age=86400, no-transform"


@pytest.mark.parametrize("server", ["granian", "uvicorn"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_finishes_what_is_under_way_and_stops(
    tmp_path: Path, serve: Callable[..., RunningService], number: signal.Signals, server: str
) -> None:
    size = 64 << 20
    (tmp_path / "disk.img").touch()
    with (tmp_path / "disk.img").open("r+b") as file:
        file.truncate(size)
    service = serve(tmp_path, "--server", server)
    connection = service.connect()
    connection.request("GET", "/disks/disk.img/bytes")
    response = connection.getresponse()
    service.process.send_signal(number)
    assert response.read() == bytes(size)
    connection.close()
    assert service.event("request")["bytes"] == size
    assert service.wait() == (0, "")


@pytest.mark.parametrize("server", ["granian", "uvicorn"])
def test_a_client_that_stalls_does_not_hold_it_up_beyond_the_grace(
    tmp_path: Path, serve: Callable[..., RunningService], server: str
) -> None:
    with (tmp_path / "disk.img").open("wb") as file:
        file.truncate(1 << 40)
    service = serve(tmp_path, "--server", server, "--grace", "0")
    with socket.create_connection((service.host, service.port)) as connection:
        connection.sendall(b"GET /disks/disk.img/bytes HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(1)
        assert service.stop(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--images", "nowhere"], "nowhere"),
        (["--allow-origin", "https://app.example.com/"], "not an origin"),
        (["--allow-origin", "app.example.com"], "not an origin"),
        (["--allow-origin", "HTTPS://app.example.com"], "not an origin"),
        (["--host", "203.0.113.1"], "203.0.113.1"),
    ],
)
def test_what_cannot_work_is_said_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert main(["serve", "--images", str(tmp_path), "--port", "0", *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err


@pytest.mark.parametrize(
    "options", [["--max-age", "-1"], ["--port", "x"], ["--resource-policy", "x"]]
)
def test_options_that_make_no_sense(tmp_path: Path, options: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["serve", "--images", str(tmp_path), *options])
    assert stopped.value.code == 2


def test_a_wrong_manifest_is_said_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.json").write_text('{"images": [{"id": "a"}]}')
    assert main(["serve", "--images", str(tmp_path), "--port", "0"]) == 2
    assert 'images[0] ("a").file is missing' in capsys.readouterr().err
