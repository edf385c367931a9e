"""What one client may take, in one process and shared by several."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest

from aero_browser_disk.service.http.client_address import TrustedProxies
from aero_browser_disk.service.http.client_limits import Allowance, LimitExceededError, LocalLimits
from aero_browser_disk.service.http.cors import CorsPolicy
from aero_browser_disk.service.http.exchange import Exchange
from aero_browser_disk.service.http.response import HttpError
from aero_browser_disk.service.http.service_context import ServiceContext

from .conftest import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import RunningService

DISK = "/disks/disk.img/bytes"
# So slow that nothing refills while a test runs, however busy the machine.
SLOW = "limits.requests_per_s=0.001"


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def limits(clock: Clock, **allowance: int) -> LocalLimits:
    return LocalLimits(Allowance(**allowance), clock, clock.sleep)


async def refused(limits: LocalLimits, client: str = "a") -> LimitExceededError:
    with pytest.raises(LimitExceededError) as error:
        async with limits.admitted(client):
            pass
    return error.value


async def test_requests_a_second() -> None:
    clock = Clock()
    counted = limits(clock, requests_per_s=10)
    for _ in range(20):
        async with counted.admitted("a"):
            pass
    error = await refused(counted)
    assert (error.limit, error.retry_after_s) == ("requests_per_s", 1)
    async with counted.admitted("b"):
        pass
    clock.now += 0.1
    async with counted.admitted("a"):
        pass
    await refused(counted)
    clock.now += 1000
    for _ in range(20):
        async with counted.admitted("a"):
            pass
    await refused(counted)


async def test_requests_in_flight() -> None:
    counted = limits(Clock(), requests_in_flight=2)
    async with counted.admitted("a"), counted.admitted("b"):
        async with counted.admitted("a"):
            assert (await refused(counted)).limit == "requests_in_flight"
        async with counted.admitted("a"):
            pass
    # One that ends with an error ends as well.
    for _ in range(3):
        with pytest.raises(RuntimeError):
            async with counted.admitted("a"):
                raise RuntimeError
    async with counted.admitted("a"):
        pass


async def test_bytes_a_second_pace_a_body_and_refuse_what_follows() -> None:
    clock = Clock()
    counted = limits(clock, bytes_per_s=1_000_000)
    async with counted.admitted("a") as pace:
        assert pace is not None
        for _ in range(40):
            await pace(250_000)
    # Ten million bytes: two seconds' worth at once, and the last chunk on credit.
    assert clock.now == pytest.approx(7.75)
    error = await refused(counted)
    assert (error.limit, error.retry_after_s) == ("bytes_per_s", 1)
    async with counted.admitted("b"):
        pass
    clock.now += 0.26
    async with counted.admitted("a"):
        pass


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.7", None, "198.51.100.7"),
        ("198.51.100.7", "203.0.113.1", "198.51.100.7"),  # a stranger's word
        ("10.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.1, 10.0.0.2", "203.0.113.1"),
        ("10.0.0.1", "203.0.113.1, garbage", "10.0.0.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("::ffff:10.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        ("fd00::1", "2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("", None, ""),
    ],
)
def test_whose_request_it_is(peer: str, forwarded: str | None, client: str) -> None:
    proxies = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
    assert proxies.client(peer, forwarded) == client


def set_options(*options: str) -> list[str]:
    return [word for option in options for word in ("--set", option)]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "disk.img").write_bytes(bytes(1 << 20))
    return tmp_path


def test_who_asks_too_often_is_told_when_to_come_back(
    images: Path, serve: Callable[..., RunningService]
) -> None:
    service = serve(images, *set_options(SLOW, 'server.trusted_proxies=["127.0.0.1"]'))
    one, other = {"X-Forwarded-For": "203.0.113.1"}, {"X-Forwarded-For": "203.0.113.2"}
    # Not counted, however many.
    for _ in range(5):
        preflight = one | {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
        assert service.ask(DISK, preflight, method="OPTIONS").status == 204
        assert service.ask("/healthz", one).status == 200
        assert service.ask("/readyz", one).status == 200
    assert service.ask(DISK, one | {"Range": "bytes=0-0"}).status == 206
    answer = service.ask(DISK, one | {"Origin": "https://a.example"})
    assert (answer.status, answer.json["error"]["code"]) == (429, "too_many_requests")
    assert answer.json["error"]["limit"] == "requests_per_s"
    assert int(answer.headers["retry-after"]) > 100
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "retry-after" in answer.headers["access-control-expose-headers"].lower()
    assert answer.headers["cache-control"] == "no-store"
    assert service.ask(DISK, other).status == 200


def begin(service: RunningService) -> socket.socket:
    """A request of which nothing is read."""
    connection = socket.create_connection((service.host, service.port))
    connection.sendall(f"GET {DISK} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert connection.recv(1)
    return connection


def test_requests_in_flight_are_counted_until_they_end(
    images: Path, serve: Callable[..., RunningService]
) -> None:
    with (images / "disk.img").open("r+b") as file:
        file.truncate(1 << 30)
    service = serve(images, *set_options("limits.requests_in_flight=2"))
    first, second = begin(service), begin(service)
    answer = service.ask(DISK, {"Range": "bytes=0-0"})
    assert (answer.status, answer.json["error"]["limit"]) == (429, "requests_in_flight")
    assert answer.headers["retry-after"] == "1"
    first.close()
    while service.event("request")["status"] != 200:
        pass
    assert service.ask(DISK, {"Range": "bytes=0-0"}).status == 206
    second.close()


def test_bytes_a_second(images: Path, serve: Callable[..., RunningService]) -> None:
    service = serve(images, *set_options("limits.bytes_per_s=65536"))
    assert len(service.ask(DISK, {"Range": "bytes=0-262143"}).body) == 262144
    answer = service.ask(DISK, {"Range": "bytes=0-0"})
    assert (answer.status, answer.json["error"]["limit"]) == (429, "bytes_per_s")


@pytest.mark.parametrize("server", ["granian", "uvicorn"])
def test_bytes_a_second_where_nginx_sends_them(
    images: Path, serve: Callable[..., RunningService], server: str
) -> None:
    """Each range counts as a whole, and nginx is told how fast one answer may be."""
    service = serve(
        images,
        *set_options(
            "limits.bytes_per_s=65536",
            'bytes.accel_location="/_aero_disk"',
            'server.trusted_proxies=["127.0.0.1"]',
        ),
        *("--server", server),
    )
    for client in ("192.0.2.1", "192.0.2.2"):
        asked = {"X-Forwarded-For": client, "Range": "bytes=0-399999"}
        # HEAD takes nothing.
        for _ in range(5):
            assert service.ask(DISK, asked, method="HEAD").status == 200
        answer = service.ask(DISK, asked)
        assert (answer.status, answer.headers["x-accel-limit-rate"]) == (200, "65536")
        answer = service.ask(DISK, asked)
        assert (answer.status, answer.json["error"]["limit"]) == (429, "bytes_per_s")


@pytest.mark.parametrize(
    ("server", "sent"),
    [
        ("granian", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: "),
        ("granian", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("uvicorn", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
    ],
)
def test_idle_connections_and_slow_headers_end(
    images: Path, serve: Callable[..., RunningService], server: str, sent: bytes
) -> None:
    service = serve(images, *set_options("server.keep_alive_s=1"), "--server", server)
    with socket.create_connection((service.host, service.port)) as connection:
        connection.settimeout(PATIENCE_S)
        connection.sendall(sent)
        while connection.recv(4096):
            pass  # it ends, or the time-out fails the test


@pytest.mark.parametrize("server", ["granian", "uvicorn"])
@pytest.mark.parametrize("length", [1000, 1 << 40], ids=["slow", "endless"])
def test_bodies_that_nobody_wants_end(
    images: Path, serve: Callable[..., RunningService], server: str, length: int
) -> None:
    """The answer is there all the same, then the connection is over."""
    service = serve(images, *set_options("server.keep_alive_s=1"), "--server", server)
    head = f"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
    with socket.create_connection((service.host, service.port)) as connection:
        connection.settimeout(PATIENCE_S)
        connection.sendall(head.encode() + b"x" * min(length - 1, 1 << 20))
        answer = b""
        with suppress(ConnectionError):  # it may have come with bytes unread
            while more := connection.recv(4096):
                answer += more
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nconnection: close\r\n" in answer.lower()


async def test_a_wanted_body_that_does_not_come_is_a_408() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return await asyncio.Future()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/uploads", "headers": []}
    surroundings = ServiceContext(CorsPolicy(), TrustedProxies(), body_s=0)
    exchange = Exchange(scope, receive, send, surroundings)
    with pytest.raises(HttpError) as error:
        await exchange.request.body(100)
    await exchange.responder.reply(error.value.response)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


@pytest.mark.parametrize("server", ["granian", "uvicorn"])
def test_huge_headers_end(images: Path, serve: Callable[..., RunningService], server: str) -> None:
    """What is far beyond the limit is not even read whole."""
    service = serve(images, "--server", server)
    with socket.create_connection((service.host, service.port)) as connection:
        connection.settimeout(PATIENCE_S)
        answer = b""
        try:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Much: ")
            for _ in range(16):
                connection.sendall(b"a" * (1 << 20))
            connection.sendall(b"\r\n\r\n")
            answer = connection.recv(4096)
        except ConnectionError:
            pass
    assert b" 200 " not in answer
    assert service.ask("/healthz").status == 200


# ── shared through Redis ──


def test_instances_share_their_limits(
    images: Path, serve: Callable[..., RunningService], redis_url: str
) -> None:
    options = set_options(SLOW, f"limits.redis_url={redis_url}")
    first, second = serve(images, *options), serve(images, *options)
    assert first.ask(DISK, {"Range": "bytes=0-0"}).status == 206
    answer = second.ask(DISK, {"Range": "bytes=0-0"})
    assert (answer.status, answer.json["error"]["limit"]) == (429, "requests_per_s")
    assert 100 < int(answer.headers["retry-after"]) <= 1000


def test_instances_share_what_is_in_flight_and_bytes(
    images: Path, serve: Callable[..., RunningService], redis_url: str
) -> None:
    with (images / "disk.img").open("r+b") as file:
        file.truncate(1 << 30)
    options = set_options("limits.requests_in_flight=1", f"limits.redis_url={redis_url}")
    first, second = serve(images, *options), serve(images, *options)
    under_way = begin(first)
    assert second.ask(DISK, {"Range": "bytes=0-0"}).json["error"]["limit"] == "requests_in_flight"
    under_way.close()
    first.event("request")
    assert second.ask(DISK, {"Range": "bytes=0-0"}).status == 206
    options = set_options("limits.bytes_per_s=65536", f"limits.redis_url={redis_url}")
    first, second = serve(images, *options), serve(images, *options)
    assert first.ask(DISK, {"Range": "bytes=0-262143"}).status == 206
    assert second.ask(DISK, {"Range": "bytes=0-0"}).json["error"]["limit"] == "bytes_per_s"


def test_without_redis_each_counts_for_itself(
    images: Path, serve: Callable[..., RunningService], tmp_path: Path
) -> None:
    url = f"unix://:hunter2@{tmp_path}/nothing.sock"
    service = serve(images, *set_options(SLOW, f"limits.redis_url={url}"))
    assert service.ask(DISK, {"Range": "bytes=0-0"}).status == 206
    line = service.event("limits_not_shared")
    assert "hunter2" not in str(line)
    assert service.ask(DISK, {"Range": "bytes=0-0"}).status == 429


async def test_a_request_that_is_cancelled_is_no_longer_in_flight() -> None:
    counted = limits(Clock(), requests_in_flight=1)
    entered = asyncio.Event()

    async def hold() -> None:
        async with counted.admitted("a"):
            entered.set()
            await asyncio.Future()

    task = asyncio.create_task(hold())
    await entered.wait()
    await refused(counted)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with counted.admitted("a"):
        pass
