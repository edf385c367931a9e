"""Reads what the headers of a response say about an image."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..platform.web_url import parse_web_url
from .byte_ranges import EntityTag, parse_content_range, parse_http_date
from .numbers import decimal_number

_MAX_VALIDATOR = 512
_CLOCKS_DIFFER_S = 60
_MAX_DELTA_S = 2**31  # where RFC 9111 §1.2.2 lets longer times end
_LINK = re.compile(r"<([^>]*)>([^,<]*)")
_RELATION = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)
_MAX_AGE = re.compile(r'\bmax-age="?([0-9]+)', re.IGNORECASE)
_REVALIDATE = re.compile(r"\b(?:no-cache|no-store)\b", re.IGNORECASE)


def strong_validator(headers: Mapping[str, str], now_s: float) -> str:
    """The validator of a response: its strong ETag, else its Last-Modified, else empty.

    A weak ETag proves nothing about bytes (RFC 9110 §8.8.1), nor does a date of the second in which
    the response was made (§8.8.2.2): the image may have changed again in it. `now_s` is the time
    here, in seconds since the epoch. A tag that is too long to keep is left out.
    """
    etag = headers.get("etag", "").strip()
    if len(etag) <= _MAX_VALIDATOR and is_entity_tag(etag) and not EntityTag.parse(etag).weak:
        return etag
    return _modified(headers) if has_aged(headers, now_s) else ""


def has_aged(headers: Mapping[str, str], now_s: float) -> bool:
    """Whether Last-Modified is a strong validator (RFC 9110 §8.8.2.2).

    It is one second older than the response's Date, which is by the same clock. A page reads Date
    only where the server exposes it. Without it the clock here has to do: 60 s older, which is what
    RFC 7232 §2.2.2 allows for clocks that differ.
    """
    modified = parse_http_date(_modified(headers))
    if modified is None:
        return False
    date = parse_http_date(headers.get("date", ""))
    return modified + 1 <= date if date is not None else modified + _CLOCKS_DIFFER_S <= now_s


def weak_validators(headers: Mapping[str, str]) -> tuple[str, str]:
    """Validators whose difference proves a change: the ETag, weak or not, and the date. Equality
    proves nothing."""
    etag = headers.get("etag", "").strip()
    return etag.removeprefix("W/"), _modified(headers)


def _modified(headers: Mapping[str, str]) -> str:
    value = headers.get("last-modified", "").strip()
    return value if parse_http_date(value) is not None else ""


def freshness_s(headers: Mapping[str, str]) -> float:
    """Seconds for which a response stays fresh (RFC 9111 §4.2.1); 0 without a promise."""
    policy = headers.get("cache-control", "")
    max_age = _MAX_AGE.search(policy)
    if max_age is None or _REVALIDATE.search(policy):
        return 0.0
    fresh_for = decimal_number(max_age[1], _MAX_DELTA_S) or 0
    age = decimal_number(headers.get("age", ""), _MAX_DELTA_S) or 0
    return float(max(0, fresh_for - age))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The Retry-After of a response (RFC 9110 §10.2.3), if it is in seconds.

    A date would be measured with two clocks, so it is not used.
    """
    seconds = decimal_number(headers.get("retry-after", ""), _MAX_DELTA_S)
    return None if seconds is None else float(seconds)


def parse_links(value: str, base: str) -> dict[str, str]:
    """The web addresses in a Link header by relation type, without fragment (RFC 8288 §3)."""
    links: dict[str, str] = {}
    for target, parameters in _LINK.findall(value):
        relation = _RELATION.search(parameters)
        url = parse_web_url(target, base)
        if relation and url is not None:
            for name in (relation[1] or relation[2]).split():
                links.setdefault(name, url.plain)
    return links


def is_entity_tag(value: str) -> bool:
    """Whether it is one, strong or weak (RFC 9110 §8.8.3)."""
    try:
        EntityTag.parse(value)
    except ValueError:
        return False
    return True


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Whether the bytes of a response are not those of the image (RFC 9110 §8.4)."""
    return headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")


def unsatisfied_size(status: int, headers: Mapping[str, str]) -> int | None:
    """The size in a response 416, if it has one (RFC 9110 §15.5.17)."""
    if status != 416:
        return None
    try:
        return parse_content_range(headers.get("content-range", "")).size
    except ValueError:
        return None
