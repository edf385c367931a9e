"""How much may be asked for at once, and how large a request may be."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from .conftest import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import RunningService

DISK = "/disks/disk.img/bytes"
LIMIT = 8 << 20


def test_the_longest_range(service: RunningService) -> None:
    path = "/disks/5GiB.img/bytes"
    answer = service.ask(path, {"Range": f"bytes=4096-{4096 + LIMIT - 1}"})
    assert (answer.status, len(answer.body)) == (206, LIMIT)
    for value in (f"bytes=0-{LIMIT}", f"bytes=-{LIMIT + 1}", f"bytes=0-{10**12}"):
        for method in ("GET", "HEAD"):
            answer = service.ask(
                path, {"Range": value, "Origin": "https://a.example"}, method=method
            )
            assert answer.status == 413
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "etag" in answer.headers
            assert "content-range" not in answer.headers
            if method == "GET":
                assert answer.json["error"]["code"] == "range_too_long"
                assert answer.json["error"]["max_range_bytes"] == LIMIT
    # What counts is what there is, not what was asked for.
    assert service.ask(DISK, {"Range": "bytes=0-99999999999"}).status == 206
    # A condition that fails comes first.
    refused = service.ask(path, {"Range": "bytes=0-", "If-Match": '"other"'})
    assert refused.status == 412


@pytest.mark.parametrize("server", ["uvicorn", "granian"])
def test_an_open_end_gets_what_there_is_at_a_time(
    tmp_path: Path, serve: Callable[..., RunningService], server: str
) -> None:
    """`curl -C -` asks so, as often as it has to."""
    content = bytes(range(256)) * 40
    (tmp_path / "disk.img").write_bytes(content)
    options = ("--server", server, "--set", "bytes.max_range_bytes=4096")
    service = serve(tmp_path, *options)
    found = b""
    while len(found) < len(content):
        asked = {"Range": f"bytes={len(found)}-"}
        head = service.ask(DISK, asked, method="HEAD")
        answer = service.ask(DISK, asked)
        stop = min(len(found) + 4096, len(content))
        said = f"bytes {len(found)}-{stop - 1}/{len(content)}"
        assert (answer.status, head.status) == (206, 206)
        assert answer.headers["content-range"] == head.headers["content-range"] == said
        found += answer.body
    assert found == content
    assert service.ask(DISK, {"Range": f"bytes={len(content)}-"}).status == 416
    strict = serve(tmp_path, *options, "--set", "bytes.shorten_open_ranges=false")
    answer = strict.ask(DISK, {"Range": "bytes=0-"})
    assert (answer.status, answer.json["error"]["code"]) == (413, "range_too_long")
    assert strict.ask(DISK, {"Range": "bytes=9000-"}).body == content[9000:]


def test_metadata_tells_the_limit(service: RunningService) -> None:
    assert service.ask("/v1/images/disk.img/meta").json["max_range_bytes"] == LIMIT
    images = service.ask("/v1/images").json["images"]
    assert {image["max_range_bytes"] for image in images} == {LIMIT}


@pytest.fixture
def small(tmp_path: Path, serve: Callable[..., RunningService]) -> RunningService:
    (tmp_path / "disk.img").write_bytes(bytes(range(256)) * 32)
    (tmp_path / "empty.img").touch()
    options = ("bytes.max_range_bytes=4096", "bytes.range_required=true")
    return serve(tmp_path, *(word for option in options for word in ("--set", option)))


def test_ranges_may_be_required(small: RunningService) -> None:
    assert small.ask("/v1/images/disk.img/meta").json["max_range_bytes"] == 4096
    answer = small.ask(DISK)
    assert answer.status == 413
    assert answer.json["error"]["code"] == "range_required"
    assert answer.json["error"]["max_range_bytes"] == 4096
    etag = answer.headers["etag"]
    # The whole image is what these ask for, too.
    for headers in (
        {"Range": "sectors=0-1"},
        {"Range": "bytes=0-1", "If-Range": '"other"'},
    ):
        assert small.ask(DISK, headers).json["error"]["code"] == "range_required"
    assert small.ask(DISK, {"Range": "bytes=0-4095"}).status == 206
    assert small.ask(DISK, {"Range": "bytes=0-4096"}).status == 413
    assert small.ask(DISK, {"If-None-Match": etag}).status == 304
    # How a client that knows nothing yet learns the size; and there is nothing to cut here.
    assert small.ask(DISK, method="HEAD").headers["content-length"] == "8192"
    assert small.ask("/disks/empty.img/bytes").status == 200


def test_versioned_ids_are_immutable(tmp_path: Path, serve: Callable[..., RunningService]) -> None:
    for name in ("disk-v1", "disk-v1-draft"):
        (tmp_path / name).write_bytes(bytes(512))
    service = serve(tmp_path, "--set", "bytes.versioned_ids='.*-v[0-9]+'")
    said = service.ask("/disks/disk-v1/bytes", {"Range": "bytes=0-1"}).headers["cache-control"]
    assert said == "public, max-age=31536000, immutable, no-transform"
    said = service.ask("/disks/disk-v1-draft/bytes").headers["cache-control"]
    assert said == "public, max-age=300, no-transform"


def test_urls_and_headers_have_limits(service: RunningService) -> None:
    origin = {"Origin": "https://a.example"}
    assert service.ask(DISK + "?" + "a" * 2000, {"Range": "bytes=0-0"}).status == 206
    answer = service.ask(DISK + "?" + "a" * 3000, origin)
    assert (answer.status, answer.json["error"]["code"]) == (414, "url_too_long")
    assert answer.headers["access-control-allow-origin"] == "*"
    answer = service.ask(DISK, origin | {"X-Much": "a" * 33_000})
    assert (answer.status, answer.json["error"]["code"]) == (431, "headers_too_large")
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("server", ["uvicorn", "granian"])
def test_a_request_names_its_host_once(
    tmp_path: Path, serve: Callable[..., RunningService], server: str
) -> None:
    """RFC 9112 §3.2, RFC 9110 §4.2.1; HTTP/1.0 knows of none."""
    (tmp_path / "disk.img").write_bytes(bytes(512))
    service = serve(tmp_path, "--server", server)
    for version, hosts, status in (
        ("1.1", ["a"], 200),
        ("1.1", [], 400),
        ("1.1", ["a", "b"], 400),
        ("1.1", [""], 400),
        ("1.0", [], 200),
    ):
        with socket.create_connection((service.host, service.port), PATIENCE_S) as client:
            named = "".join(f"Host: {host}\r\n" for host in hosts)
            fields = f"{named}Origin: https://a.example\r\nConnection: close\r\n"
            client.sendall(f"GET {DISK} HTTP/{version}\r\n{fields}\r\n".encode())
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.split(b" ", 2)[1] == str(status).encode(), (version, hosts)
        assert b"\r\naccess-control-allow-origin: *\r\n" in answer
