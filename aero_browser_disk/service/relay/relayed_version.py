"""The version of a relayed image, from its server's headers, and how caches may use it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from aero_browser_disk.remote.byte_ranges import EntityTag, parse_http_date
from aero_browser_disk.remote.response_headers import freshness_s, has_aged, is_entity_tag

from ..http.exchange import Exchange
from ..http.preconditions import not_modified, range_applies
from ..http.response import Fields

_NOT_STORED: Final = re.compile(r"\b(?:no-store|private)\b", re.IGNORECASE)
_AGES: Final = re.compile(r"\b(?:no-cache|s-maxage|max-age)\b", re.IGNORECASE)
# Used if the response has no tag: it matches no tag that a client can send.
_NO_TAG: Final = EntityTag("\0", weak=True)


@dataclass(frozen=True, slots=True)
class RelayedVersion:
    """The validators of a response, strong or weak as its server sent them.

    `fields` are those headers, unchanged. `cache_control` is the server's, or empty.
    """

    etag: EntityTag | None
    last_modified_s: int | None
    fields: Fields
    cache_control: str
    fresh_s: float

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> RelayedVersion:
        """The version that a response's headers name."""
        tag, date = headers.get("etag", ""), headers.get("last-modified", "")
        etag = EntityTag.parse(tag) if is_entity_tag(tag) else None
        last_modified_s = parse_http_date(date)
        # Compared with the server's own Date (RFC 9110 §8.8.2.2): the client gets a Date from
        # this machine's clock, which may be ahead.
        if (etag is None or etag.weak) and not has_aged(headers, time.time()):
            last_modified_s = None
        fields = {} if etag is None else {"ETag": str(etag)}
        if last_modified_s is not None:
            fields["Last-Modified"] = date
        policy = headers.get("cache-control", "")
        return cls(etag, last_modified_s, fields, policy, freshness_s(headers))

    def cached(self, max_age_s: int, *, public: bool) -> str:
        """The Cache-Control: as for the service's own images, within what the server allows."""
        if not public:
            return "private, no-store, no-transform"
        # Without a validator a cache could put ranges of two versions together.
        if not self.fields or _NOT_STORED.search(self.cache_control):
            return "no-store, no-transform"
        if _AGES.search(self.cache_control):
            max_age_s = min(max_age_s, int(self.fresh_s))
        return f"public, max-age={max_age_s}, no-transform"

    def not_modified(self, exchange: Exchange, fields: Fields) -> Response | None:
        """A 304 if the request's conditions ask for it; raises the 412.

        Not every server evaluates them.
        """
        return not_modified(exchange, fields, self.etag or _NO_TAG, self.last_modified_s)

    def range_applies(self, headers: Mapping[str, str]) -> bool:
        """Whether Range applies: there is no If-Range, or it matches."""
        return range_applies(headers, self.etag or _NO_TAG, self.last_modified_s)
