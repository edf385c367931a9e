"""One parse of an address for everything: what is asked, shown and compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.errors import DiskError, InvalidUrlError
from aero_browser_disk.platform.redaction import HIDDEN, redact_url
from aero_browser_disk.platform.web_url import parse_location, parse_web_url
from aero_browser_disk.remote.access import ImageAddress
from aero_browser_disk.testing.behaviour import Behaviour
from support.addresses import ADDRESSES, LOCATIONS

awkward = st.from_regex(r"https?:[/\\]{0,3}[ -~é\ud800\t\n]{0,40}", fullmatch=True)


@pytest.mark.parametrize(("text", "asked"), ADDRESSES)
def test_addresses_are_read_as_the_url_standard_has_it(text, asked):
    url = parse_web_url(text)
    assert (None if url is None else url.plain) == asked


@pytest.mark.parametrize(("text", "asked"), ADDRESSES)
def test_an_image_is_asked_for_at_that_address_or_refused(text, asked):
    if asked is None:
        with pytest.raises(InvalidUrlError):
            ImageAddress.parse(text)
    else:
        assert ImageAddress.parse(text).url == asked


@pytest.mark.parametrize(("value", "target"), LOCATIONS)
def test_where_a_redirect_leads(value, target):
    url = parse_location(value, "http://host/folder/disk.img")
    assert (None if url is None else url.plain) == target


@given(st.text() | awkward)
def test_reading_an_address_again_changes_nothing(text):
    url = parse_web_url(text)
    if url is not None:
        assert parse_web_url(url.plain).plain == url.plain


@given(awkward)
def test_what_is_shown_is_what_is_asked(text):
    url = parse_web_url(text)
    shown = redact_url(text)
    if url is not None and not shown.endswith(f"://{HIDDEN}"):
        assert shown.partition("?")[0].partition("#")[0].replace(f"{HIDDEN}@", "") == (
            url.origin + url.path
        )


@pytest.mark.parametrize("path", ["two words.img", "é.img", "a|b.img"])
async def test_awkward_paths_are_asked_for(server, platform, path):
    response = await platform.http.request("GET", server.url("disk.img")[: -len("disk.img")] + path)
    response.abort()
    assert response.status == 404
    (request,) = server.requests
    assert request.status == 404


@pytest.mark.parametrize("location", ["http://[::1", "http://127.0.0.1:99999/", "ftp://x/"])
async def test_a_location_that_is_no_web_address_is_an_error_of_ours(server, platform, location):
    server.behaviour = Behaviour(redirect_status=302, redirect_to=location)
    with pytest.raises(DiskError) as caught:
        await platform.http.request("GET", server.url("disk.img"))
    assert "CORS" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:99999/", "http://a b/"])
async def test_an_address_that_cannot_be_asked_blames_no_cors(platform, url):
    with pytest.raises(InvalidUrlError) as caught:
        await platform.http.request("GET", url)
    assert "CORS" not in str(caught.value)


def test_the_parts_of_an_address_are_found_once():
    url = "https://images.example/disk.img?key=7"
    assert parse_web_url(url) is parse_web_url(url)
    assert parse_web_url("a.img", url) is parse_web_url("a.img", url)
    assert parse_web_url("a.img", url) != parse_web_url("a.img", "https://other.example/")
