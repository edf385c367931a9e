"""The real command in a process of its own, and a client that sends exactly what a test says."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

from lib.local_object_store import LocalObjectStore
from lib.server_process import PATIENCE_S, SERVICE_PROGRAM, ServerProcess
from support.prepared import prepared_files

from .object_server import Bucket
from .postgres import Postgres


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; headers by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RunningService(ServerProcess):
    """`aero-disk-service serve` over `images`, on a free port, until the block ends.

    With None for the images they are where `options` say.
    """

    def __init__(self, images: Path | None, *options: str) -> None:
        source = () if images is None else ("--images", str(images))
        command = [SERVICE_PROGRAM, "serve", *source, "--port", "0", *options]
        super().__init__(command, stderr=subprocess.PIPE)

    def __enter__(self) -> Self:
        super().__enter__()
        address = urlsplit(self.url)
        self.host, self.port = address.hostname or "", address.port or 0
        self._connection = self.connect()
        return self

    def end(self) -> None:
        if self.url:
            self._connection.close()
        super().end()

    def stop(self, number: int) -> tuple[int, str]:
        """Ends it by a signal, as `wait` says."""
        self.process.send_signal(number)
        return self.wait()

    def peak_bytes(self) -> int:
        """The most memory that it ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def connect(self) -> http.client.HTTPConnection:
        if self.url.startswith("unix:"):
            return _UnixConnection(self.url.removeprefix("unix:"), timeout=PATIENCE_S)
        return http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_S)

    def ask(
        self,
        path: str,
        headers: dict[str, str] | list[tuple[str, str]] | None = None,
        *,
        method: str = "GET",
        body: bytes | None = None,
    ) -> Answer:
        """Sends one request on the connection that all of them share, path and headers verbatim."""
        connection = self._connection
        connection.putrequest(method, path, skip_accept_encoding=True)
        # A client that would like compression must not get it.
        connection.putheader("Accept-Encoding", "gzip, deflate, br, zstd")
        for name, value in headers.items() if isinstance(headers, dict) else headers or ():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        answer = Answer(response.status, fields, response.read())
        # Holds for every answer of every test.
        assert len(fields) == len(response.getheaders()), "a header came twice"
        assert "transfer-encoding" not in answer.headers
        assert "content-encoding" not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-expose-headers" in answer.headers
        if method != "HEAD" and answer.status not in (204, 304):
            assert int(answer.headers["content-length"]) == len(answer.body)
        return answer


class _UnixConnection(http.client.HTTPConnection):
    """To a server on a Unix socket; its path stands where others have the host."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


_NUMBERS = itertools.count()

# No multiple of 512, and more than two chunks of what the service reads at a time.
DISK = random.Random(2).randbytes(600_123)


@pytest.fixture
def serve(request: pytest.FixtureRequest) -> Callable[..., RunningService]:
    """Starts the service; it ends with the test."""

    def start(images: Path | None, *options: str) -> RunningService:
        running = RunningService(images, *options).__enter__()
        request.addfinalizer(running.end)
        return running

    return start


def put_files(folder: Path, files: dict[str, bytes]) -> None:
    """Writes a prepared image, its manifest last."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


@pytest.fixture(scope="session")
def disk() -> bytes:
    """What is in `disk.img` of `service`, and in the chunks of `packed.img`."""
    return DISK


@pytest.fixture(scope="session", params=["disk.img", "packed.img"])
def address(request: pytest.FixtureRequest) -> str:
    """Where `service` has the bytes of the disk, raw and prepared."""
    return f"/disks/{request.param}/bytes"


# For tests of what HTTP promises: each server keeps it.
on_each_server = pytest.mark.parametrize("service", ["uvicorn", "granian"], indirect=True)


@pytest.fixture(scope="session")
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """One service for all tests that change nothing.

    It has a disk, the same prepared, an empty image and two huge ones.
    """
    images = tmp_path_factory.mktemp("images")
    (images / "disk.img").write_bytes(DISK)
    (images / "empty.img").touch()
    put_files(images / "packed.img", prepared_files(DISK, 64 * 1024))
    for name, size in (("5GiB.img", 5 << 30), ("2TiB.img", 2 << 40)):
        with (images / name).open("wb") as file:
            file.truncate(size)
            for offset in (0, (4 << 30) - 4, size - 8):
                file.seek(offset)
                file.write(offset.to_bytes(8, "big"))
    # Other tests, which come in between, may take longer than connections are idle otherwise.
    kind = getattr(request, "param", "uvicorn")
    options = ("--server", kind, "--set", "server.keep_alive_s=3600")
    with RunningService(images, *options) as running:
        yield running


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalObjectStore]:
    """A real S3 server, started for the first test that wants it."""
    with LocalObjectStore(tmp_path_factory.mktemp("objects")) as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server, started for the first test that wants it."""
    with Postgres() as running:
        yield running


@pytest.fixture
def bucket(object_server: LocalObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty place in a bucket, with its credentials where every client of S3 looks for them."""
    for name, value in object_server.keys.environment.items():
        monkeypatch.setenv(name, value)
    bucket = Bucket(object_server, f"images of/test-{next(_NUMBERS)}")
    yield bucket
    bucket.close()


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A real server, on a socket of its own."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    assert program, "neither valkey-server nor redis-server is there: run scripts/setup"
    path = tmp_path / "redis.sock"
    command = [program, "--port", "0", "--unixsocket", path, "--save", "", "--dir", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        while "eady to accept connections" not in server.stdout.readline():
            assert server.poll() is None
        yield f"unix://{path}"
        server.kill()
        server.stdout.read()
