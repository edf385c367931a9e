"""Which requests are alike: those that the parser would read alike, but for range and id."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.service.http.request_form import RequestForm

REQUEST = b"GET /disks/a/bytes HTTP/1.1\r\nHost: x\r\nRange: bytes=0-511\r\nAccept: */*\r\n\r\n"
PROXIED = (
    b"GET /disks/a/bytes HTTP/1.1\r\nHost: x\r\nX-Request-Id: 0123abcd\r\nAccept: */*\r\n"
    b"rAnGe:  bytes=5-9\r\n\r\n"
)
LATER_ID = REQUEST.replace(b"Accept: */*", b"x-request-id:one")


def form_of(request: bytes) -> RequestForm:
    form = RequestForm.of(request)
    assert form is not None
    return form


@pytest.mark.parametrize(
    ("request_", "values"),
    [(REQUEST, (b"0-511", b"")), (PROXIED, (b"5-9", b"0123abcd")), (LATER_ID, (b"0-511", b"one"))],
)
def test_what_varies_is_found(request_: bytes, values: tuple[bytes, bytes]) -> None:
    assert form_of(request_).values(request_) == values


@given(
    first=st.integers(0, 10**18),
    last=st.integers(0, 10**18),
    request_id=st.from_regex(re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII), fullmatch=True),
)
def test_those_that_differ_in_it_are_alike(first: int, last: int, request_id: str) -> None:
    span = b"%d-%d" % (first, last)
    other = PROXIED.replace(b"5-9", span).replace(b"0123abcd", request_id.encode())
    assert form_of(PROXIED).values(other) == (span, request_id.encode())


@given(data=st.data(), request_=st.sampled_from([REQUEST, PROXIED]))
def test_one_that_differs_elsewhere_is_not(data: st.DataObject, request_: bytes) -> None:
    """One byte more, less or other, anywhere: it is of the form only if it spells another value."""
    at = data.draw(st.integers(0, len(request_) - 1))
    new = data.draw(st.binary(max_size=2))
    other = request_[:at] + new + request_[at + 1 :]
    values = form_of(request_).values(other)
    if values is not None:
        span, request_id = values
        assert re.fullmatch(rb"[0-9]+-[0-9]+", span)
        assert re.fullmatch(rb"[A-Za-z0-9._-]*", request_id)
        old_span, old_id = form_of(request_).values(request_) or (b"", b"")
        spelled = request_.replace(b"bytes=" + old_span, b"bytes=" + span)
        assert other == spelled.replace(b": " + old_id, b": " + request_id, bool(old_id))


@pytest.mark.parametrize(
    "range_",
    [
        *(b"bytes=0-", b"bytes=-5", b"bytes=0-1,4-5", b"bytes=0-1 ", b"items=0-1", b"bytes=0--1"),
        *(b"bytes=+0-1", b"bytes=0-1_0", b"bytes=a-b", b"bytes=", b"bytes=0-" + b"9" * 40),
        *("bytes=٠-١".encode(), b"bytes=0-1\r\nRange: bytes=5-6"),
    ],
)
def test_other_ranges_are_not(range_: bytes) -> None:
    other = REQUEST.replace(b"bytes=0-511", range_)
    assert form_of(REQUEST).values(other) is None
    found = RequestForm.of(other)
    assert found is None or found.values(other) is not None


def test_an_id_that_does_not_count_stays_as_it_is() -> None:
    odd = PROXIED.replace(b"0123abcd", b"what is this?")
    assert RequestForm.of(odd) is None
    assert form_of(PROXIED).values(odd) is None


def test_two_requests_or_a_part_of_one_are_not() -> None:
    form = form_of(REQUEST)
    assert form.values(REQUEST * 2) is None
    for end in range(len(REQUEST)):
        assert form.values(REQUEST[:end]) is None
