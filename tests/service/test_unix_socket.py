"""A service on a Unix socket, for a server on the same machine that stands before it."""

from __future__ import annotations

import socket
import stat
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk.service.cli import main
from aero_browser_disk.service.servers.server import listen_unix

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import RunningService

DISK = "/disks/disk.img/bytes"
BYTES = bytes(range(256))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "disk.img").write_bytes(BYTES)
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "service.sock"


def options(path: Path, *more: str) -> list[str]:
    settings = [f'server.unix_socket="{path}"', *more]
    return [word for setting in settings for word in ("--set", setting)]


@pytest.mark.parametrize("server", ["granian", "uvicorn"])
def test_bytes_come_through_it(
    images: Path, path: Path, serve: Callable[..., RunningService], server: str
) -> None:
    service = serve(images, *options(path), "--server", server)
    assert service.url == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    for first in range(5):
        answer = service.ask(DISK, {"Range": f"bytes={first}-99"})
        assert (answer.status, answer.body) == (206, BYTES[first:100])
    assert service.ask(DISK).body == BYTES


@pytest.mark.parametrize("server", ["granian", "uvicorn"])
@pytest.mark.parametrize("trusted", [False, True])
def test_what_it_is_told_counts_if_it_is_to(
    images: Path, path: Path, serve: Callable[..., RunningService], server: str, trusted: bool
) -> None:
    more = ['server.trusted_proxies=["unix:"]'] if trusted else []
    limits = ("limits.requests_per_s=0.001",)
    service = serve(images, *options(path, *more, *limits), "--server", server)

    def ask(client: str) -> tuple[int, bool]:
        asked = {"Range": "bytes=0-9", "X-Forwarded-For": client, "X-Request-Id": "mine"}
        answer = service.ask(DISK, asked)
        return answer.status, answer.headers["x-request-id"] == "mine"

    assert ask("192.0.2.1") == (206, trusted)
    assert ask("192.0.2.1") == (429, trusted)
    # Another client, or the same for whom does not believe it.
    assert ask("192.0.2.2") == (206 if trusted else 429, trusted)


def test_the_mode_is_as_asked(
    images: Path, path: Path, serve: Callable[..., RunningService]
) -> None:
    serve(images, *options(path, 'server.unix_socket_mode="600"'))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_one_that_was_left_behind_is_replaced(path: Path) -> None:
    listen_unix(path, 0o660).close()
    assert path.is_socket()
    with listen_unix(path, 0o660), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_what_is_in_use_stays(
    images: Path,
    path: Path,
    serve: Callable[..., RunningService],
    capsys: pytest.CaptureFixture[str],
) -> None:
    service = serve(images, *options(path))
    command = ["serve", "--images", str(images), *options(path)]
    assert main(command) == 2
    assert str(path) in capsys.readouterr().err
    assert service.ask("/healthz").status == 200
    (images / "a file").write_text("mine")
    with pytest.raises(OSError, match="in use"):
        listen_unix(images / "a file", 0o660)
    assert (images / "a file").read_text() == "mine"
