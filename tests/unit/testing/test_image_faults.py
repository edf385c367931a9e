"""The test server is wrong on command: in bodies, headers, connections and pace."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer, SyntheticImage
from support.image_client import DATA, IMAGE, Reply, ask, connect, read_to_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with ImageServer({"disk.img": IMAGE, "huge.img": SyntheticImage(1 << 40)}) as server:
        yield server


# ── wrong responses ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429, 500, 503, 599])
def test_status(server: ImageServer, status: int) -> None:
    server.behaviour = Behaviour(status=status, retry_after_s=3)
    reply = ask(server, "bytes=0-9")
    assert (reply.status, reply.headers["retry-after"]) == (status, "3")
    assert reply.headers["access-control-allow-origin"] == "*"
    assert ask(server, method="HEAD").status == status


@pytest.mark.parametrize("status", [403, 405])
def test_head_refused(server: ImageServer, status: int) -> None:
    server.behaviour = Behaviour(head_status=status)
    assert ask(server, method="HEAD").status == status
    assert ask(server, "bytes=0-9").status == 206


def test_head_without_length(server: ImageServer) -> None:
    server.behaviour = Behaviour(head_length=False)
    reply = ask(server, method="HEAD")
    assert reply.status == 200
    assert "content-length" not in reply.headers
    assert ask(server).headers["content-length"] == "300000"


def test_range_ignored(server: ImageServer) -> None:
    server.behaviour = Behaviour(ignore_range=True, accept_ranges=False)
    reply = ask(server, "bytes=0-9")
    assert (reply.status, reply.body) == (200, DATA)
    assert not {"content-range", "accept-ranges"} & set(reply.headers)


def test_range_ignored_leaves_time_to_stop(server: ImageServer) -> None:
    server.behaviour = Behaviour(ignore_range=True)
    with connect(server, path="/huge.img", extra="Range: bytes=0-9\r\n") as client:
        client.recv(100)
    server.wait_for(lambda s: s.requests[0].is_finished)
    (request,) = server.requests
    assert request.aborted
    assert request.status == 200
    assert request.bytes_sent < 8 << 20


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("shifted", "bytes 522-531/300000"),
        ("wrong-size", "bytes 10-19/300512"),
        ("no-size", "bytes 10-19/*"),
        ("malformed", "bytes 10..19 of 300000"),
        ("missing", None),
    ],
)
def test_wrong_content_range(server: ImageServer, fault: Any, found: str | None) -> None:
    server.behaviour = Behaviour(content_range=fault)
    reply = ask(server, "bytes=10-19")
    assert (reply.status, reply.body) == (206, DATA[10:20])
    assert reply.headers.get("content-range") == found


def test_short_and_long_bodies(server: ImageServer) -> None:
    server.behaviour = Behaviour(short_by=3)
    reply = ask(server, "bytes=0-9")
    assert (reply.body, reply.headers["content-length"]) == (DATA[:7], "7")
    assert reply.headers["content-range"] == "bytes 0-9/300000"
    server.behaviour = Behaviour(long_by=3)
    reply = ask(server, "bytes=0-9")
    assert (reply.body, reply.headers["content-length"]) == (DATA[:10] + b"\xff" * 3, "13")
    server.behaviour = Behaviour(short_by=100)
    assert ask(server, "bytes=0-9").body == b""


def test_corrupt_byte(server: ImageServer) -> None:
    server.behaviour = Behaviour(corrupt_at=15)
    damaged = bytearray(DATA[10:20])
    damaged[5] ^= 0xFF
    assert ask(server, "bytes=10-19").body == damaged
    assert ask(server, "bytes=16-19").body == DATA[16:20]


def test_chunked(server: ImageServer) -> None:
    server.behaviour = Behaviour(chunked=True)
    reply = ask(server, "bytes=0-99999")
    assert reply.body == DATA[:100_000]
    assert reply.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in reply.headers


def test_gzip(server: ImageServer) -> None:
    server.behaviour = Behaviour(coding="gzip")
    reply = ask(server, "bytes=0-999")
    assert reply.headers["content-encoding"] == "gzip"
    assert gzip.decompress(reply.body) == DATA[:1000]
    assert "content-length" not in ask(server, method="HEAD").headers
    server.behaviour = Behaviour(coding="gzip-lie")
    reply = ask(server, "bytes=0-999")
    assert (reply.headers["content-encoding"], reply.body) == ("gzip", DATA[:1000])


def test_multipart(server: ImageServer) -> None:
    server.behaviour = Behaviour(multipart=True)
    reply = ask(server, "bytes=0-9")
    assert reply.status == 206
    boundary = reply.headers["content-type"].removeprefix("multipart/byteranges; boundary=")
    head, _, rest = reply.body.partition(b"\r\n\r\n")
    assert b"Content-Range: bytes 0-9/300000" in head
    assert rest == DATA[:10] + f"\r\n--{boundary}--\r\n".encode()
    assert "content-range" not in reply.headers
    assert int(reply.headers["content-length"]) == len(reply.body)


def test_largest_range(server: ImageServer) -> None:
    server.behaviour = Behaviour(max_range=100)
    assert ask(server, "bytes=0-99").status == 206
    assert ask(server, "bytes=0-100").status == 413


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects(server: ImageServer, status: int) -> None:
    there = server.url("disk.img", host="localhost")
    server.image("huge.img").behaviour = Behaviour(redirect_status=status, redirect_to=there)
    reply = ask(server, path="/huge.img")
    assert (reply.status, reply.headers["location"]) == (status, there)
    with urllib.request.urlopen(server.url("huge.img")) as response:
        assert response.read() == DATA
    assert server.image_requests("disk.img")[0].headers["host"] == f"localhost:{server.port}"


# ── headers ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("cors", "origin", "exposed"),
    [
        ("full", "*", True),
        ("hidden", "*", False),
        ("none", None, False),
        ("credentials", "http://a.example", True),
    ],
)
def test_cors(server: ImageServer, cors: Any, origin: str | None, *, exposed: bool) -> None:
    server.behaviour = Behaviour(cors=cors)
    for method in ("GET", "HEAD", "OPTIONS"):
        headers = ask(server, method=method, Origin="http://a.example").headers
        assert headers.get("access-control-allow-origin") == origin
        assert ("access-control-expose-headers" in headers) == exposed
        assert ("access-control-allow-credentials" in headers) == (cors == "credentials")


def test_preflight_refused(server: ImageServer) -> None:
    server.behaviour = Behaviour(preflight_status=403)
    reply = ask(server, method="OPTIONS")
    assert reply.status == 403
    assert "access-control-allow-origin" not in reply.headers
    assert ask(server).status == 200


@pytest.mark.parametrize(
    ("validators", "etag", "date"),
    [
        ("etag", r'"[^"]+"', False),
        ("weak", r'W/"[^"]+"', False),
        ("last-modified", None, True),
        ("none", None, False),
    ],
)
def test_validators_missing(
    server: ImageServer, validators: Any, etag: str | None, *, date: bool
) -> None:
    server.behaviour = Behaviour(validators=validators)
    headers = ask(server, "bytes=0-9").headers
    assert ("last-modified" in headers) == date
    if etag is None:
        assert "etag" not in headers
    else:
        assert re.fullmatch(etag, headers["etag"])


def test_validators_changing(server: ImageServer) -> None:
    server.behaviour = Behaviour(validators="changing")
    replies = [ask(server, "bytes=0-9") for _ in range(3)]
    assert len({reply.headers["etag"] for reply in replies}) == 3
    assert len({reply.headers["last-modified"] for reply in replies}) == 3


def test_other_headers(server: ImageServer) -> None:
    server.behaviour = Behaviour(
        corp=None,
        cache_control="public, max-age=60",
        content_type="text/html",
        headers=(("accept-ranges", "none"), ("X-More", "1"), ("ETag", "")),
    )
    headers = ask(server).headers
    assert "cross-origin-resource-policy" not in headers
    assert headers["cache-control"] == "public, max-age=60"
    assert headers["content-type"] == "text/html"
    assert (headers["accept-ranges"], headers["x-more"]) == ("none", "1")
    assert "etag" not in headers


# ── the connection ────────────────────────────────────────────────────────────────────────────────


def test_reset_before_the_headers(server: ImageServer) -> None:
    server.behaviour = Behaviour(reset=True)
    with connect(server) as client, pytest.raises(ConnectionResetError):
        client.recv(100)
    (request,) = server.requests
    assert request.status is None
    assert request.aborted


def test_reset_in_the_body(server: ImageServer) -> None:
    server.behaviour = Behaviour(reset_after=1000)
    with connect(server) as client, pytest.raises(ConnectionResetError):
        read_to_end(client)
    server.wait_for(lambda s: s.requests[0].is_finished)
    (request,) = server.requests
    assert (request.status, request.bytes_sent, request.aborted) == (200, 1000, True)


@pytest.mark.parametrize("after", [0, 1, 299_999])
def test_closed_in_the_body(server: ImageServer, after: int) -> None:
    server.behaviour = Behaviour(close_after=after)
    with pytest.raises(http.client.IncompleteRead) as error:
        ask(server)
    assert error.value.partial == DATA[:after]
    assert server.requests[0].aborted


def test_closed_in_a_chunked_body(server: ImageServer) -> None:
    server.behaviour = Behaviour(close_after=1000, chunked=True)
    with pytest.raises(http.client.IncompleteRead):
        ask(server)


def test_stall_before_the_headers(server: ImageServer) -> None:
    server.behaviour = Behaviour(stall=True)
    with connect(server) as client:
        server.wait_for(lambda s: len(s.requests) == 1)
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10)
        server.release()
        assert client.recv(12) == b"HTTP/1.1 200"


def test_stall_in_the_body(server: ImageServer) -> None:
    server.behaviour = Behaviour(stall_after=1000)
    with connect(server, extra="Connection: close\r\n") as client:
        server.wait_for(lambda s: s.requests[0].bytes_sent == 1000)
        assert not server.requests[0].is_finished
        assert server.in_flight == 1
        server.release()
        assert read_to_end(client).endswith(b"\r\n\r\n" + DATA)
    assert server.in_flight == 0


def test_release_reaches_requests_that_have_yet_to_stall(server: ImageServer) -> None:
    server.behaviour = Behaviour(stall=True, stall_after=1000, latency_s=0.02)
    with connect(server, extra="Connection: close\r\n") as client:
        server.wait_for(lambda s: len(s.requests) == 1)
        server.release()
        assert read_to_end(client).endswith(DATA)


def test_release_is_not_for_later_requests(server: ImageServer) -> None:
    server.behaviour = Behaviour(stall=True)
    server.release()
    with connect(server) as client:
        server.wait_for(lambda s: len(s.requests) == 1)
        assert server.requests[0].status is None
        server.release()
        assert client.recv(12) == b"HTTP/1.1 200"


def test_a_client_that_leaves_a_stalled_response(server: ImageServer) -> None:
    server.behaviour = Behaviour(stall=True)
    with connect(server):
        server.wait_for(lambda s: len(s.requests) == 1)
    server.wait_for(lambda s: s.requests[0].aborted)
    assert server.in_flight == 0


def test_stop_does_not_wait_for_stalled_responses(server: ImageServer) -> None:
    server.behaviour = Behaviour(stall=True)
    with connect(server) as client:
        server.wait_for(lambda s: len(s.requests) == 1)
        server.stop()
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""
    assert server.requests[0].aborted


def test_server_comes_back_on_its_port(server: ImageServer) -> None:
    port = server.port
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        ask(server)
    server.start()
    assert server.port == port
    assert ask(server).body == DATA


# ── the pace ──────────────────────────────────────────────────────────────────────────────────────


def took_s(action: Callable[[], object]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


def test_latency(server: ImageServer) -> None:
    server.behaviour = Behaviour(latency_s=0.05)
    assert took_s(lambda: ask(server, "bytes=0-9")) >= 0.05


def test_bandwidth_is_shared_by_connections(server: ImageServer) -> None:
    """Only the lower bound is certain on a busy machine: never faster than the link."""
    server.behaviour = Behaviour(bandwidth_bytes_per_s=2_000_000)

    def both() -> None:
        threads = [threading.Thread(target=ask, args=(server, "bytes=0-99999")) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert took_s(both) >= 200_000 / 2_000_000 - 0.06
    assert [request.bytes_sent for request in server.requests] == [100_000, 100_000]


def test_drip(server: ImageServer) -> None:
    server.behaviour = Behaviour(drip_bytes=100, drip_interval_s=0.01)
    reply: list[Reply] = []
    assert took_s(lambda: reply.append(ask(server, "bytes=0-999"))) >= 0.09
    assert reply[0].body == DATA[:1000]


# ── whom a behaviour meets ────────────────────────────────────────────────────────────────────────


def test_an_images_own_behaviour(server: ImageServer) -> None:
    server.behaviour = Behaviour(status=500)
    server.image("disk.img").behaviour = Behaviour(status=403)
    assert ask(server).status == 403
    assert ask(server, path="/huge.img").status == 500
    server.image("disk.img").behaviour = None
    assert ask(server).status == 500


def test_one_shot_faults(server: ImageServer) -> None:
    server.fail_next(Behaviour(status=503), times=2)
    server.fail_next(Behaviour(status=500), only_when=lambda head: head.method == "HEAD")
    assert server.faults_left == 3
    assert ask(server, method="OPTIONS").status == 204
    assert [ask(server).status for _ in range(3)] == [503, 503, 200]
    assert [ask(server, method="HEAD").status for _ in range(2)] == [500, 200]
    assert server.faults_left == 0


def test_one_shot_faults_of_an_image(server: ImageServer) -> None:
    server.fail_next(Behaviour(status=503), image="disk.img")
    assert ask(server, "bytes=0-9", path="/huge.img").status == 206
    assert ask(server).status == 503


@pytest.mark.parametrize(
    "make",
    [
        lambda: Behaviour(cors="some"),  # type: ignore[arg-type]
        lambda: Behaviour(drip_bytes=0),
        lambda: Behaviour(short_by=-1),
        lambda: Behaviour(redirect_status=302),
        lambda: Behaviour.from_json({"no_such": 1}),
        lambda: Behaviour.from_json({"status": "404"}),
        lambda: Behaviour.from_json({"stall": 1}),
    ],
)
def test_behaviours_that_make_no_sense(make: Callable[[], Behaviour]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        make()


def test_behaviour_through_json() -> None:
    behaviour = Behaviour(status=503, corp=None, headers=(("X-A", "1"),), latency_s=0.5)
    assert Behaviour.from_json(json.loads(json.dumps(behaviour.to_json()))) == behaviour
    assert Behaviour.from_json({"headers": {"X-A": "1"}}).headers == (("X-A", "1"),)
    assert Behaviour().to_json() == {}
    assert replace(behaviour, status=None).status is None
