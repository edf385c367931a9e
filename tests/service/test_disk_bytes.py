"""The bytes of an image: every range gets exactly its bytes, with headers that say which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aero_browser_disk.remote.byte_ranges import EntityTag, parse_http_date

from .conftest import on_each_server

if TYPE_CHECKING:
    from .conftest import RunningService

pytestmark = on_each_server

positions = st.integers(0, 700_000)


def test_the_whole_image(service: RunningService, address: str, disk: bytes) -> None:
    answer = service.ask(address)
    assert answer.status == 200
    assert answer.body == disk
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["cache-control"] == "public, max-age=300, no-transform"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert not EntityTag.parse(answer.headers["etag"]).weak
    assert parse_http_date(answer.headers["last-modified"]) is not None
    assert "content-range" not in answer.headers


def test_the_other_address_of_the_same_bytes(service: RunningService, disk: bytes) -> None:
    answer = service.ask("/v1/images/disk.img", {"Range": "bytes=7-9"})
    assert (answer.status, answer.body) == (206, disk[7:10])


@settings(deadline=None)
@given(first=positions, extra=positions)
def test_a_range_gets_what_slicing_gets(
    service: RunningService, address: str, disk: bytes, first: int, extra: int
) -> None:
    for value, expected in (
        (f"bytes={first}-{first + extra}", disk[first : first + extra + 1]),
        (f"bytes={first}-", disk[first:]),
        (f"bytes=-{extra}", disk[-extra:] if extra else b""),
    ):
        answer = service.ask(address, {"Range": value})
        if not expected:
            assert answer.status == 416
            assert answer.headers["content-range"] == f"bytes */{len(disk)}"
            continue
        start = len(disk) - len(expected) if value.startswith("bytes=-") else first
        assert answer.status == 206
        assert answer.body == expected
        assert (
            answer.headers["content-range"]
            == f"bytes {start}-{start + len(expected) - 1}/{len(disk)}"
        )


@settings(deadline=None)
@given(value=st.text(alphabet="bytes=-0123456789, x", max_size=30))
def test_no_range_header_gets_wrong_bytes(
    service: RunningService, address: str, disk: bytes, value: str
) -> None:
    answer = service.ask(address, {"Range": value})
    if answer.status == 206:
        span, _, size = answer.headers["content-range"].removeprefix("bytes ").partition("/")
        first, last = map(int, span.split("-"))
        assert (answer.body, int(size)) == (disk[first : last + 1], len(disk))
    elif answer.status == 200:
        assert answer.body == disk
    else:
        assert answer.status == 416


@pytest.mark.parametrize(
    "value", ["sectors=0-1", "bytes=5-4", "bytes=a-b", "bytes", "bytes=", "bytes=-", "0-1"]
)
def test_a_range_that_makes_no_sense_is_ignored(
    service: RunningService, address: str, disk: bytes, value: str
) -> None:
    answer = service.ask(address, {"Range": value})
    assert (answer.status, answer.body) == (200, disk)


@pytest.mark.parametrize("value", ["bytes=0-1,4-5", "bytes=0-,-1", "bytes=0-0, 2-2"])
def test_several_ranges_are_refused(
    service: RunningService, address: str, disk: bytes, value: str
) -> None:
    answer = service.ask(address, {"Range": value})
    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{len(disk)}"
    assert answer.json["error"]["code"] == "multiple_ranges"


def test_two_range_headers_are_no_single_range(
    service: RunningService, address: str, disk: bytes
) -> None:
    answer = service.ask(address, [("Range", "bytes=0-1"), ("Range", "bytes=4-5")])
    assert (answer.status, answer.body) == (200, disk)


def test_a_range_far_behind_the_end(service: RunningService, address: str, disk: bytes) -> None:
    answer = service.ask(address, {"Range": f"bytes={'9' * 5000}-"})
    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{len(disk)}"
    assert answer.json["error"]["code"] == "range_not_satisfiable"
    assert "etag" in answer.headers


@pytest.mark.parametrize(
    "value", [None, "bytes=5-9", "bytes=-3", "bytes=9999999-", "bytes=0-1,3-4"]
)
def test_head_equals_get_without_the_body(
    service: RunningService, address: str, value: str | None
) -> None:
    headers = {} if value is None else {"Range": value}
    got, head = service.ask(address, headers), service.ask(address, headers, method="HEAD")
    assert head.body == b""
    assert head.status == got.status
    differs = {"date": "", "x-request-id": ""}
    assert head.headers | differs == got.headers | differs
    assert int(head.headers["content-length"]) == len(got.body)


@pytest.mark.parametrize(("name", "size"), [("5GiB.img", 5 << 30), ("2TiB.img", 2 << 40)])
def test_offsets_beyond_four_gib_and_one_tib(service: RunningService, name: str, size: int) -> None:
    path = f"/disks/{name}/bytes"
    for offset in ((4 << 30) - 4, size - 8):
        answer = service.ask(path, {"Range": f"bytes={offset}-{offset + 7}"})
        assert answer.status == 206
        assert answer.headers["content-range"] == f"bytes {offset}-{offset + 7}/{size}"
        assert answer.body == offset.to_bytes(8, "big")
    assert service.ask(path, {"Range": "bytes=-8"}).body == (size - 8).to_bytes(8, "big")
    assert service.ask(path, {"Range": f"bytes={size}-"}).status == 416
    assert service.ask(path, method="HEAD").headers["content-length"] == str(size)


def test_an_empty_image(service: RunningService) -> None:
    path = "/disks/empty.img/bytes"
    assert service.ask(path).status == 200
    assert service.ask(path, {"Range": "bytes=0-0"}).headers["content-range"] == "bytes */0"
    # Satisfiable (RFC 9110 §14.1.2), but no Content-Range could say which bytes it got.
    assert service.ask(path, {"Range": "bytes=-1"}).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_only_reads(service: RunningService, address: str, method: str) -> None:
    answer = service.ask(address, method=method, body=b"x" * 200_000)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert answer.json["error"]["code"] == "method_not_allowed"
    # The connection goes on with the next request.
    assert service.ask(address, {"Range": "bytes=0-0"}).status == 206
