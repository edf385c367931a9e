"""Our nginx configurations with Debian's nginx: what a client sees is what the service means."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk.remote.byte_ranges import format_http_date, parse_http_date
from lib.nginx_server import Nginx, find_nginx

from .conftest import Answer, RunningService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    find_nginx() is None, reason="no nginx here: apt-get install nginx-light"
)

OLD = random.Random(5).randbytes(3_000_123)
NEW = bytes(byte ^ 0xFF for byte in OLD)
DISK = "/disks/disk/bytes"
PAGE = "https://app.example.com"
LONG_AGO = 1_700_000_000


class Client:
    """Asks a server of that port, whatever it is."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        assert len(fields) == len(response.getheaders()), response.getheaders()
        answer = Answer(response.status, fields, response.read())
        connection.close()
        return answer


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "sub dir").mkdir(parents=True)
    (folder / "sub dir" / "disk+1.img").write_bytes(OLD)
    os.utime(folder / "sub dir" / "disk+1.img", (LONG_AGO, LONG_AGO))
    (folder / "secret.img").write_bytes(b"secret")
    (tmp_path / "outside.img").write_bytes(b"outside")
    (folder / "link.img").symlink_to(tmp_path / "outside.img")
    entries = [
        {"id": "disk", "file": "sub dir/disk+1.img", "public": True},
        {"id": "mine", "file": "secret.img", "public": False},
        {"id": "link", "file": "link.img", "public": True},
    ]
    (folder / "manifest.json").write_text(json.dumps({"images": entries}))
    return folder


@pytest.fixture(params=["reverse-proxy", "accel-redirect", "slice-cache"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def service(images: Path, kind: str, serve: Callable[..., RunningService]) -> RunningService:
    options = ["--set", 'server.trusted_proxies=["127.0.0.1"]', "--max-age", "300"]
    if kind == "accel-redirect":
        options += ["--set", 'bytes.accel_location="/_aero_disk"']
    if kind != "slice-cache":
        options += ["--allow-origin", PAGE]
    else:
        options += ["--resource-policy", "cross-origin"]
    return serve(images, *options)


@pytest.fixture
def nginx(service: RunningService, images: Path, kind: str, tmp_path: Path) -> Iterator[Client]:
    folder = tmp_path / "nginx"
    folder.mkdir()
    values = {
        "AERO_DISK_SERVICE": f"127.0.0.1:{service.port}",
        "AERO_DISK_IMAGES": str(images),
        "AERO_DISK_CACHE": str(folder / "cache"),
    }
    with Nginx(folder, kind, values) as running:
        yield Client(running.port)


RANGES = [
    "bytes=0-0",
    "bytes=1048570-1048590",
    "bytes=5-",
    "bytes=-7",
    "bytes=3000122-9999999",
    "bytes=0-2999999",
]


def test_ranges_and_headers(nginx: Client, kind: str) -> None:
    whole = nginx.ask(DISK, {"Origin": PAGE})
    assert (whole.status, whole.body) == (200, OLD)
    etag = whole.headers["etag"]
    assert not etag.startswith("W/")
    for value in RANGES:
        answer = nginx.ask(DISK, {"Range": value, "Origin": PAGE})
        first, _, last = value.removeprefix("bytes=").partition("-")
        start = int(first) if first else len(OLD) - int(last)
        stop = min(int(last) + 1, len(OLD)) if first and last else len(OLD)
        assert (answer.status, answer.body) == (206, OLD[start:stop]), value
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(OLD)}"
        assert answer.headers["content-length"] == str(stop - start)
        assert "content-encoding" not in answer.headers
        for name in ("etag", "last-modified", "content-type", "cache-control"):
            assert answer.headers[name] == whole.headers[name], name
        assert answer.headers["cache-control"] == "public, max-age=300, no-transform"
        expected = "*" if kind == "slice-cache" else PAGE
        assert answer.headers["access-control-allow-origin"] == expected
        exposed = answer.headers["access-control-expose-headers"]
        assert {"ETag", "Content-Range", "Content-Length"} <= set(exposed.split(", "))
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "cross-origin-resource-policy" in answer.headers
        if kind != "slice-cache":
            assert answer.headers["vary"] == "Origin"
            head = nginx.ask(DISK, {"Range": value, "Origin": PAGE}, method="HEAD")
            assert head.status == 206
            assert head.headers["content-range"] == answer.headers["content-range"]


def test_conditions(nginx: Client, kind: str) -> None:
    now = nginx.ask(DISK, {"Range": "bytes=0-9"}).headers
    etag, date = now["etag"], now["last-modified"]
    modified_s = parse_http_date(date)
    assert modified_s is not None
    for headers, status in (
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": '"other"'}, 206),
        ({"If-Match": etag}, 206),
        ({"If-Match": '"other"'}, 412),
        ({"If-Modified-Since": date}, 304),
        ({"If-Unmodified-Since": date}, 206),
        ({"If-Unmodified-Since": format_http_date(modified_s - 1)}, 412),
        ({"If-Range": etag}, 206),
        ({"If-Range": '"other"'}, 200),
        ({"If-Range": date}, 206),
        ({"Range": "bytes=9999999-"}, 416),
    ):
        answer = nginx.ask(DISK, {"Range": "bytes=0-9", "Origin": PAGE, **headers})
        assert answer.status == status, headers
        assert "access-control-allow-origin" in answer.headers
        if status == 206:
            assert answer.body == OLD[:10]
        if status == 200:
            assert answer.body == OLD
        if status == 416:
            assert answer.headers["content-range"] == f"bytes */{len(OLD)}"


def test_what_the_service_refuses_stays_refused(nginx: Client, kind: str) -> None:
    for path in ("/disks/mine/bytes", "/v1/images/mine"):
        answer = nginx.ask(path, {"Origin": PAGE})
        assert answer.status == 403
        assert b"secret" not in answer.body
        assert "access-control-allow-origin" in answer.headers
    for path in (
        *("/disks/nothing/bytes", "/disks/link/bytes", "/_aero_disk/range/secret.img"),
        *("/_aero_disk/whole/sub%20dir/disk+1.img", "/_aero_disk/range/../secret.img"),
    ):
        answer = nginx.ask(path)
        assert answer.status == 404, path
        assert b"secret" not in answer.body
    preflight = nginx.ask(
        DISK,
        {
            "Origin": PAGE,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "if-range",
        },
        method="OPTIONS",
    )
    assert preflight.status == 204
    assert "If-Range" in preflight.headers["access-control-allow-headers"]
    assert preflight.headers["access-control-max-age"] == "600"
    vary = set(preflight.headers["vary"].split(", "))
    assert vary == {"Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"}
    assert nginx.ask("/v1/images").json["images"][0]["id"] == "disk"
    assert nginx.ask("/readyz").status == 200
    assert nginx.ask(DISK, {"Range": "bytes=0-1,4-5"}).status == 416


@pytest.mark.parametrize("kind", ["reverse-proxy", "accel-redirect"], indirect=True)
def test_no_answer_has_bytes_of_another_version_than_its_validator(
    nginx: Client, images: Path
) -> None:
    path = images / "sub dir" / "disk+1.img"
    versions = {nginx.ask(DISK, {"Range": "bytes=0-99"}).headers["etag"]: OLD}
    stop = threading.Event()

    def replace() -> None:
        for number in range(1, 40):
            content = NEW if number % 2 else OLD
            (images / "next").write_bytes(content)
            os.utime(images / "next", (LONG_AGO + number, LONG_AGO + number))
            (images / "next").replace(path)
        stop.set()

    writer = threading.Thread(target=replace)
    writer.start()
    while not stop.is_set():
        answer = nginx.ask(DISK, {"Range": "bytes=1000000-1099999"})
        assert answer.status in (206, 412, 503)
        if answer.status == 206:
            modified_s = parse_http_date(answer.headers["last-modified"])
            assert modified_s is not None
            content = NEW if (modified_s - LONG_AGO) % 2 else OLD
            assert answer.body == content[1_000_000:1_100_000]
            assert versions.setdefault(answer.headers["etag"], content) is content
    writer.join()


@pytest.mark.parametrize("kind", ["slice-cache"], indirect=True)
def test_slices_are_fetched_once(nginx: Client, service: RunningService) -> None:
    assert nginx.ask(DISK, {"Range": "bytes=100-200"}).headers["x-cache"] == "MISS"
    assert service.event("request")["range"] == "bytes=0-1048575"
    for _ in range(3):
        answer = nginx.ask(DISK, {"Range": "bytes=1000-2000"})
        assert (answer.headers["x-cache"], answer.body) == ("HIT", OLD[1000:2001])
    assert nginx.ask(DISK).body == OLD
    lines = [service.event("request")["range"] for _ in range(2)]
    assert lines == ["bytes=1048576-2097151", "bytes=2097152-3145727"]
    # Credentials go past the cache.
    private = nginx.ask(DISK, {"Authorization": "Bearer x", "Range": "bytes=1000-2000"})
    assert "x-cache" not in private.headers
    assert service.event("request")["range"] == "bytes=1000-2000"


@pytest.mark.parametrize("kind", ["accel-redirect"], indirect=True)
def test_the_accelerated_bytes_are_nginxs(nginx: Client, service: RunningService) -> None:
    assert nginx.ask(DISK, {"Range": "bytes=100-200"}).body == OLD[100:201]
    assert service.event("request")["bytes"] == 0
    # Not to who asks the service past nginx, when it is not trusted: here it is, and it sees why.
    direct = service.ask(DISK, {"Range": "bytes=100-200"})
    assert direct.headers["x-accel-redirect"] == "/_aero_disk/range/sub%20dir/disk%2B1.img"


@pytest.mark.parametrize("server", ["granian", "uvicorn"])
@pytest.mark.parametrize("configuration", ["accel-redirect", "reverse-proxy"])
def test_the_service_is_reached_through_a_unix_socket(
    images: Path,
    tmp_path: Path,
    serve: Callable[..., RunningService],
    server: str,
    configuration: str,
) -> None:
    options = ["--server", server, "--set", f'server.unix_socket="{tmp_path / "service.sock"}"']
    options += ["--set", 'server.trusted_proxies=["unix:"]', "--allow-origin", PAGE]
    if configuration == "accel-redirect":
        options += ["--set", 'bytes.accel_location="/_aero_disk"']
    service = serve(images, *options)
    folder = tmp_path / "nginx"
    folder.mkdir()
    values = {"AERO_DISK_SERVICE": service.url, "AERO_DISK_IMAGES": str(images)}
    with Nginx(folder, configuration, values) as running:
        client = Client(running.port)
        for start in range(0, 20_000, 1000):
            answer = client.ask(DISK, {"Range": f"bytes={start}-{start + 999}"})
            assert (answer.status, answer.body) == (206, OLD[start : start + 1000])
            line = service.event("request")
            assert line["bytes"] == (0 if configuration == "accel-redirect" else 1000)
            assert line["request_id"] == answer.headers["x-request-id"]


def test_two_instances_share_nothing_but_the_store(
    images: Path, tmp_path: Path, serve: Callable[..., RunningService]
) -> None:
    services = [serve(images) for _ in range(2)]
    folder = tmp_path / "nginx"
    folder.mkdir()
    servers = "; server ".join(f"127.0.0.1:{service.port}" for service in services)
    with Nginx(folder, "reverse-proxy", {"AERO_DISK_SERVICE": servers}) as running:
        client = Client(running.port)
        answers = [
            client.ask(DISK, {"Range": f"bytes={start}-{start + 999}"})
            for start in range(0, 20_000, 1000)
        ]
        assert b"".join(answer.body for answer in answers) == OLD[:20_000]
        assert len({answer.headers["etag"] for answer in answers}) == 1
        for service in services:
            assert service.event("request")["status"] == 206
        # One that dies is not missed.
        services[0].process.kill()
        services[0].wait()
        for _ in range(5):
            assert client.ask(DISK, {"Range": "bytes=0-9"}).body == OLD[:10]
