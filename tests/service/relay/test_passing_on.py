"""What the relay passes on, and which requests it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..conftest import RunningService
from .relayed_server import (
    DISK,
    ETAG,
    FIRST,
    IMAGE,
    LIMIT,
    MODIFIED,
    PAGE,
    RelayedServer,
    Request,
    serves,
)

if TYPE_CHECKING:
    pass


def test_a_page_reads_a_range_with_the_servers_own_validators(
    relay: RunningService, archive: RelayedServer
) -> None:
    answer = relay.ask(DISK, {"Range": "bytes=1000-1999", "Origin": PAGE})
    assert answer.status == 206
    assert answer.body == IMAGE[1000:2000]
    assert answer.headers["content-range"] == f"bytes 1000-1999/{len(IMAGE)}"
    assert answer.headers["etag"] == ETAG
    assert answer.headers["last-modified"] == MODIFIED
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "public, max-age=300, no-transform"
    assert answer.headers["content-type"] == "application/octet-stream"
    asked = archive.requests[-1]
    assert asked.path == "/images/disk.img"
    assert asked.headers["Range"] == "bytes=1000-1999"
    assert asked.headers["Accept-Encoding"] == "identity"
    assert asked.headers["Host"] == archive.url.removeprefix("http://")


def test_head_has_the_size(relay: RunningService, archive: RelayedServer) -> None:
    answer = relay.ask(DISK, method="HEAD")
    assert (answer.status, answer.headers["content-length"]) == (200, str(len(IMAGE)))
    assert answer.headers["etag"] == ETAG
    assert archive.requests[-1].command == "HEAD"


def test_head_of_a_server_that_refuses_it(relay: RunningService, archive: RelayedServer) -> None:
    def respond(request: Request) -> None:
        request.respond(405, {}) if request.command == "HEAD" else serves()(request)

    archive.behaviour = respond
    answer = relay.ask(DISK, method="HEAD")
    assert (answer.status, answer.headers["content-length"]) == (200, str(len(IMAGE)))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=-512", IMAGE[-512:]),
        ("bytes=299000-", IMAGE[299_000:]),
        ("bytes=0-", IMAGE[:LIMIT]),
        ("bytes=299999-400000", IMAGE[-1:]),
        (f"bytes=0-{LIMIT - 1}", IMAGE[:LIMIT]),
    ],
)
def test_every_kind_of_range(relay: RunningService, header: str, expected: bytes) -> None:
    answer = relay.ask(DISK, {"Range": header})
    assert (answer.status, answer.body) == (206, expected)
    head = relay.ask(DISK, {"Range": header}, method="HEAD")
    assert head.status == 206
    for name in ("content-range", "content-length", "etag", "accept-ranges", "cache-control"):
        assert head.headers[name] == answer.headers[name]


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        (None, 413, "range_required"),
        ("bytes=9-1", 413, "range_required"),
        (f"bytes=0-{LIMIT}", 413, "range_too_long"),
        (f"bytes=-{LIMIT + 1}", 413, "range_too_long"),
        ("bytes=300000-", 416, "range_not_satisfiable"),
        ("bytes=300000-300001", 416, "range_not_satisfiable"),
        ("bytes=-0", 416, "range_not_satisfiable"),
        ("bytes=0-1,5-6", 416, "multiple_ranges"),
    ],
)
def test_what_is_no_range_of_the_image_is_refused(
    relay: RunningService, header: str | None, status: int, code: str
) -> None:
    answer = relay.ask(DISK, {} if header is None else {"Range": header})
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert answer.headers["cache-control"] == "no-store"
    if header is not None and header.startswith("bytes=300000"):
        assert answer.headers["content-range"] == f"bytes */{len(IMAGE)}"
    if code != "range_required":
        head = relay.ask(DISK, {"Range": header or ""}, method="HEAD")
        assert head.status == status


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ({"If-Match": ETAG}, 206),
        ({"If-Match": '"v2"'}, 412),
        ({"If-None-Match": f"W/{ETAG}"}, 304),
        ({"If-None-Match": '"v2"'}, 206),
        ({"If-Modified-Since": MODIFIED}, 304),
        ({"If-Unmodified-Since": "Mon, 09 Jan 2023 00:00:00 GMT"}, 412),
        ({"If-Range": ETAG}, 206),
        ({"If-Range": MODIFIED}, 206),
        # The whole image would be too long.
        ({"If-Range": '"v2"'}, 413),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions_reach_a_server_and_hold_on_one_that_does_not_mind_them(
    relay: RunningService,
    archive: RelayedServer,
    condition: dict[str, str],
    status: int,
    method: str,
) -> None:
    answer = relay.ask(DISK, {**FIRST, **condition}, method=method)
    if method == "HEAD" and status == 413:
        status = 200
    assert answer.status == status
    assert answer.headers["etag"] == ETAG
    (name,) = condition
    assert archive.requests[-1].headers[name] == condition[name]


@pytest.mark.parametrize("etag", ['"strong"', 'W/"weak"', None])
def test_a_validator_stays_as_strong_as_it_is(
    relay: RunningService, archive: RelayedServer, etag: str | None
) -> None:
    headers = {"Last-Modified": MODIFIED} if etag is None else {"ETag": etag}

    def respond(request: Request) -> None:
        content_range = {"Content-Range": "bytes 0-511/1024"}
        request.respond(206, {**headers, **content_range}, IMAGE[:512])

    archive.behaviour = respond
    answer = relay.ask(DISK, FIRST)
    assert answer.headers.get("etag") == etag
    assert answer.headers.get("last-modified") == headers.get("Last-Modified")
    # A weak tag matches no If-Match (RFC 9110 §8.8.3.2).
    if etag is not None:
        answer = relay.ask(DISK, {**FIRST, "If-Match": etag})
        assert answer.status == (412 if etag.startswith("W/") else 206)


def test_a_date_of_this_second_is_no_validator(
    relay: RunningService, archive: RelayedServer
) -> None:
    """The client would judge it by this service's clock (RFC 9110 §8.8.2.2)."""

    def respond(request: Request) -> None:
        request.log_date_time_string()
        now = request.date_time_string()
        content_range = "bytes 0-511/1024"
        request.respond(206, {"Last-Modified": now, "Content-Range": content_range}, IMAGE[:512])

    archive.behaviour = respond
    answer = relay.ask(DISK, FIRST)
    assert answer.status == 206
    assert "last-modified" not in answer.headers
    # And no cache puts ranges together.
    assert answer.headers["cache-control"] == "no-store, no-transform"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("max-age=60", "public, max-age=60, no-transform"),
        ("max-age=31536000, immutable", "public, max-age=300, no-transform"),
        ("no-cache", "public, max-age=0, no-transform"),
        ("no-store", "no-store, no-transform"),
        ("private, max-age=60", "no-store, no-transform"),
    ],
)
def test_caches_keep_it_no_longer_than_its_server_allows(
    relay: RunningService, archive: RelayedServer, policy: str, expected: str
) -> None:
    archive.behaviour = serves(Cache_Control=policy)
    assert relay.ask(DISK, FIRST).headers["cache-control"] == expected


def test_no_credentials_pass_in_either_direction(
    relay: RunningService, archive: RelayedServer
) -> None:
    archive.behaviour = serves(
        Set_Cookie="a=b",
        WWW_Authenticate="Basic",
        Access_Control_Allow_Origin="https://evil.example.net",
        Content_Type="text/html",
        Strict_Transport_Security="max-age=1",
    )
    sent = {"Authorization": "Bearer x", "Cookie": "session=1", "Referer": f"{PAGE}/?secret"}
    answer = relay.ask(f"{DISK}?token=secret", {**FIRST, **sent, "Origin": PAGE})
    assert answer.status == 206
    for name in ("set-cookie", "www-authenticate", "strict-transport-security"):
        assert name not in answer.headers
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["content-type"] == "application/octet-stream"
    # It came with credentials, whatever they are worth.
    assert answer.headers["cache-control"] == "private, no-store, no-transform"
    asked = archive.requests[-1]
    assert asked.path == "/images/disk.img"
    known = {"host", "accept-encoding", "user-agent", "via", "range"}
    assert {name.lower() for name in asked.headers} == known


def test_names_of_files_reach_the_server_as_they_are(
    relay: RunningService, archive: RelayedServer
) -> None:
    for path in ("a%20b%3Fc%23d.img", "gr%C3%BC%C3%9Fe/x+y;z=1.img", "100%25.img"):
        assert relay.ask(f"/relay/old/{path}", FIRST).status == 206
        assert archive.requests[-1].path == f"/images/{path}"


@pytest.mark.parametrize(
    "path",
    [
        "../secret", "a/../../secret", "..%2Fsecret", "%2E%2E/secret", "a//b", "a%5C..%5Cb",
        "%252e%252e/secret", "a%00b", "a%0D%0AX: y", "", ".",
    ],
)  # fmt: skip
def test_nothing_outside_of_the_prefix_is_asked_for(
    relay: RunningService, archive: RelayedServer, path: str
) -> None:
    answer = relay.ask(f"/relay/old/{path}".replace(" ", "%20"), FIRST)
    assert answer.status == 404
    assert archive.requests == []


def test_only_listed_servers_and_reading(relay: RunningService, archive: RelayedServer) -> None:
    assert relay.ask("/relay/new/disk.img", FIRST).status == 404
    url = archive.url.replace("/", "%2F")
    assert relay.ask(f"/relay/{url}/images/disk.img", FIRST).status == 404
    for method in ("POST", "PUT", "DELETE"):
        answer = relay.ask(DISK, FIRST, method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert relay.ask(DISK, {"Via": "1.1 aero-disk-relay", **FIRST}).status == 508
    assert archive.requests == []
    preflight = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
    assert relay.ask(DISK, preflight, method="OPTIONS").status == 204


def test_the_list_of_servers(relay: RunningService, archive: RelayedServer) -> None:
    answer = relay.ask("/v1/relay")
    listed = {
        "name": "old",
        "url": f"{archive.url}/images/",
        "relayed": "/relay/old/",
        "public": True,
    }
    assert answer.json == {"servers": [listed]}
