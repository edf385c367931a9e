"""The real command in a process of its own, and a client that sends exactly what a test says."""

from __future__ import annotations

import http.client
import itertools
import json
import queue
import random
import signal
import subprocess
import sysconfig
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

from local_object_store import LocalObjectStore

from .object_server import Bucket
from .postgres import Postgres

# How long anything may take on a busy machine before the test fails.
PATIENCE_S = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; headers by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RunningService:
    """`aero-disk-service serve` over `images`, on a free port, until the block ends.

    With None for the images they are where `options` say.
    """

    def __init__(self, images: Path | None, *options: str) -> None:
        command = Path(sysconfig.get_path("scripts")) / "aero-disk-service"
        source = () if images is None else ("--images", str(images))
        self.process = subprocess.Popen(
            [command, "serve", *source, "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read_lines)
        self._reader.start()
        self._connection: http.client.HTTPConnection | None = None
        self.metrics_port: int | None = None

    def _read_lines(self) -> None:
        for line in self.process.stdout or ():
            self._lines.put(json.loads(line))
        self._lines.put({"event": "ended"})

    def __enter__(self) -> Self:
        while (line := self._lines.get(timeout=PATIENCE_S))["event"] != "listening":
            assert line["event"] != "ended", self.wait()
            self.metrics_port = line.get("port")
        address = urlsplit(line["url"])
        self.host, self.port = address.hostname or "", address.port or 0
        self._connection = self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connection:
            self._connection.close()
        self.stop(signal.SIGKILL)

    def stop(self, number: int) -> tuple[int, str]:
        """Ends the process by a signal, as `wait` says."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Waits for the process to end; its exit status and what it wrote to stderr."""
        status = self.process.wait(PATIENCE_S)
        self._reader.join()
        assert self.process.stderr
        assert self.process.stdout
        stderr = "" if self.process.stderr.closed else self.process.stderr.read()
        self.process.stderr.close()
        self.process.stdout.close()
        return status, stderr

    def event(self, kind: str) -> dict[str, Any]:
        """The next line of this kind that it prints; others before it are dropped."""
        while (line := self._lines.get(timeout=PATIENCE_S))["event"] != kind:
            pass
        return line

    def connect(self) -> http.client.HTTPConnection:
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
        assert self._connection
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


_NUMBERS = itertools.count()

# No multiple of 512, and more than two pieces of what the service reads at a time.
DISK = random.Random(2).randbytes(600_123)


@pytest.fixture
def serve(request: pytest.FixtureRequest) -> Callable[..., RunningService]:
    """Starts the service; it ends with the test."""

    def start(images: Path | None, *options: str) -> RunningService:
        service = RunningService(images, *options)
        request.addfinalizer(lambda: service.__exit__(None, None, None))
        return service.__enter__()

    return start


@pytest.fixture(scope="session")
def disk() -> bytes:
    """What is in `disk.img` of `service`."""
    return DISK


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service for all tests that change nothing: a disk, an empty image and two huge ones."""
    images = tmp_path_factory.mktemp("images")
    (images / "disk.img").write_bytes(DISK)
    (images / "empty.img").touch()
    for name, size in (("5GiB.img", 5 << 30), ("2TiB.img", 2 << 40)):
        with (images / name).open("wb") as file:
            file.truncate(size)
            for offset in (0, (4 << 30) - 4, size - 8):
                file.seek(offset)
                file.write(offset.to_bytes(8, "big"))
    # Other tests, which come in between, may take longer than connections are idle otherwise.
    with RunningService(images, "--set", "server.keep_alive_s=3600") as running:
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
