"""The relay of servers without CORS headers: what it passes on, and what it refuses to do."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk.platform.web_url import WebUrl, parse_web_url
from aero_browser_disk.service.relay.addresses import Network, is_permitted
from aero_browser_disk.service.relay.listed import ListedServer, Prefix
from aero_browser_disk.service.relay.upstream import Upstream, UpstreamError

from .conftest import RunningService
from .relayed_server import ETAG, IMAGE, MODIFIED, RelayedServer, Request, serves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = "https://app.example.com"
LIMIT = 65_536
DISK = "/relay/old/disk.img"
FIRST = {"Range": "bytes=0-511"}


@pytest.fixture(scope="module")
def archive() -> Iterator[RelayedServer]:
    """The server of images."""
    with RelayedServer() as server:
        yield server


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[RelayedServer]:
    """Another server, which is not on the list."""
    with RelayedServer() as server:
        yield server


@pytest.fixture(autouse=True)
def as_usual(archive: RelayedServer, elsewhere: RelayedServer) -> None:
    for server in (archive, elsewhere):
        server.behaviour = serves()
        server.requests.clear()


def written(folder: Path, archive: RelayedServer, more: str = "") -> Path:
    """A configuration that relays it."""
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images" / "manifest.json").write_text('{"images": []}')
    file = folder / "service.toml"
    file.write_text(
        f"""
        [store]
        folder = "{folder / "images"}"
        [bytes]
        max_range_bytes = {LIMIT}
        [metrics]
        enabled = true
        token = "a-token-for-the-metrics"
        {more}
        [relay]
        private_networks = ["127.0.0.1/32"]
        timeout_s = 5
        body_s = 10
        [relay.servers.old]
        url = "{archive.url}/images/"
        public = true
        redirects = ["{archive.url}/mirror/"]
        """
    )
    return file


@pytest.fixture(scope="module", params=["uvicorn", "granian"])
def relay(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    archive: RelayedServer,
) -> Iterator[RunningService]:
    file = written(tmp_path_factory.mktemp("relay"), archive)
    with RunningService(None, "--config", str(file), "--server", request.param) as running:
        yield running


# ── what it passes on ──


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


# ── servers that break the rules ──


def gzip(request: Request) -> None:
    serves(Content_Encoding="gzip")(request)


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


# ── addresses ──


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255",
        "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "100.100.100.200",
        "192.0.0.192", "198.18.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
        "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1",
        "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "fe80::1", "fe80::1%eth0",
        "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "2002:7f00:1::", "2001::1",
        "3fff::1", "5f00::1", "100::1", "fec0::1", "2130706433", "0x7f.1", "127.1", "",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_permitted(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8"]
)
def test_addresses_that_are(address: str) -> None:
    assert is_permitted(address)


def networks(*texts: str) -> tuple[Network, ...]:
    from ipaddress import ip_network

    return tuple(map(ip_network, texts))


def test_permitted_networks() -> None:
    assert is_permitted("10.1.2.3", networks("10.1.0.0/16"))
    assert is_permitted("::ffff:10.1.2.3", networks("10.1.0.0/16"))
    assert is_permitted("::1", networks("::1/128"))
    assert not is_permitted("10.2.2.3", networks("10.1.0.0/16"))
    # The addresses at which clouds give credentials away: no network has them.
    for address in ("169.254.169.254", "fd00:ec2::254", "168.63.129.16", "fe80::1"):
        assert not is_permitted(address, networks("0.0.0.0/0", "::/0"))


def test_nothing_is_sent_to_a_private_address(
    tmp_path: Path, serve: Callable[..., RunningService], elsewhere: RelayedServer
) -> None:
    before = elsewhere.connections
    file = written(tmp_path, elsewhere)
    text = file.read_text().replace('private_networks = ["127.0.0.1/32"]', "")
    hosts = ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"]
    for number, host in enumerate(hosts):
        url = f"http://{host}:{elsewhere.server_port}/images/"
        text += f'\n[relay.servers.s{number}]\nurl = "{url}"\npublic = true\n'
    file.write_text(text)
    service = serve(None, "--config", str(file))
    for number, _ in enumerate(hosts):
        answer = service.ask(f"/relay/s{number}/disk.img", FIRST)
        assert (answer.status, answer.json["error"]["code"]) == (502, "relay_refused")
        # Nor does the client learn which address it is.
        assert "127" not in answer.body.decode()
    assert elsewhere.connections == before


class Names:
    """A resolver that gives one list after another, then the last again."""

    def __init__(self, *addresses: list[str]) -> None:
        self.addresses = list(addresses)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        return self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]


def url_of(server: RelayedServer, name: str = "old.example.com") -> tuple[ListedServer, WebUrl]:
    prefix = Prefix.parse(f"http://{name}:{server.server_port}/images/")
    url = prefix.join("disk.img")
    assert url is not None
    return ListedServer("old", prefix, public=True), url


async def test_a_name_is_resolved_once_and_the_checked_address_connected_to(
    archive: RelayedServer,
) -> None:
    # What is asked for a second time gives another address: rebinding.
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    server, url = url_of(archive)
    upstream = Upstream(server, permitted=networks("127.0.0.1/32"), resolve=names)
    for _ in range(3):
        async with upstream.open("GET", url, {"Range": "bytes=0-9"}) as response:
            assert response.status == 206
            assert b"".join([c async for c in response.chunks(10)]) == IMAGE[:10]
    assert names.asked == [("old.example.com", archive.server_port)]
    await upstream.close()
    # The next connection is checked anew.
    before = archive.connections
    upstream = Upstream(server, permitted=networks("127.0.0.1/32"), resolve=names)
    with pytest.raises(UpstreamError) as refused:
        async with upstream.open("GET", url, {"Range": "bytes=0-9"}):
            pass
    await upstream.close()
    assert refused.value.reason == "address"
    assert archive.connections == before


async def test_of_several_addresses_only_permitted_ones_are_tried(archive: RelayedServer) -> None:
    names = Names(["10.0.0.1", "::ffff:192.168.0.1", "127.0.0.3", "127.0.0.1"])
    server, url = url_of(archive)
    # Nobody listens at the first of the two.
    upstream = Upstream(server, permitted=networks("127.0.0.0/8"), resolve=names)
    async with upstream.open("GET", url, {"Range": "bytes=0-9"}) as response:
        assert response.status == 206
    await upstream.close()


async def test_a_redirect_is_resolved_and_checked_like_the_first(
    archive: RelayedServer, elsewhere: RelayedServer
) -> None:
    server, url = url_of(archive)
    to = f"http://cdn.example.com:{elsewhere.server_port}/"
    server = ListedServer("old", server.prefix, True, (Prefix.parse(to),))
    archive.behaviour = lambda request: request.respond(302, {"Location": f"{to}disk.img"})
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    upstream = Upstream(server, permitted=networks("127.0.0.1/32"), resolve=names)
    with pytest.raises(UpstreamError) as refused:
        async with upstream.open("GET", url, {"Range": "bytes=0-9"}):
            pass
    await upstream.close()
    assert refused.value.reason == "address"
    assert names.asked[1] == ("cdn.example.com", elsewhere.server_port)
    assert elsewhere.requests == []


# ── the list ──


@pytest.mark.parametrize(
    ("prefix", "url", "covered"),
    [
        ("https://a.example/x/", "https://a.example/x/y", True),
        ("https://a.example/x/", "https://A.EXAMPLE:443/x/./y", True),
        ("https://a.example/x/", "https://a.example./x/y", True),
        ("https://a.example/x/", "https://a.example/xy", False),
        ("https://a.example/x/", "https://a.example/x/../y", False),
        ("https://a.example/x/", "https://a.example/x/%2e%2e/y", False),
        ("https://a.example/x/", "http://a.example/x/y", False),
        ("https://a.example/x/", "https://a.example:444/x/y", False),
        ("https://a.example/x/", "https://a.example.evil.net/x/y", False),
        ("https://a.example/x/", "https://a.example@evil.net/x/y", False),
        ("https://a.example/x/", "https://u:p@a.example/x/y", False),
        ("https://*.a.example/", "https://b.a.example/y", True),
        ("https://*.a.example/", "https://c.b.a.example/y", True),
        ("https://*.a.example/", "https://a.example/y", False),
        ("https://*.a.example/", "https://evil-a.example/y", False),
        ("https://*.a.example/", "https://a.example.evil.net/y", False),
    ],
)
def test_prefixes(prefix: str, url: str, covered: bool) -> None:
    parsed = parse_web_url(url)
    assert parsed is not None
    assert Prefix.parse(prefix, wildcard=True).covers(parsed) is covered
    assert str(Prefix.parse(prefix, wildcard=True)) == prefix


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/", "a.example/", "https://a.example/x", "https://a.example/?a=b",
        "https://a.example/#b", "https://me@a.example/", "https://*/", "https://*.com/",
        "https://a.*.example/", "https://*.[::1]/",
    ],
)  # fmt: skip
def test_what_is_no_prefix(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        Prefix.parse(url, wildcard=True)
    with pytest.raises(ValueError, match="must"):
        Prefix.parse("https://*.a.example/")


# ── bounds, authorization, operation ──


def endless_hints(request: Request) -> None:
    """Progress without end: each read succeeds, so only a total deadline ends it."""
    while True:
        request.raw("HTTP/1.1 103 Early Hints\r\n\r\n")


def stalls(request: Request) -> None:
    """Begins a body, and says no more."""
    request.raw(
        f"HTTP/1.1 206 P\r\nContent-Range: bytes 0-{LIMIT - 1}/300000\r\n"
        f"Content-Length: {LIMIT}\r\n\r\n",
        IMAGE[:1000],
    )
    request.rfile.read(1)


def test_every_response_has_a_total_deadline(
    tmp_path: Path, serve: Callable[..., RunningService], archive: RelayedServer
) -> None:
    text = written(tmp_path, archive).read_text()
    text = text.replace("timeout_s = 5", "timeout_s = 1").replace("body_s = 10", "body_s = 0.5")
    (tmp_path / "service.toml").write_text(text)
    service = serve(None, "--config", str(tmp_path / "service.toml"))
    for behaviour in (lambda request: request.rfile.read(1), endless_hints):
        archive.behaviour = behaviour
        answer = service.ask(DISK, FIRST)
        assert (answer.status, answer.json["error"]["code"]) == (504, "relay_timeout")
    archive.behaviour = stalls
    connection = service.connect()
    status = 504
    while status == 504:  # on a busy machine even the headers may take that second
        connection.request("GET", DISK, headers={"Range": f"bytes=0-{LIMIT - 1}"})
        response = connection.getresponse()
        status = response.status
        if status == 504:
            response.read()
    assert status == 206
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    connection.close()
    line = service.next_line()
    while line.get("status") != 206:
        line = service.next_line()
    assert "0.5 s" in line["cut"]


def test_the_log_and_the_metrics_say_what_happened(
    tmp_path: Path, serve: Callable[..., RunningService], archive: RelayedServer
) -> None:
    service = serve(None, "--config", str(written(tmp_path, archive)))
    assert service.ask(DISK, FIRST).status == 206
    archive.behaviour = gzip
    failed = service.ask(f"{DISK}?secret=1", FIRST)
    lines = {}
    while len(lines) < 3:
        line = service.next_line()
        lines[line["event"], line.get("status")] = line
    assert lines["request", 206]["id"] == "relay:old/disk.img"
    assert lines["request", 206]["route"] == "/relay/{server}/{path}"
    said = lines["relay_failed", None]
    assert (said["server"], said["reason"]) == ("old", "encoded")
    assert said["request_id"] == failed.headers["x-request-id"]
    assert "secret" not in json.dumps(list(lines.values()))
    token = {"Authorization": "Bearer a-token-for-the-metrics"}
    metrics = service.ask("/metrics", token).body.decode()
    assert 'aero_disk_relayed_total{result="ok",server="old"} 1.0' in metrics
    assert 'aero_disk_relayed_total{result="encoded",server="old"} 1.0' in metrics
    assert 'aero_disk_ranges_total{result="satisfied"} 1.0' in metrics


def test_the_limits_are_those_of_images(
    tmp_path: Path, serve: Callable[..., RunningService], archive: RelayedServer
) -> None:
    more = "[limits]\nrequests_per_s = 0.5"
    service = serve(None, "--config", str(written(tmp_path, archive, more)))
    assert [service.ask(DISK, FIRST).status for _ in range(2)] == [206, 429]


KEYS = 'current = "k1"\n[keys]\nk1 = "' + "A" * 43 + '"\n'
ISSUER, AUDIENCE = "https://issuer.example.com", "disks"


@pytest.fixture
def private(
    tmp_path: Path, serve: Callable[..., RunningService], archive: RelayedServer
) -> RunningService:
    """A relay of images that are not for everybody."""
    (tmp_path / "keys.toml").write_text(KEYS)
    more = f"""
        [cors]
        allow_origins = ["{PAGE}"]
        [authorization]
        signing_keys_file = "{tmp_path / "keys.toml"}"
        [authorization.proxy_identity.subjects]
        one = ["relay:old/disk.img"]
        all = ["relay:old"]
        other = ["old", "disk.img"]
        [server]
        trusted_proxies = ["127.0.0.1"]
        """
    file = written(tmp_path, archive, more)
    file.write_text(file.read_text().replace("public = true", "public = false"))
    return serve(None, "--config", str(file))


def subject(name: str) -> dict[str, str]:
    return {"X-Client-Subject": name, "X-Client-Verify": "SUCCESS"}


def test_private_servers_need_credentials_and_give_leases(
    private: RunningService, archive: RelayedServer
) -> None:
    assert private.ask(DISK, FIRST).status == 401
    assert private.ask("/v1/relay").json == {"servers": []}
    assert private.ask(DISK, {**FIRST, **subject("other")}).status == 403
    assert archive.requests == []
    answer = private.ask(DISK, {**FIRST, **subject("one")})
    assert (answer.status, answer.headers["cache-control"]) == (
        206,
        "private, no-store, no-transform",
    )
    other = "/relay/old/b/other.img"
    assert private.ask(other, {**FIRST, **subject("one")}).status == 403
    assert private.ask(other, {**FIRST, **subject("all")}).status == 206
    assert len(private.ask("/v1/relay", subject("all")).json["servers"]) == 1

    def lease(path: str, name: str | None) -> tuple[int, dict[str, object]]:
        body = json.dumps({"path": path}).encode()
        headers = {} if name is None else subject(name)
        answer = private.ask("/v1/relay/old/lease", headers, method="POST", body=body)
        return answer.status, answer.json

    status, document = lease("b/other image.img", "all")
    assert status == 200
    url = str(document["url"])
    assert url.startswith("/relay/old/b/other%20image.img?")
    answer = private.ask(url, FIRST)
    assert (answer.status, answer.body) == (206, IMAGE[:512])
    # It is for this image alone, and nothing of it goes to the server.
    assert archive.requests[-1].path == "/images/b/other%20image.img"
    assert private.ask(url.replace("other%20image", "other"), FIRST).status == 401
    assert lease("b/other image.img", "one")[0] == 403
    assert lease("b/other image.img", None)[0] == 401
    assert lease("../x", "all")[0] == 404


def test_off_unless_configured(service: RunningService) -> None:
    assert service.ask(DISK, FIRST).status == 404
    assert service.ask("/v1/relay").status == 404
    assert not any("relay" in path for path in service.ask("/openapi.json").json["paths"])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ('url = "https://me:x@a.example/"', "relay.servers.old.url: must not have a user"),
        ('url = "https://a.example/x"', "relay.servers.old.url: must end with a slash"),
        ('url = "https://*.a.example/"', "relay.servers.old.url: must be"),
        ('url = "https://a.example/"\nredirects = ["https://*.com/"]', "relay.servers.old.red"),
    ],
)
def test_check_config_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str, reason: str
) -> None:
    from aero_browser_disk.service.cli import main

    images = tmp_path / "images"
    images.mkdir()
    (images / "manifest.json").write_text('{"images": []}')
    file = tmp_path / "service.toml"

    def check(server: str) -> int:
        server = f"[relay.servers.old]\npublic = true\n{server}"
        file.write_text(f'[store]\nfolder = "{images}"\n{server}')
        return main(["check-config", "--config", str(file)])

    assert check('url = "https://a.example/x/"\nredirects = ["https://*.a.example/"]') == 0
    assert json.loads(capsys.readouterr().out)["relay"]["servers"]["old"]["public"] is True
    assert check(wrong) == 2
    assert reason in capsys.readouterr().err
    # Whether everybody may read is for the operator to say.
    file.write_text(
        f'[store]\nfolder = "{images}"\n[relay.servers.old]\nurl = "https://a.example/"'
    )
    assert main(["check-config", "--config", str(file)]) == 2
    assert "relay.servers.old.public" in capsys.readouterr().err
