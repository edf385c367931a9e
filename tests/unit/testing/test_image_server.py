"""The test server: correct by default, and it counts."""

from __future__ import annotations

import gc
import http.client
import json
import re
import socket
import sys
import time
import urllib.request
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest

from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer, SyntheticImage
from lib.server_process import ServerProcess
from support.image_client import DATA, IMAGE, ask, connect, read_to_end

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with ImageServer({"disk.img": IMAGE, "huge.img": SyntheticImage(1 << 40)}) as server:
        yield server


# ── correct by default ────────────────────────────────────────────────────────────────────────────


def test_whole_image(server: ImageServer) -> None:
    reply = ask(server)
    assert (reply.status, reply.body) == (200, DATA)
    assert reply.headers["content-length"] == "300000"
    assert reply.headers["accept-ranges"] == "bytes"
    assert "content-range" not in reply.headers
    assert "cache-control" not in reply.headers


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=299999-", 299_999, 300_000),
        ("bytes=-5", 299_995, 300_000),
        ("bytes=-999999", 0, 300_000),
        ("bytes=299000-400000", 299_000, 300_000),
    ],
)
def test_single_ranges(server: ImageServer, asked: str, start: int, stop: int) -> None:
    reply = ask(server, asked)
    assert (reply.status, reply.body) == (206, DATA[start:stop])
    assert reply.headers["content-range"] == f"bytes {start}-{stop - 1}/300000"
    assert reply.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize("asked", ["bytes=300000-", "bytes=300000-300001", "bytes=-0"])
def test_ranges_outside(server: ImageServer, asked: str) -> None:
    reply = ask(server, asked)
    assert reply.status == 416
    assert reply.headers["content-range"] == "bytes */300000"


@pytest.mark.parametrize("asked", ["bytes=5-2", "lines=1-2", "bytes=a-b", "bytes=0-1,4-5"])
def test_ranges_that_are_ignored(server: ImageServer, asked: str) -> None:
    reply = ask(server, asked)
    assert (reply.status, len(reply.body)) == (200, 300_000)


def test_far_offsets(server: ImageServer) -> None:
    offset = (1 << 40) - 10
    reply = ask(server, f"bytes={offset}-", path="/huge.img")
    assert reply.body == SyntheticImage(1 << 40).read(offset, 10)
    assert reply.headers["content-range"] == f"bytes {offset}-{(1 << 40) - 1}/{1 << 40}"


def test_head_tells_the_same_without_a_body(server: ImageServer) -> None:
    head, get = ask(server, method="HEAD"), ask(server)
    assert (head.status, head.body, head.headers) == (200, b"", get.headers)
    assert ask(server, "bytes=0-9", method="HEAD").status == 200, "Range is for GET alone"


def test_validators(server: ImageServer) -> None:
    reply = ask(server)
    assert re.fullmatch(r'"[^"]+"', reply.headers["etag"])
    assert parsedate_to_datetime(reply.headers["last-modified"]).year >= 2020
    again = ask(server, "bytes=0-9")
    for name in ("etag", "last-modified"):
        assert again.headers[name] == reply.headers[name]


def test_conditions(server: ImageServer) -> None:
    first = ask(server)
    etag, date = first.headers["etag"], first.headers["last-modified"]
    assert ask(server, If_None_Match=etag).status == 304
    assert ask(server, If_Match='"other"').status == 412
    assert ask(server, "bytes=0-9", If_Match=etag).status == 206
    assert ask(server, "bytes=0-9", If_Range=etag).status == 206
    assert ask(server, "bytes=0-9", If_Range=date).status == 206
    assert ask(server, "bytes=0-9", If_Range='"other"').status == 200
    assert ask(server, "bytes=0-9", If_Range=f"W/{etag}").status == 200
    assert ask(server, If_Modified_Since=date).status == 304
    assert ask(server, If_Unmodified_Since="Thu, 01 Jan 1998 00:00:00 GMT").status == 412


@pytest.mark.parametrize("path", ["/disk.img", "/nothing"])
def test_cors_on_every_response(server: ImageServer, path: str) -> None:
    reply = ask(server, path=path, Origin="http://a.example")
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["cross-origin-resource-policy"] == "cross-origin"
    exposed = reply.headers["access-control-expose-headers"].lower().split(", ")
    assert {"etag", "content-range", "accept-ranges", "content-length"} <= set(exposed)


def test_preflight(server: ImageServer) -> None:
    reply = ask(server, method="OPTIONS", Access_Control_Request_Headers="range,if-range")
    assert reply.status == 204
    assert reply.headers["access-control-allow-headers"] == "range,if-range"
    assert "GET" in reply.headers["access-control-allow-methods"]
    assert server.image_requests("disk.img") == []
    assert [request.method for request in server.requests] == ["OPTIONS"]


def test_other_methods_and_names(server: ImageServer) -> None:
    assert ask(server, method="DELETE").status == 405
    assert ask(server, path="/nothing").status == 404
    assert ask(server, path="/disk.img?token=1").status == 200
    server.add("ein Bild ü.img", b"abc")
    with urllib.request.urlopen(server.url("ein Bild ü.img")) as response:
        assert response.read() == b"abc"


def test_empty_image(server: ImageServer) -> None:
    server.add("empty.img", b"")
    assert ask(server, path="/empty.img").headers["content-length"] == "0"
    reply = ask(server, "bytes=0-0", path="/empty.img")
    assert (reply.status, reply.headers["content-range"]) == (416, "bytes */0")


def test_file(server: ImageServer, tmp_path: Path) -> None:
    path = tmp_path / "a.img"
    path.write_bytes(DATA)
    server.add("file.img", path)
    assert ask(server, "bytes=5-1004", path="/file.img").body == DATA[5:1005]
    etag = ask(server, path="/file.img").headers["etag"]
    with path.open("ab") as file:
        file.write(b"more")
    reply = ask(server, path="/file.img")
    assert reply.body == DATA + b"more"
    assert reply.headers["etag"] != etag


def test_keep_alive(server: ImageServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/disk.img", headers={"Range": "bytes=0-9"})
    assert connection.getresponse().read() == DATA[:10]
    first = connection.sock
    connection.request("HEAD", "/disk.img")
    connection.getresponse().read()
    connection.request("GET", "/disk.img")
    assert connection.getresponse().read() == DATA
    assert connection.sock is first
    connection.close()


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nbad line\r\n\r\n"])
def test_malformed_requests(server: ImageServer, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(sent)
        assert read_to_end(client).startswith(b"HTTP/1.1 400 ")


def test_a_request_head_that_is_too_long(server: ImageServer) -> None:
    with connect(server, extra=f"X-Long: {'x' * 100_000}\r\n") as client:
        assert client.recv(100).startswith(b"HTTP/1.1 431 ")


# ── versions ──────────────────────────────────────────────────────────────────────────────────────


def test_replace_makes_another_version(server: ImageServer) -> None:
    before = ask(server)
    server.image("disk.img").replace(DATA)
    same = ask(server)
    assert same.body == before.body
    server.image("disk.img").replace(b"new")
    after = ask(server)
    assert after.body == b"new"
    for name in ("etag", "last-modified"):
        assert len({reply.headers[name] for reply in (before, same, after)}) == 3


def test_a_response_under_way_keeps_its_version(server: ImageServer) -> None:
    server.behaviour = Behaviour(stall_after=1000)
    with connect(server, extra="Connection: close\r\n") as client:
        server.wait_for(lambda s: s.requests[0].bytes_sent == 1000)
        server.image("disk.img").replace(bytes(300_000))
        server.release()
        assert read_to_end(client).endswith(DATA)


# ── what is counted ───────────────────────────────────────────────────────────────────────────────


def test_requests_are_recorded(server: ImageServer) -> None:
    ask(server, "bytes=10-19", path="/disk.img?key=1", X_Test="yes")
    ask(server, path="/nothing")
    server.wait_for(lambda s: all(request.is_finished for request in s.requests))
    first, second = server.requests
    assert (first.method, first.path, first.query) == ("GET", "/disk.img", "key=1")
    assert (first.image, first.range, first.byte_range) == ("disk.img", "bytes=10-19", (10, 20))
    assert (first.status, first.bytes_sent, first.aborted) == (206, 10, False)
    assert first.headers["x-test"] == "yes"
    assert first.finished_s is not None
    assert first.started_s <= first.finished_s <= time.monotonic()
    assert (second.image, second.status, second.byte_range) == (None, 404, None)
    assert server.image_requests("disk.img") == [first]


def test_requests_in_flight(server: ImageServer) -> None:
    server.behaviour = Behaviour(stall=True)
    with connect(server), connect(server), connect(server, path="/nothing"):
        server.wait_for(lambda s: len(s.requests) == 3)
        assert (server.in_flight, server.max_in_flight) == (2, 2), "a 404 is no image"
    server.wait_for(lambda s: s.in_flight == 0)
    assert server.max_in_flight == 2
    server.behaviour = Behaviour()
    for _ in range(20):  # what a client has, the server counts as over
        ask(server, "bytes=0-9")
        assert server.in_flight == 0


def test_forget(server: ImageServer) -> None:
    ask(server)
    server.wait_for(lambda s: s.in_flight == 0)
    server.forget()
    assert server.requests == []
    assert server.max_in_flight == 0


def test_wait_for_tells_what_was_seen(server: ImageServer) -> None:
    ask(server, "bytes=0-9")
    with pytest.raises(TimeoutError, match="bytes=0-9"):
        server.wait_for(lambda s: len(s.requests) == 2, timeout_s=0.01)


async def test_until_leaves_the_event_loop_free(server: ImageServer) -> None:
    server.behaviour = Behaviour(stall=True)
    with connect(server):
        await server.until(lambda s: len(s.requests) == 1)


@pytest.mark.parametrize("name", ["", "disk.img", "_control/requests"])
def test_names_that_cannot_be(server: ImageServer, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        server.add(name, b"")


# ── from outside ──────────────────────────────────────────────────────────────────────────────────


def command(server: ImageServer, name: str, value: object = None) -> Any:
    method = "POST" if value is not None else "GET"
    body = None if value is None else json.dumps(value).encode()
    reply = ask(server, method=method, path=f"/_control/{name}", body=body)
    assert reply.headers["access-control-allow-origin"] == "*"
    return {"status": reply.status} | json.loads(reply.body)


def test_control_requests(server: ImageServer) -> None:
    ask(server, "bytes=0-9")
    ask(server, "bytes=0-19", path="/huge.img")
    server.wait_for(lambda s: s.in_flight == 0)
    response = command(server, "requests")
    assert [request["bytes_sent"] for request in response["requests"]] == [10, 20]
    assert response["max_in_flight"] == 1
    (one,) = command(server, "requests?image=huge.img")["requests"]
    assert (one["range"], one["headers"]["range"]) == ("bytes=0-19", "bytes=0-19")
    assert command(server, "forget", {})["status"] == 200
    assert command(server, "requests")["requests"] == []


def test_control_behaviour(server: ImageServer) -> None:
    command(server, "behaviour", {"behaviour": {"status": 500}})
    command(server, "behaviour", {"behaviour": {"status": 403}, "image": "disk.img"})
    assert (ask(server).status, ask(server, path="/huge.img").status) == (403, 500)
    command(server, "behaviour", {"behaviour": None, "image": "disk.img"})
    command(server, "behaviour", {"behaviour": {}})
    assert ask(server).status == 200
    fault = {"behaviour": {"status": 503}, "times": 1, "method": "GET", "range": "bytes=0-9"}
    command(server, "behaviour", fault)
    assert [ask(server, at).status for at in ("bytes=0-8", "bytes=0-9", "bytes=0-9")] == [
        206,
        503,
        206,
    ]


def test_control_replace_and_release(server: ImageServer) -> None:
    ask(server, method="POST", path="/_control/replace?image=disk.img", body=b"new bytes")
    assert ask(server).body == b"new bytes"
    command(server, "replace", {"image": "disk.img", "size": 10, "seed": 3})
    assert ask(server).body == SyntheticImage(10, 3).read(0, 10)
    server.behaviour = Behaviour(stall=True)
    with connect(server) as client:
        server.wait_for(lambda s: s.in_flight == 1)
        command(server, "release", {})
        assert client.recv(12) == b"HTTP/1.1 200"


def test_control_waits(server: ImageServer) -> None:
    server.behaviour = Behaviour(stall=True)
    with connect(server) as client:
        (one,) = command(server, "requests?arrived=1")["requests"]
        assert one["finished_s"] is None
        late = command(server, "requests?finished=1&timeout_s=0.01")
        assert (late["status"], len(late["requests"])) == (504, 1)
        server.release()
        assert client.recv(12) == b"HTTP/1.1 200"
    assert command(server, "requests?finished=1&image=disk.img")["requests"][0]["status"] == 200


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("behaviour", {"behaviour": {"no_such": 1}}, 400),
        ("behaviour", {"behaviour": {}, "image": "nothing"}, 400),
        ("behaviour", [], 400),
        ("replace", {"image": "disk.img"}, 400),
        ("nothing", {}, 404),
    ],
)
def test_control_refuses(server: ImageServer, name: str, value: object, status: int) -> None:
    response = command(server, name, value)
    assert response["status"] == status
    assert response["error"]


def test_command_line(tmp_path: Path) -> None:
    (tmp_path / "a.img").write_bytes(b"file")
    arguments = [str(tmp_path / "a.img"), "--synthetic", "b.img=1000:2"]
    command = [sys.executable, "-m", "aero_browser_disk.testing.image_server", *arguments]
    with ServerProcess(command) as server:
        with urllib.request.urlopen(f"{server.url}/a.img") as response:
            assert response.read() == b"file"
        with urllib.request.urlopen(f"{server.url}/b.img") as response:
            assert response.read() == SyntheticImage(1000, 2).read(0, 1000)
        server.process.terminate()
        assert server.wait()[0] == 0


def test_stop_leaves_no_connection_that_was_just_made() -> None:
    for _ in range(30):
        server = ImageServer({"disk.img": b"abc"})
        server.start()
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            server.stop()
            with suppress(ConnectionResetError):
                assert client.recv(1) == b""
    gc.collect()  # an unclosed transport would warn, which is an error here
