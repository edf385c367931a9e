"""What lets a page of another origin read the answers, whatever their status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.prepared import prepared_files

from .conftest import on_each_server, put_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import RunningService

PAGE = "https://app.example.com"
OTHER = "https://evil.example.net"
READ = ("ETag", "Content-Range", "Accept-Ranges", "Content-Length", "Last-Modified", "Retry-After")
EVERY_STATUS = [
    ("/disks/disk.img/bytes", {}, 200),
    ("/disks/disk.img/bytes", {"Range": "bytes=0-0"}, 206),
    ("/disks/disk.img/bytes", {"If-None-Match": "*"}, 304),
    ("/disks/nothing.img/bytes", {}, 404),
    ("/disks/../bytes", {}, 404),
    ("/nothing", {}, 404),
    ("/disks/disk.img/bytes", {"If-Match": '"other"'}, 412),
    ("/disks/disk.img/bytes", {"Range": "bytes=9999999-"}, 416),
    ("/disks/packed.img/bytes", {"Range": "bytes=0-0"}, 206),
    ("/disks/packed.img/manifest.json", {}, 200),
    ("/disks/packed.img/manifest.json", {"If-None-Match": "*"}, 304),
    ("/disks/disk.img/manifest.json", {}, 404),
    ("/disks/packed.img/chunks/00/00", {}, 404),
    ("/v1/images", {}, 200),
    ("/v1/images", {"If-None-Match": "*"}, 304),
    ("/v1/images/disk.img/meta", {}, 200),
    ("/healthz", {}, 200),
]


def names(value: str) -> set[str]:
    return {name.strip().lower() for name in value.split(",")}


@on_each_server
@pytest.mark.parametrize(("path", "headers", "status"), EVERY_STATUS)
def test_every_page_may_read_public_images(
    service: RunningService, path: str, headers: dict[str, str], status: int
) -> None:
    answer = service.ask(path, headers | {"Origin": PAGE})
    assert answer.status == status
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert names(", ".join(READ)) <= names(answer.headers["access-control-expose-headers"])
    assert answer.headers["cross-origin-resource-policy"] == "same-site"


@pytest.fixture
def listed(tmp_path: Path, serve: Callable[..., RunningService]) -> RunningService:
    (tmp_path / "disk.img").write_bytes(bytes(512))
    put_files(tmp_path / "packed.img", prepared_files(bytes(5000), 4096))
    options = ("--allow-origin", PAGE, "--allow-origin", "http://localhost:5173")
    return serve(tmp_path, *options, "--resource-policy", "cross-origin")


def test_only_listed_pages_may_read(listed: RunningService) -> None:
    for path, headers, status in EVERY_STATUS:
        for origin in (PAGE, "http://localhost:5173"):
            answer = listed.ask(path, headers | {"Origin": origin})
            assert answer.status == status
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["vary"] == "Origin"
            assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        for strange in ({"Origin": OTHER}, {"Origin": "null"}, {"Origin": PAGE + ".evil.net"}, {}):
            answer = listed.ask(path, headers | strange)
            assert answer.status == status
            assert "access-control-allow-origin" not in answer.headers
            assert answer.headers["vary"] == "Origin"


def preflight(origin: str, headers: str) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": headers,
    }


@on_each_server
@pytest.mark.parametrize("path", ["/disks/disk.img/bytes", "/disks/nothing/bytes", "/v1/images"])
def test_a_preflight(service: RunningService, path: str) -> None:
    asked = "if-match,if-modified-since,if-none-match,if-range,if-unmodified-since,range"
    answer = service.ask(path, preflight(PAGE, asked), method="OPTIONS")
    assert answer.status == 204
    assert answer.body == b""
    assert answer.headers["access-control-allow-origin"] == "*"
    assert names(answer.headers["access-control-allow-methods"]) == {"get", "head", "options"}
    assert names(asked) <= names(answer.headers["access-control-allow-headers"])
    assert answer.headers["access-control-max-age"] == "600"
    assert names(answer.headers["vary"]) == {
        "origin",
        "access-control-request-method",
        "access-control-request-headers",
    }


def test_a_preflight_from_a_page_that_is_not_listed(listed: RunningService) -> None:
    path = "/disks/disk.img/bytes"
    refused = listed.ask(path, preflight(OTHER, "range"), method="OPTIONS")
    assert "access-control-allow-origin" not in refused.headers
    allowed = listed.ask(path, preflight(PAGE, "range"), method="OPTIONS")
    assert allowed.headers["access-control-allow-origin"] == PAGE
    for answer in (refused, allowed):
        assert answer.status == 204
        assert "origin" in names(answer.headers["vary"])
        assert "access-control-request-headers" in names(answer.headers["vary"])


@on_each_server
def test_an_options_that_is_no_preflight(service: RunningService) -> None:
    answer = service.ask("/disks/disk.img/bytes", method="OPTIONS")
    assert answer.status == 204
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert "access-control-allow-methods" not in answer.headers
