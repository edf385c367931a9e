"""uvicorn's short cuts: a request like the one before gets what it would get in any other way."""

from __future__ import annotations

import json
import random
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.service.access.signed_urls import SignedUrls

from .conftest import DISK as BYTES
from .conftest import PATIENCE_S, RunningService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DISK = "/disks/disk.img/bytes"
PAGE = "https://app.example.com"
FIRST = {"Range": "bytes=0-99"}
KEYS = 'current = "k"\n[keys]\nk = "{0}"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "disk.img").write_bytes(BYTES)
    write_manifest(folder, public=True)
    return folder


def write_manifest(folder: Path, *, public: bool) -> None:
    entries = [{"id": "disk.img", "file": "disk.img", "public": public}]
    (folder / "manifest.new").write_text(json.dumps({"images": entries}))
    (folder / "manifest.new").replace(folder / "manifest.json")


@pytest.fixture(scope="module")
def uvicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service for all tests that change nothing; its client has one connection."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "disk.img").write_bytes(BYTES)
    (folder / "empty.img").touch()
    options = ("--server", "uvicorn", "--set", "server.keep_alive_s=3600")
    with RunningService(folder, *options) as running:
        yield running


positions = st.integers(0, 700_000)
others: st.SearchStrategy[dict[str, str]] = st.sampled_from(
    [
        {},
        {},
        {"Origin": PAGE},
        {"If-Match": "*"},
        {"If-Range": '"other"'},
        {"X-Request-Id": "mine"},
        {"Connection": "keep-alive"},
    ]
)


@given(first=positions, extra=st.integers(0, 300_000), more=others, method=st.sampled_from("GGGH"))
def test_each_range_is_exact(
    uvicorn: RunningService, first: int, extra: int, more: dict[str, str], method: str
) -> None:
    headers = {"Range": f"bytes={first}-{first + extra}", **more}
    answer = uvicorn.ask(DISK, headers, method="GET" if method == "G" else "HEAD")
    expected, status = BYTES[first : first + extra + 1], 206
    if "If-Range" in more:
        expected, status = BYTES, 200
    elif not expected:
        assert answer.status == 416
        return
    assert answer.status == status
    assert answer.body == (expected if method == "G" else b"")
    assert answer.headers["content-length"] == str(len(expected))
    if status == 206:
        span = f"bytes {first}-{first + len(expected) - 1}/{len(BYTES)}"
        assert answer.headers["content-range"] == span


@pytest.fixture(scope="module")
def granian(uvicorn: RunningService) -> Iterator[RunningService]:
    """The same images without short cuts."""
    folder = uvicorn.process.args[3]  # type: ignore[index]
    options = ("--server", "granian", "--set", "server.keep_alive_s=3600")
    with RunningService(folder, *options) as running:
        yield running


@pytest.mark.parametrize(
    "more",
    [{}, {"Origin": PAGE}, {"Authorization": "Bearer x"}, {"Connection": "keep-alive"}],
    ids=str,
)
def test_the_headers_are_the_same(
    uvicorn: RunningService, granian: RunningService, more: dict[str, str]
) -> None:
    """Those of a first answer, of a repeated one, and of who has no short cuts."""
    uvicorn.ask("/healthz")
    answers = [uvicorn.ask(DISK, FIRST | more), uvicorn.ask(DISK, FIRST | more)]
    answers.append(granian.ask(DISK, FIRST | more))
    ids = {answer.headers.pop("x-request-id") for answer in answers}
    for answer in answers:
        del answer.headers["date"]
    assert answers[0] == answers[1] == answers[2]
    assert len(ids) == 3


def test_each_is_logged_and_measured(folder: Path, serve: Callable[..., RunningService]) -> None:
    token = "a-token-of-some-length"
    options = ("--set", "metrics.enabled=true", "--set", f"metrics.token={token}")
    service = serve(folder, "--server", "uvicorn", *options)
    for number in range(5):
        asked = f"bytes={number}-{2 * number}"
        answer = service.ask(DISK, {"Range": asked})
        line = service.event("request")
        assert line["range"] == asked
        assert (line["status"], line["bytes"]) == (206, number + 1)
        assert line["request_id"] == answer.headers["x-request-id"]
    text = service.ask("/metrics", {"Authorization": f"Bearer {token}"}).body.decode()
    for sample in (
        'requests_total{method="GET",route="/disks/{id}/bytes",status="206"} 5.0',
        'body_bytes_total{route="/disks/{id}/bytes"} 15.0',
        'ranges_total{result="satisfied"} 5.0',
        'request_duration_seconds_count{route="/disks/{id}/bytes"} 5.0',
    ):
        assert f"aero_disk_{sample}" in text


def test_the_log_is_whole_when_it_ends(folder: Path, serve: Callable[..., RunningService]) -> None:
    service = serve(folder, "--server", "uvicorn")
    asked = [f"bytes={number}-99" for number in range(50)]
    ids = [service.ask(DISK, {"Range": span}).headers["x-request-id"] for span in asked]
    assert service.stop(signal.SIGTERM)[0] == 0
    lines = [service.event("request") for _ in asked]
    assert [(line["range"], line["request_id"]) for line in lines] == [
        *zip(asked, ids, strict=True)
    ]


def test_who_may_read_is_asked_each_time(
    folder: Path, tmp_path: Path, serve: Callable[..., RunningService]
) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(KEYS.format("a" * 43))
    write_manifest(folder, public=False)
    options = ("--allow-origin", PAGE, "--set", f"authorization.signing_keys_file={keys}")
    service = serve(folder, "--server", "uvicorn", *options)
    query, _ = SignedUrls(keys).sign("disk.img", 600, "bytes")
    for number in range(3):
        answer = service.ask(f"{DISK}?{query}", {"Range": f"bytes={number}-{number}"})
        assert answer.body == BYTES[number : number + 1]
        assert answer.headers["cache-control"] == "private, no-store, no-transform"
    keys.write_text(KEYS.format("b" * 43))
    service.process.send_signal(signal.SIGHUP)
    service.event("reloaded")
    refused = service.ask(f"{DISK}?{query}", FIRST)
    assert (refused.status, refused.json["error"]["code"]) == (401, "invalid_signature")
    # An address that ends between two requests.
    query, expires_at = SignedUrls(keys).sign("disk.img", 3, "bytes")
    answered = 0
    while service.ask(f"{DISK}?{query}", FIRST).status == 206:
        answered += 1
        assert time.time() < expires_at + 1
    assert answered > 1


def test_an_image_that_becomes_private_is_closed(
    folder: Path, serve: Callable[..., RunningService]
) -> None:
    service = serve(folder, "--server", "uvicorn")
    assert [service.ask(DISK, FIRST).status for _ in range(3)] == [206] * 3
    write_manifest(folder, public=False)
    assert service.ask(DISK, FIRST).status == 403
    write_manifest(folder, public=True)
    assert [service.ask(DISK, FIRST).status for _ in range(2)] == [206] * 2
    (folder / "disk.img").unlink()
    assert service.ask(DISK, FIRST).status == 404


@pytest.mark.parametrize("limit", ["requests_per_s=0.001", "requests_in_flight=1"])
def test_limits_hold(folder: Path, serve: Callable[..., RunningService], limit: str) -> None:
    with (folder / "disk.img").open("r+b") as file:
        file.truncate(1 << 30)
    service = serve(folder, "--server", "uvicorn", "--set", f"limits.{limit}")
    assert service.ask(DISK, FIRST).status == 206
    if limit.startswith("requests_in_flight"):
        assert service.ask(DISK, FIRST).status == 206
        slow = service.connect()
        slow.request("GET", DISK)
        response = slow.getresponse()
        assert service.ask(DISK, FIRST).json["error"]["limit"] == "requests_in_flight"
        response.close()
        slow.close()
    else:
        assert service.ask(DISK, FIRST).json["error"]["limit"] == "requests_per_s"


def test_requests_that_come_together_are_answered_in_order(uvicorn: RunningService) -> None:
    """Of every kind: like the one before, long, with a body, the last one."""
    spans = [(0, 9), (5, 20), (7, 400_000), (9, 9), (1, 300_000), (2, 2), (600_000, 600_122)]
    asked = b"".join(
        f"GET {DISK} HTTP/1.1\r\nHost: x\r\nRange: bytes={first}-{last}\r\n\r\n".encode()
        for first, last in spans
    )
    asked += f"GET {DISK} HTTP/1.1\r\nHost: x\r\nRange: bytes=3-3\r\n".encode()
    with socket.create_connection((uvicorn.host, uvicorn.port), PATIENCE_S) as client:
        # A first one alone, so that those behind it may be answered as it was.
        client.sendall(asked[: asked.index(b"\r\n\r\n") + 4])
        received = client.recv(100_000)
        client.sendall(asked + b"Content-Length: 3\r\n\r\nxyz")
        client.sendall(f"GET {DISK} HTTP/1.1\r\nHost: x\r\n".encode())
        client.sendall(b"Range: bytes=4-4\r\nConnection: close\r\n\r\n")
        while chunk := client.recv(1 << 20):
            received += chunk
    bodies = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 206 ")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        bodies.append(rest[:length])
        received = rest[length:]
    expected = [BYTES[first : last + 1] for first, last in [spans[0], *spans, (3, 3), (4, 4)]]
    assert bodies == expected


def test_a_range_of_any_length_comes_to_the_same(uvicorn: RunningService) -> None:
    for digits, status in ((1, 206), (3, 206), (200, 206), (33_000, 431), (3, 206)):
        answer = uvicorn.ask(DISK, {"Range": f"bytes=0-{'9' * digits}"})
        assert answer.status == status


def test_a_client_that_reads_slowly_gets_every_byte(uvicorn: RunningService) -> None:
    random_order = random.Random(3)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE_S)
        client.connect((uvicorn.host, uvicorn.port))
        for _ in range(20):
            start = random_order.randrange(400_000)
            asked = f"Range: bytes={start}-{start + 99_999}"
            client.sendall(f"GET {DISK} HTTP/1.1\r\nHost: x\r\n{asked}\r\n\r\n".encode())
            received = b""
            while len(received.partition(b"\r\n\r\n")[2]) < 100_000:
                received += client.recv(3000)
            assert received.partition(b"\r\n\r\n")[2] == BYTES[start : start + 100_000]
