"""Servers that break the rules, and redirects, behind the relay."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

import pytest

from ..conftest import RunningService
from .relayed_server import (
    DISK,
    ETAG,
    FIRST,
    IMAGE,
    LIMIT,
    PAGE,
    RelayedServer,
    Request,
    gzip,
    serves,
)

if TYPE_CHECKING:
    from collections.abc import Callable


# ── servers that break the rules ──


def whole(request: Request) -> None:
    request.respond(200, {"ETag": ETAG}, IMAGE)


def without_end(request: Request) -> None:
    request.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


def other_part(request: Request) -> None:
    request.respond(206, {"Content-Range": "bytes 512-1023/300000"}, IMAGE[512:1024])


def longer_part(request: Request) -> None:
    request.respond(206, {"Content-Range": "bytes 0-1023/300000"}, IMAGE[:1024])


def no_part(request: Request) -> None:
    request.respond(206, {}, IMAGE[:512])


def unknown_size(request: Request) -> None:
    request.respond(206, {"Content-Range": "bytes 0-511/*"}, IMAGE[:512])


def wrong_length(request: Request) -> None:
    request.respond(206, {"Content-Range": "bytes 0-511/300000"}, IMAGE[:600])


def several_parts(request: Request) -> None:
    request.respond(206, {"Content-Type": "multipart/byteranges; boundary=x"}, b"--x\r\n")


def endless_headers(request: Request) -> None:
    request.raw("HTTP/1.1 206 Partial\r\n", *(b"a: b\r\n" * 1000 for _ in range(1000)))


def two_lengths(request: Request) -> None:
    request.raw(
        "HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-511/300000\r\n"
        "Content-Length: 512\r\nContent-Length: 5\r\n\r\n",
        IMAGE[:512],
    )


def no_http(request: Request) -> None:
    request.raw("SSH-2.0-OpenSSH\r\n")


def nothing(request: Request) -> None:
    request.raw()


def switching(request: Request) -> None:
    request.raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", IMAGE[:512])


def fails(request: Request) -> None:
    request.respond(500, {}, b"a trace with secrets")


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (gzip, "relay_encoded"),
        (whole, "relay_without_ranges"),
        (without_end, "relay_without_ranges"),
        (other_part, "relay_wrong"),
        (longer_part, "relay_wrong"),
        (no_part, "relay_wrong"),
        (unknown_size, "relay_wrong"),
        (wrong_length, "relay_wrong"),
        (several_parts, "relay_wrong"),
        (endless_headers, "relay_failed"),
        (two_lengths, "relay_failed"),
        (no_http, "relay_failed"),
        (nothing, "relay_failed"),
        (switching, "relay_failed"),
        (fails, "relay_failed"),
    ],
)
def test_a_response_that_breaks_the_rules_becomes_an_error(
    relay: RunningService,
    archive: RelayedServer,
    behaviour: Callable[[Request], None],
    code: str,
) -> None:
    archive.behaviour = behaviour
    answer = relay.ask(DISK, {**FIRST, "Origin": PAGE})
    assert (answer.status, answer.json["error"]["code"]) == (502, code)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert b"secrets" not in answer.body
    archive.behaviour = serves()
    assert relay.ask(DISK, FIRST).body == IMAGE[:512]


@pytest.mark.parametrize(
    ("status", "expected", "code"),
    [
        (404, 404, "no_such_image"),
        (410, 404, "no_such_image"),
        (401, 403, "relay_forbidden"),
        (403, 403, "relay_forbidden"),
        (429, 503, "relay_busy"),
        (503, 503, "relay_busy"),
        (400, 502, "relay_failed"),
    ],
)
def test_what_the_server_refuses(
    relay: RunningService, archive: RelayedServer, status: int, expected: int, code: str
) -> None:
    archive.behaviour = lambda request: request.respond(status, {"Retry-After": "7"})
    answer = relay.ask(DISK, FIRST)
    assert (answer.status, answer.json["error"]["code"]) == (expected, code)
    if expected == 503:
        assert answer.headers["retry-after"] == "7"


def test_a_small_image_of_a_server_without_ranges_comes_whole(
    relay: RunningService, archive: RelayedServer
) -> None:
    floppy = IMAGE[:LIMIT]
    archive.behaviour = lambda request: request.respond(200, {"ETag": ETAG}, floppy)
    answer = relay.ask(DISK, FIRST)
    assert (answer.status, answer.body) == (200, floppy)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize("sent", [0, 100])
def test_a_body_that_ends_early_is_never_whole(
    relay: RunningService, archive: RelayedServer, sent: int
) -> None:
    """Nothing came: an error. Some did: the connection ends before the length is reached."""

    def respond(request: Request) -> None:
        head = "HTTP/1.1 206 P\r\nContent-Range: bytes 0-511/300000\r\nContent-Length: 512\r\n\r\n"
        request.raw(head, IMAGE[:sent])

    archive.behaviour = respond
    connection = relay.connect()
    connection.request("GET", DISK, headers=FIRST)
    response = connection.getresponse()
    if sent == 0:
        assert response.status == 502
        response.read()
    else:
        assert response.status == 206
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
    connection.close()


# ── redirects ──


def redirects_to(location: str) -> Callable[[Request], None]:
    def respond(request: Request) -> None:
        if request.path == "/images/disk.img":
            request.respond(302, {"Location": location})
        else:
            serves()(request)

    return respond


@pytest.mark.parametrize("location", ["/mirror/a.img", "other.img", "{archive}/images/b/c.img?d=1"])
def test_redirects_to_what_is_on_the_list_are_followed(
    relay: RunningService, archive: RelayedServer, location: str
) -> None:
    archive.behaviour = redirects_to(location.format(archive=archive.url))
    answer = relay.ask(DISK, {"Range": "bytes=5-9", "If-Match": ETAG})
    assert (answer.status, answer.body) == (206, IMAGE[5:10])
    asked = archive.requests[-1]
    assert (asked.headers["Range"], asked.headers["If-Match"]) == ("bytes=5-9", ETAG)
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "location",
    [
        "/private/a.img",
        "/images/../private/a.img",
        "/images/%2e%2e/private/a.img",
        "/images\\..\\private",
        "{elsewhere}/images/disk.img",
        "//{elsewhere_host}/images/disk.img",
        "http://me:secret@{archive_host}/images/a.img",
        "http://2130706433:{port}/private",
        "https://{archive_host}/images/a.img",
        "http://169.254.169.254/images/",
        "file:///etc/passwd",
        "gopher://{archive_host}/images/",
        "",
    ],
)
def test_redirects_to_anything_else_are_not(
    relay: RunningService, archive: RelayedServer, elsewhere: RelayedServer, location: str
) -> None:
    host = archive.url.removeprefix("http://")
    archive.behaviour = redirects_to(
        location.format(
            elsewhere=elsewhere.url,
            elsewhere_host=elsewhere.url.removeprefix("http://"),
            archive_host=host,
            port=archive.server_port,
        )
    )
    answer = relay.ask(DISK, FIRST)
    assert (answer.status, answer.json["error"]["code"]) == (502, "relay_refused")
    assert {request.path for request in archive.requests} == {"/images/disk.img"}
    assert elsewhere.requests == []


def test_redirects_in_a_circle_end(relay: RunningService, archive: RelayedServer) -> None:
    archive.behaviour = lambda request: request.respond(302, {"Location": request.path})
    assert relay.ask(DISK, FIRST).status == 502
    assert len(archive.requests) == 6
