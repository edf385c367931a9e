"""Conditional requests, evaluated in the order of RFC 9110 §13.2.2."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from starlette.responses import Response

from aero_browser_disk.remote.byte_ranges import EntityTag, parse_entity_tags, parse_http_date

from .exchange import Exchange
from .response import Fields, HttpError


class Outcome(Enum):
    """The result of the preconditions of a GET or HEAD."""

    GO_ON = auto()
    NOT_MODIFIED = auto()  # 304
    FAILED = auto()  # 412


def evaluate(
    headers: Mapping[str, str], etag: EntityTag, last_modified_s: int | None = None
) -> Outcome:
    """Weighs If-Match, else If-Unmodified-Since; then If-None-Match, else If-Modified-Since.

    A malformed list of tags matches nothing; a malformed date is no condition. `last_modified_s` is
    in seconds since the epoch, None for what has no such date (its conditions are then ignored).
    """
    if "if-match" in headers:
        if not matches(headers["if-match"], etag, strong=True):
            return Outcome.FAILED
    elif _is_after(last_modified_s, headers.get("if-unmodified-since")):
        return Outcome.FAILED
    if "if-none-match" in headers:
        if matches(headers["if-none-match"], etag, strong=False):
            return Outcome.NOT_MODIFIED
    elif _is_after(last_modified_s, headers.get("if-modified-since")) is False:
        return Outcome.NOT_MODIFIED
    return Outcome.GO_ON


def not_modified(
    exchange: Exchange, of_304: Fields, etag: EntityTag, last_modified_s: int | None = None
) -> Response | None:
    """The 304 with these fields if the request's conditions ask for it; raises the 412."""
    outcome = evaluate(exchange.request.headers, etag, last_modified_s)
    if outcome is Outcome.FAILED:
        named = {name: of_304[name] for name in ("ETag", "Last-Modified") if name in of_304}
        message = "This is another version than the request asks for."
        raise HttpError(412, "precondition_failed", message, named)
    if outcome is Outcome.NOT_MODIFIED:
        return Response(status_code=304, headers=of_304)
    return None


def range_applies(headers: Mapping[str, str], etag: EntityTag, last_modified_s: int | None) -> bool:
    """Whether If-Range, if there, lets Range count (RFC 9110 §13.1.5)."""
    validator = headers.get("if-range")
    if validator is None:
        return True
    try:
        return EntityTag.parse(validator).strong_match(etag)
    except ValueError:
        # Exactly the date that was sent, not any later one.
        return last_modified_s is not None and parse_http_date(validator) == last_modified_s


def matches(value: str, etag: EntityTag, *, strong: bool) -> bool:
    """Whether If-Match or If-None-Match lists the tag; a malformed list has none."""
    try:
        tags = parse_entity_tags(value)
    except ValueError:
        return False
    if tags == "*":
        return True
    return any(tag.strong_match(etag) if strong else tag.weak_match(etag) for tag in tags)


def _is_after(last_modified_s: int | None, value: str | None) -> bool | None:
    """Whether it was modified after that date; None when there is nothing to compare."""
    date = None if value is None else parse_http_date(value)
    if date is None or last_modified_s is None:
        return None
    return last_modified_s > date
