"""What the headers of an answer say of an image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urljoin

from .byte_ranges import EntityTag, parse_content_range, parse_http_date

_LONGEST_VALIDATOR = 512
_LINK = re.compile(r"<([^>]*)>([^,<]*)")
_RELATION = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)
_MAX_AGE = re.compile(r'\bmax-age="?(\d+)', re.IGNORECASE)
_REVALIDATE = re.compile(r"\b(?:no-cache|no-store)\b", re.IGNORECASE)


def strong_validator(headers: Mapping[str, str]) -> str:
    """What names a version in an answer: its strong ETag, else its Last-Modified, else nothing.

    A weak ETag proves nothing about bytes (RFC 9110 §8.8.1). Nor does one that is too long to keep.
    """
    etag = headers.get("etag", "").strip()
    if len(etag) <= _LONGEST_VALIDATOR and is_entity_tag(etag) and not EntityTag.parse(etag).weak:
        return etag
    modified = headers.get("last-modified", "").strip()
    return modified if parse_http_date(modified) is not None else ""


def freshness_s(headers: Mapping[str, str]) -> float:
    """Seconds for which the host vouches for an answer (RFC 9111 §4.2.1); 0 when it does not."""
    policy = headers.get("cache-control", "")
    max_age = _MAX_AGE.search(policy)
    if max_age is None or _REVALIDATE.search(policy):
        return 0.0
    age = headers.get("age", "").strip()
    return max(0.0, float(max_age[1]) - (float(age) if age.isdecimal() else 0.0))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long the host asks to be left alone (RFC 9110 §10.2.3), if it says so in seconds.

    A date would be measured with two clocks, so it is not used.
    """
    value = headers.get("retry-after", "").strip()
    return float(value) if value.isascii() and value.isdecimal() and len(value) < 9 else None


def parse_links(value: str, base: str) -> dict[str, str]:
    """The targets of a Link header by relation type, as whole URLs (RFC 8288 §3)."""
    links: dict[str, str] = {}
    for target, parameters in _LINK.findall(value):
        relation = _RELATION.search(parameters)
        if relation:
            for name in (relation[1] or relation[2]).split():
                links.setdefault(name, urljoin(base, target))
    return links


def is_entity_tag(value: str) -> bool:
    """Whether it is one, strong or weak (RFC 9110 §8.8.3)."""
    try:
        EntityTag.parse(value)
    except ValueError:
        return False
    return True


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Whether the bytes of an answer are not those of the image (RFC 9110 §8.4)."""
    return headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")


def unsatisfied_size(status: int, headers: Mapping[str, str]) -> int | None:
    """The size that a 416 tells, if it does (RFC 9110 §15.5.17)."""
    if status != 416:
        return None
    try:
        return parse_content_range(headers.get("content-range", "")).size
    except ValueError:
        return None
