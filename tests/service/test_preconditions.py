"""Conditional requests, in the order of precedence of RFC 9110 §13.2.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies

from aero_browser_disk.remote.byte_ranges import format_http_date, parse_http_date

from .conftest import on_each_server

if TYPE_CHECKING:
    from .conftest import RunningService


# E: the ETag, W: the same as a weak one, D: the date, <: the second before, >: the second after.
TABLE = [
    # one precondition
    ({"If-Match": "E"}, 200),
    ({"If-Match": "*"}, 200),
    ({"If-Match": '"other"'}, 412),
    ({"If-Match": '"other", E'}, 200),
    ({"If-Match": "W"}, 412),
    ({"If-Match": "garbage"}, 412),
    ({"If-None-Match": "E"}, 304),
    ({"If-None-Match": "W"}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": '"other", E'}, 304),
    ({"If-None-Match": '"other"'}, 200),
    ({"If-None-Match": "garbage"}, 200),
    ({"If-Modified-Since": "D"}, 304),
    ({"If-Modified-Since": ">"}, 304),
    ({"If-Modified-Since": "<"}, 200),
    ({"If-Modified-Since": "yesterday"}, 200),
    ({"If-Unmodified-Since": "D"}, 200),
    ({"If-Unmodified-Since": ">"}, 200),
    ({"If-Unmodified-Since": "<"}, 412),
    ({"If-Unmodified-Since": "yesterday"}, 200),
    # a tag stands before a date
    ({"If-Match": "E", "If-Unmodified-Since": "<"}, 200),
    ({"If-None-Match": '"other"', "If-Modified-Since": "D"}, 200),
    ({"If-None-Match": "E", "If-Modified-Since": "<"}, 304),
    # 412 stands before 304, and both before the range
    ({"If-Match": '"other"', "If-None-Match": "E"}, 412),
    ({"If-Match": "E", "If-None-Match": "E"}, 304),
    ({"If-Unmodified-Since": "<", "If-None-Match": "E"}, 412),
    ({"If-None-Match": "E", "Range": "bytes=0-9"}, 304),
    ({"If-Match": '"other"', "Range": "bytes=9999999-"}, 412),
    ({"If-Match": "E", "Range": "bytes=9999999-"}, 416),
    ({"If-Match": "E", "Range": "bytes=0-9"}, 206),
    # If-Range: strong, and dates to the second
    ({"If-Range": "E", "Range": "bytes=0-9"}, 206),
    ({"If-Range": "W", "Range": "bytes=0-9"}, 200),
    ({"If-Range": '"other"', "Range": "bytes=0-9"}, 200),
    ({"If-Range": "D", "Range": "bytes=0-9"}, 206),
    ({"If-Range": "<", "Range": "bytes=0-9"}, 200),
    ({"If-Range": ">", "Range": "bytes=0-9"}, 200),
    ({"If-Range": "garbage", "Range": "bytes=0-9"}, 200),
    ({"If-Range": '"other"', "Range": "bytes=9999999-"}, 200),
    ({"If-Range": "E", "Range": "bytes=9999999-"}, 416),
    ({"If-Range": '"other"'}, 200),
]


@on_each_server
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("conditions", "status"), TABLE, ids=str)
def test_the_table(
    service: RunningService,
    address: str,
    disk: bytes,
    method: str,
    conditions: dict[str, str],
    status: int,
) -> None:
    now = service.ask(address, method="HEAD").headers
    etag, date = now["etag"], now["last-modified"]
    modified_s = parse_http_date(date)
    assert modified_s is not None
    values = {
        "D": date,
        "<": format_http_date(modified_s - 1),
        ">": format_http_date(modified_s + 1),
        "W": f"W/{etag}",
    }
    headers = {
        name: values.get(value)
        or (value if value.startswith("bytes") else value.replace("E", etag))
        for name, value in conditions.items()
    }
    answer = service.ask(address, headers, method=method)
    assert answer.status == status
    # Whatever the answer, it tells which version it is about.
    assert (answer.headers["etag"], answer.headers["last-modified"]) == (etag, date)
    if method == "GET" and status in (200, 206):
        assert answer.body == (disk if status == 200 else disk[:10])
    if status == 304:
        assert answer.headers["cache-control"] == "public, max-age=300, no-transform"
        assert answer.body == b""


# Each condition by what it comes to for the version of now: its value ({etag} and dates filled in),
# and whether it matches, strongly and weakly; a date: how many seconds it is from the version's.
TAGS: list[tuple[str, bool, bool]] = [
    ("{etag}", True, True),
    ("W/{etag}", False, True),
    ('"other", {etag}', True, True),
    ('"a,b", W/"x", W/{etag}', False, True),
    ('"other"', False, False),
    ("*", True, True),
    ("not a tag", False, False),
    ('"unended', False, False),
]
DATES: list[int | None] = [-86_400, -1, 0, 1, 86_400, None]
conditions = strategies.fixed_dictionaries(
    {},
    optional={
        "If-Match": strategies.sampled_from(TAGS),
        "If-None-Match": strategies.sampled_from(TAGS),
        "If-Unmodified-Since": strategies.sampled_from(DATES),
        "If-Modified-Since": strategies.sampled_from(DATES),
        "If-Range": strategies.sampled_from([*TAGS[:2], TAGS[4], *DATES[1:4]]),
        "Range": strategies.just("bytes=3-9"),
    },
)


def status_due(given: dict[str, Any]) -> int:
    """RFC 9110 §13.2.2, step by step."""
    until, since = given.get("If-Unmodified-Since"), given.get("If-Modified-Since")
    if "If-Match" in given:
        if not given["If-Match"][1]:
            return 412
    elif until is not None and until < 0:
        return 412
    if "If-None-Match" in given:
        if given["If-None-Match"][2]:
            return 304
    elif since is not None and since >= 0:
        return 304
    if "Range" not in given:
        return 200
    validator = given.get("If-Range", TAGS[0])
    same = validator[1] if isinstance(validator, tuple) else validator == 0
    return 206 if same else 200


@examples(conditions, strategies.sampled_from(["GET", "HEAD"]))
def test_every_combination_comes_to_what_the_standard_says(
    service: RunningService, address: str, disk: bytes, given: dict[str, Any], method: str
) -> None:
    now = service.ask(address, method="HEAD").headers
    modified_s = parse_http_date(now["last-modified"])
    assert modified_s is not None

    def text(value: Any) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, tuple):
            return value[0].replace("{etag}", now["etag"])
        return "no date" if value is None else format_http_date(modified_s + value)

    answer = service.ask(address, {k: text(v) for k, v in given.items()}, method=method)
    assert answer.status == status_due(given), given
    if method == "GET" and answer.status in (200, 206):
        assert answer.body == (disk if answer.status == 200 else disk[3:10])
    else:
        assert method == "GET" or answer.body == b""
