"""The list of a service's images: asked for with consent only, and not believed beyond reason."""

from __future__ import annotations

import json

import pytest

from aero_browser_disk import errors
from aero_browser_disk.remote.image_catalog import fetch_catalog, read_catalog
from aero_browser_disk.testing.behaviour import Behaviour

URL = "https://disks.example/base/v1/images"
ENTRY = {"id": "a b.img", "name": "A", "size_bytes": 4096, "description": "first"}


def listed(*entries: object) -> bytes:
    return json.dumps({"images": entries}).encode()


def test_an_image_has_its_address_below_the_base_of_the_service() -> None:
    (image,) = read_catalog(URL, listed(ENTRY))

    assert image.url == "https://disks.example/base/disks/a%20b.img/bytes"
    assert (image.name, image.description, image.size) == ("A", "first", 4096)


def test_what_a_service_leaves_out_is_its_id() -> None:
    (image,) = read_catalog(URL, listed({"id": "x", "size_bytes": 1}))

    assert (image.name, image.description) == ("x", "")


def test_text_of_the_service_is_one_short_line_that_prints() -> None:
    (image,) = read_catalog(URL, listed({**ENTRY, "name": "a\n\u202eb " + "x" * 999}))

    assert image.name.startswith("a \ufffdb x")
    assert len(image.name) <= 200


def test_no_more_than_two_hundred_are_taken() -> None:
    assert len(read_catalog(URL, listed(*[ENTRY] * 300))) == 200


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"images": 7}',
        b'{"images": [{}]}',
        b'{"images": [[]]}',
        listed({"id": "x"}),
        listed({"id": "x", "size_bytes": "1"}),
        listed({"id": "x", "size_bytes": -1}),
    ],
)
def test_what_is_no_such_list_is_said(document: bytes) -> None:
    with pytest.raises(errors.InvalidDocumentError):
        read_catalog(URL, document)


async def test_nothing_is_asked_without_consent(platform, server) -> None:
    with pytest.raises(errors.RemoteImagesDisabledError):
        await fetch_catalog(server.url("v1/images"), platform.http, allow_remote=False)

    assert server.requests == []


async def test_a_list_comes_from_the_network(platform, server) -> None:
    server.add("list", listed(ENTRY))
    (image,) = await fetch_catalog(server.url("list"), platform.http, allow_remote=True)
    assert image.name == "A"

    with pytest.raises(errors.HttpStatusError):
        await fetch_catalog(server.url("none"), platform.http, allow_remote=True)


async def test_a_list_without_end_is_not_read_to_it(platform, server) -> None:
    server.add("list", b" " * (5 << 20))

    with pytest.raises(errors.InvalidDocumentError, match="longer"):
        await fetch_catalog(server.url("list"), platform.http, allow_remote=True)


@pytest.mark.parametrize("url", ["", "ftp://host/list", "javascript:1", "data:,x"])
async def test_only_the_web_is_asked(platform, url: str) -> None:
    with pytest.raises(errors.InvalidUrlError):
        await fetch_catalog(url, platform.http, allow_remote=True)


@pytest.mark.parametrize("silence", [{"stall": True}, {"stall_after": 10}])
async def test_a_service_that_falls_silent_is_not_waited_for(platform, server, silence) -> None:
    server.add("list", listed(ENTRY))
    server.behaviour = Behaviour(**silence)

    with pytest.raises(errors.NetworkError, match="nothing came"):
        await fetch_catalog(server.url("list"), platform.http, allow_remote=True, timeout_s=0.1)


@pytest.mark.parametrize("size", [2**53, 10**4000, -1, True, 1.0, "1"])
def test_a_size_beyond_reason_is_refused(size: object) -> None:
    with pytest.raises(errors.InvalidDocumentError):
        read_catalog(URL, listed({"id": "x", "size_bytes": size}))


def test_a_list_of_endless_depth_is_refused() -> None:
    with pytest.raises(errors.InvalidDocumentError):
        read_catalog(URL, b"[" * 100_000)


def test_a_prepared_image_is_opened_by_its_manifest() -> None:
    (image,) = read_catalog(URL, listed({**ENTRY, "layout": "prepared"}))

    assert image.url == "https://disks.example/base/disks/a%20b.img/manifest.json"
