"""Which addresses the relay connects to, and which prefixes cover a URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk.platform.web_url import WebUrl, parse_web_url
from aero_browser_disk.service.relay.addresses import Network, is_permitted
from aero_browser_disk.service.relay.listed import ListedServer, Prefix
from aero_browser_disk.service.relay.upstream import Upstream, UpstreamError

from ..conftest import RunningService
from .relayed_server import (
    FIRST,
    IMAGE,
    RelayedServer,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable


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
