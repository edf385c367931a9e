"""A server's response is used only as far as it was checked."""

from __future__ import annotations

import base64
import contextlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.errors import (
    DiskError,
    EmptyImageError,
    HttpStatusError,
    ImageChangedError,
    InvalidOptionError,
    InvalidResponseError,
    InvalidUrlError,
    NetworkError,
    RangeNotSupportedError,
    UnreadableHeaderError,
)
from aero_browser_disk.platform.base import Platform
from aero_browser_disk.platform.byte_range import ByteRange
from aero_browser_disk.platform.cpython import CpythonClock
from aero_browser_disk.remote.access import Access, ImageAddress
from aero_browser_disk.remote.byte_ranges import format_http_date
from aero_browser_disk.remote.numbers import decimal_number
from aero_browser_disk.remote.remote_image import ImageVersion, RemoteImage, Traffic
from aero_browser_disk.remote.response_headers import (
    freshness_s,
    retry_after_s,
    strong_validator,
)
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from support.samples import IMAGE

RANGE = ByteRange(1000, 201_000)


def access(url: str) -> Access:
    return Access(ImageAddress.parse(url), CpythonClock())


async def probe(server: ImageServer, platform: Platform, name: str = "disk.img") -> RemoteImage:
    return await RemoteImage.probe(platform.http, access(server.url(name)))


async def fetch(image: RemoteImage, byte_range: ByteRange = RANGE) -> bytes:
    received = bytearray()

    def deliver(offset: int, chunk: memoryview) -> None:
        assert offset == byte_range.start + len(received)
        received.extend(chunk)

    await image.fetch(byte_range, deliver)
    return bytes(received)


# ── probing ───────────────────────────────────────────────────────────────────────────────────────


async def test_head_tells_size_and_version_in_one_request(server, platform):
    image = await probe(server, platform)
    assert image.version.size == IMAGE.size
    assert image.version.validator == server.image("disk.img").version().etag
    assert [r.method for r in server.requests] == ["HEAD"]


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(head_status=405),
        Behaviour(head_status=403),
        Behaviour(head_length=False),
        Behaviour(head_status=501),
    ],
)
async def test_where_head_is_useless_the_first_byte_tells(server, platform, behaviour):
    server.behaviour = behaviour
    image = await probe(server, platform)
    assert image.version.size == IMAGE.size
    assert [(r.method, r.range) for r in server.requests] == [
        ("HEAD", None),
        ("GET", "bytes=0-0"),
    ]


async def test_a_compressed_head_tells_no_size(server, platform):
    server.fail_next(Behaviour(coding="gzip"))
    assert (await probe(server, platform)).version.size == IMAGE.size


@pytest.mark.parametrize(
    ("validators", "kind"),
    [("both", '"'), ("etag", '"'), ("last-modified", "GMT"), ("weak", ""), ("none", "")],
)
async def test_the_version_is_named_by_the_strongest_validator(server, platform, validators, kind):
    server.behaviour = Behaviour(validators=validators)
    validator = (await probe(server, platform)).version.validator
    assert kind in validator
    assert not validator.startswith("W/")
    assert bool(validator) == bool(kind)


@pytest.mark.parametrize("status", [401, 403, 404, 410, 500, 503])
async def test_a_refusal_says_its_status(server, platform, status):
    server.behaviour = Behaviour(status=status)
    with pytest.raises(HttpStatusError) as caught:
        await probe(server, platform)
    assert caught.value.status == status
    assert str(status) in str(caught.value)


async def test_an_empty_image_is_said_to_be_empty(server, platform):
    server.add("empty.img", b"")
    with pytest.raises(EmptyImageError):
        await probe(server, platform, "empty.img")


async def test_a_host_that_ignores_ranges_is_found_out_without_head(server, platform):
    server.behaviour = Behaviour(head_status=405, ignore_range=True)
    with pytest.raises(RangeNotSupportedError):
        await probe(server, platform)


async def test_nobody_listens(platform):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    address = ImageAddress.parse(f"http://127.0.0.1:{port}/disk.img?token=hidden")
    with pytest.raises(NetworkError) as caught:
        await RemoteImage.probe(platform.http, Access(address, CpythonClock()))
    assert "hidden" not in str(caught.value)


async def test_a_host_that_stays_silent_is_not_waited_for_for_ever(server, platform):
    server.behaviour = Behaviour(stall=True)
    address = ImageAddress.parse(server.url("disk.img"), timeout_s=0.05)
    with pytest.raises(NetworkError, match="nothing came"):
        await RemoteImage.probe(platform.http, Access(address, CpythonClock()))


# ── fetching ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_range_is_fetched_exactly_and_counted(server, platform):
    image = await probe(server, platform)
    assert await fetch(image) == IMAGE.read(RANGE.start, RANGE.length)
    assert server.requests[-1].range == "bytes=1000-200999"
    assert image.traffic.requests == len(server.requests)
    assert image.traffic.bytes_downloaded == RANGE.length
    assert image.traffic.in_flight == 0


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (Behaviour(ignore_range=True), RangeNotSupportedError),
        (Behaviour(content_range="shifted"), InvalidResponseError),
        (Behaviour(content_range="malformed"), InvalidResponseError),
        (Behaviour(content_range="missing"), UnreadableHeaderError),
        (Behaviour(content_range="wrong-size"), ImageChangedError),
        (Behaviour(multipart=True), InvalidResponseError),
        (Behaviour(coding="gzip"), InvalidResponseError),
        (Behaviour(coding="gzip-lie"), InvalidResponseError),
        (Behaviour(short_by=1), InvalidResponseError),
        (Behaviour(long_by=1), InvalidResponseError),
        (Behaviour(short_by=1, chunked=True), InvalidResponseError),
        (Behaviour(long_by=1, chunked=True), InvalidResponseError),
        (Behaviour(close_after=5000), NetworkError),
        (Behaviour(reset_after=5000), NetworkError),
        (Behaviour(reset=True), NetworkError),
        (Behaviour(status=403), HttpStatusError),
        (Behaviour(status=500), HttpStatusError),
        (Behaviour(validators="changing"), ImageChangedError),
        (Behaviour(validators="weak"), ImageChangedError),
        (Behaviour(validators="none"), ImageChangedError),
    ],
)
async def test_a_wrong_response_is_an_error_and_what_was_delivered_is_right(
    server, platform, behaviour, error
):
    image = await probe(server, platform)
    server.behaviour = behaviour
    received = bytearray()
    with pytest.raises(error) as caught:
        await image.fetch(RANGE, lambda _, chunk: received.extend(chunk))
    assert isinstance(caught.value, DiskError)
    assert bytes(received) == IMAGE.read(RANGE.start, len(received))
    assert len(received) <= RANGE.length
    assert image.traffic.in_flight == 0


async def test_a_whole_image_is_not_downloaded_where_a_part_was_asked_for(server, platform):
    image = await probe(server, platform)
    server.behaviour = Behaviour(ignore_range=True)
    with pytest.raises(RangeNotSupportedError):
        await fetch(image)
    server.wait_for(lambda s: s.requests[-1].is_finished)
    assert server.requests[-1].aborted
    assert server.requests[-1].bytes_sent < IMAGE.size


async def test_a_body_that_stalls_is_given_up(server, platform):
    address = ImageAddress.parse(server.url("disk.img"), timeout_s=1.0)
    image = await RemoteImage.probe(platform.http, Access(address, CpythonClock()))
    server.behaviour = Behaviour(stall_after=5000)
    with pytest.raises(NetworkError, match="nothing came"):
        await fetch(image)
    server.wait_for(lambda s: s.requests[-1].aborted)


async def test_another_version_delivers_nothing(server, platform):
    image = await probe(server, platform)
    server.image("disk.img").replace(b"\xff" * IMAGE.size)
    with pytest.raises(ImageChangedError) as caught:
        await image.fetch(RANGE, lambda *_: pytest.fail("delivered"))
    assert image.changed
    assert caught.value.pinned == str(image.version)
    assert caught.value.found != caught.value.pinned


@pytest.mark.parametrize("size", [100, RANGE.start + 10])
async def test_an_image_that_shrank_has_changed(server, platform, size):
    image = await probe(server, platform)
    server.image("disk.img").replace(bytes(size))
    with pytest.raises(ImageChangedError):
        await fetch(image)


async def test_a_pin_by_date_holds_where_there_is_no_etag(server, platform):
    server.behaviour = Behaviour(validators="last-modified")
    image = await probe(server, platform)
    assert await fetch(image) == IMAGE.read(RANGE.start, RANGE.length)
    server.behaviour = Behaviour(validators="none")
    with pytest.raises(ImageChangedError):
        await fetch(image)


async def test_a_size_that_the_host_does_not_know_is_no_contradiction(server, platform):
    image = await probe(server, platform)
    server.behaviour = Behaviour(content_range="no-size")
    assert await fetch(image) == IMAGE.read(RANGE.start, RANGE.length)


async def test_redirects_lead_to_the_image(server, platform):
    server.add("moved.img", b"")
    server.image("moved.img").behaviour = Behaviour(
        redirect_status=302, redirect_to=server.url("disk.img")
    )
    image = await probe(server, platform, "moved.img")
    assert await fetch(image) == IMAGE.read(RANGE.start, RANGE.length)


# ── addresses and headers ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url",
    ["", "disk.img", "ftp://host/x", "file:///x", "https://", "http://[::1", "http://h:port/x"],
)
def test_what_is_no_web_address_is_refused(url):
    with pytest.raises(InvalidUrlError):
        ImageAddress.parse(url)


def test_user_info_becomes_a_header_and_leaves_the_address():
    address = ImageAddress.parse("https://user:p%40ss@host:8443/a?b=c#frag")
    assert address.url == "https://host:8443/a?b=c"
    assert address.headers == {"Authorization": "Basic " + base64.b64encode(b"user:p@ss").decode()}
    assert "c" not in address.shown.partition("?")[2]


@given(st.text())
def test_an_address_is_read_or_refused(text):
    try:
        address = ImageAddress.parse(text)
    except InvalidUrlError:
        return
    assert address.url.startswith(("http://", "https://"))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("max-age=60", 60),
        ("public, MAX-AGE=60, no-transform", 60),
        ('max-age="60"', 60),
        ("no-cache", 0),
        ("max-age=60, no-cache", 0),
        ("private, no-store, max-age=60", 0),
        ("s-maxage=60", 0),
        ("", 0),
        ("max-age=-1", 0),
    ],
)
def test_how_long_a_response_is_fresh(value, seconds):
    assert freshness_s({"cache-control": value}) == seconds


def test_age_is_taken_off():
    assert freshness_s({"cache-control": "max-age=60", "age": "45"}) == 15
    assert freshness_s({"cache-control": "max-age=60", "age": "90"}) == 0


@given(st.text(), st.text())
def test_a_validator_is_a_strong_tag_or_a_date_or_nothing(etag, date):
    validator = strong_validator({"etag": etag, "last-modified": date}, 1e12)
    assert not validator.startswith("W/")


# ── dates as validators (RFC 9110 §8.8.2.2) ───────────────────────────────────────────────────────

NOW_S = 1_700_000_000


@pytest.mark.parametrize(
    ("modified", "date", "is_strong"),
    [
        (0, 0, False),
        (0, 1, True),
        (1, 0, False),
        (0, None, False),
        (-59, None, False),
        (-60, None, True),
        (10, None, False),
    ],
)
def test_a_date_names_a_version_once_it_is_older_than_the_response(modified, date, is_strong):
    headers = {"etag": 'W/"a"', "last-modified": format_http_date(NOW_S + modified)}
    if date is not None:
        headers["date"] = format_http_date(NOW_S + date)
    found = strong_validator(headers, NOW_S)
    assert found == (headers["last-modified"] if is_strong else "")


def fresh(tag: str, modified: int = NOW_S, date: int = NOW_S) -> Behaviour:
    return Behaviour(
        headers=(
            ("ETag", tag),
            ("Last-Modified", format_http_date(modified)),
            ("Date", format_http_date(date)),
        )
    )


async def test_an_image_that_has_just_changed_has_no_validator_until_it_has_aged(server, platform):
    server.behaviour = fresh('W/"a"')
    assert (await probe(server, platform)).version.validator == ""
    server.behaviour = fresh('W/"a"', date=NOW_S + 1)
    assert (await probe(server, platform)).version.validator == format_http_date(NOW_S)


@pytest.mark.parametrize("later", [fresh('W/"b"'), fresh('W/"a"', NOW_S + 1, NOW_S + 1)])
async def test_no_bytes_of_two_versions_of_one_second(server, platform, later):
    """Apache sends a weak ETag exactly because the file was changed in this second."""
    server.behaviour = fresh('W/"a"')
    image = await probe(server, platform)
    assert await fetch(image) == IMAGE.read(RANGE.start, RANGE.length)
    server.behaviour = later
    with pytest.raises(ImageChangedError):
        await fetch(image)


async def test_a_tag_that_becomes_strong_is_of_the_same_version(server, platform):
    server.behaviour = fresh('W/"a"')
    image = await probe(server, platform)
    server.behaviour = fresh('"a"', date=NOW_S + 5)
    assert await fetch(image) == IMAGE.read(RANGE.start, RANGE.length)


# ── numbers of any length ─────────────────────────────────────────────────────────────────────────

LONG = "9" * 5000


@pytest.mark.parametrize(
    "header",
    [
        ("Content-Length", LONG),
        ("Content-Range", f"bytes 0-0/{LONG}"),
        ("Content-Range", f"bytes {LONG}-{LONG}/{LONG}"),
        ("Cache-Control", f"max-age={LONG}"),
        ("Age", LONG),
        ("Last-Modified", f"Thu, {LONG} Jan 1970 00:00:00 GMT"),
        ("Link", '<http://[::1>; rel="x"'),
    ],
)
async def test_a_number_of_thousands_of_digits_is_an_error_of_ours_or_none(
    server, platform, header
):
    server.behaviour = Behaviour(head_status=405, headers=(header,))
    with contextlib.suppress(DiskError):
        image = await probe(server, platform)
        await fetch(image)


async def test_a_long_number_does_not_make_a_long_error(server, platform):
    server.behaviour = Behaviour(headers=(("Content-Range", f"bytes 0-0/{LONG}x"),))
    version = ImageVersion(IMAGE.size, "")
    image = RemoteImage(platform.http, access(server.url("disk.img")), version, Traffic())
    with pytest.raises(InvalidResponseError) as caught:
        await fetch(image)
    assert len(str(caught.value)) < 1000


async def test_a_long_content_length_of_head_is_left_to_the_range_request(server, platform):
    server.fail_next(Behaviour(headers=(("Content-Length", LONG),)))
    image = await probe(server, platform)
    assert image.version.size == IMAGE.size


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("007", 7), (" 12\t", 12), (LONG, 10**20), ("0" * 5000 + "1", 1)]
    + [(text, None) for text in ("", "-1", "+1", "1.0", "1_0", "٣", "²", "0x1", "1 2")],
)
def test_decimal_numbers(text, number):
    assert decimal_number(text) == number


def test_long_times_are_cut():
    assert freshness_s({"cache-control": f"max-age={LONG}"}) == 2**31
    assert retry_after_s({"retry-after": LONG}) == 2**31


# ── credentials ───────────────────────────────────────────────────────────────────────────────────

SECRETS = {
    "authorization": "Bearer s",
    "COOKIE": "a=s",
    "Proxy-Authorization": "Basic s",
    "x-o": "1",
}


async def test_credentials_stay_with_their_origin_over_any_number_of_hops(server, platform):
    with ImageServer({"disk.img": IMAGE}) as other:
        back = server.url("disk.img") + "?back"
        server.fail_next(Behaviour(redirect_status=307, redirect_to=server.url("disk.img") + "?a"))
        server.fail_next(Behaviour(redirect_status=302, redirect_to=other.url("disk.img")))
        other.fail_next(Behaviour(redirect_status=308, redirect_to=back))
        response = await platform.http.request("GET", server.url("disk.img"), SECRETS)
        response.abort()
        names = [
            {name for name in request.headers if name in {name.lower() for name in SECRETS}}
            for request in (*server.requests[:2], *other.requests, server.requests[2])
        ]
        every = {"authorization", "cookie", "proxy-authorization", "x-o"}
        assert names == [every, every, {"x-o"}, {"x-o"}]


@pytest.mark.parametrize("name", ["Range", "if-range", "bad name", "", "a\nb", "é"])
def test_headers_that_cannot_be_sent_are_refused(name):
    with pytest.raises(InvalidOptionError):
        ImageAddress.parse("https://host/", {name: "x"})


@pytest.mark.parametrize("value", ["secret\r\nX: y", "secret\0", "secret…", 5])
def test_a_header_value_that_cannot_be_sent_is_refused_and_not_shown(value):
    with pytest.raises(InvalidOptionError) as caught:
        ImageAddress.parse("https://host/", {"X-Token": value})
    assert "secret" not in f"{caught.value} {caught.value.fields()}"


def test_a_header_of_the_caller_stands_for_the_user_info_in_any_case():
    address = ImageAddress.parse("https://u:p@host/", {"authorization": "Bearer x"})
    assert address.headers == {"authorization": "Bearer x"}
