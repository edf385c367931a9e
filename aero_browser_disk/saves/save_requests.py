"""Requests to a server of saves (`/v1/saves`), each tried again after transient failures.

Every request here may reach the server twice without harm: what it asks for is named by its
content, or guarded by the generation that it follows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from ..errors import InvalidResponseError, SaveRefusedError
from ..platform.base import HttpClient, Method
from ..platform.printable import printable
from ..remote.access import Access, ImageAddress
from ..remote.documents import is_whole
from ..remote.receiving import stall_limit
from ..remote.response_headers import retry_after_s
from ..remote.retry import Retries, RetryPolicy
from .save_manifest import MAX_MANIFEST

_MAX_DOCUMENT: Final = 4 << 20
_MAX_NAMED: Final = 1000  # chunks in one request
_MAX_PAGES: Final = 100
_LONGEST_DETAIL: Final = 300
_LONGEST_CODE: Final = 60
_SWITCHED: Final = (200, 201, 409, 412)
_TAKES_NO_CHANGE: Final = (400, 404, 405, 413, 415, 501)
_JSON: Final = {"Content-Type": "application/json"}
_BYTES: Final = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class Reply:
    """A response with all of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> dict[str, Any]:
        """Its body as a JSON object; empty when it is none."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def error(self) -> dict[str, Any]:
        """What it says of a refusal: `code`, `message` and more; empty when it says nothing."""
        found = self.document().get("error")
        return found if isinstance(found, dict) else {}


class SaveRequests:
    """The protocol's requests, as methods. `Access` has the address of the list of saves."""

    def __init__(self, http: HttpClient, access: Access, retry: RetryPolicy, clock: Any) -> None:
        self._http = http
        self._access = access
        self._retry = retry
        self._clock = clock
        self.bytes_sent = 0
        """Bytes of bodies that were sent."""
        self.bytes_received = 0

    # ── saves ────────────────────────────────────────────────────────────────────────────────────

    async def create(self, name: str, base: Mapping[str, Any]) -> Reply:
        """Makes a save; 409 when there is one of that name."""
        body = json.dumps({"name": name, "base": base}).encode()
        return await self.send("POST", "", _JSON, body, accepted=(201, 409))

    async def saves(self, base: str | None) -> list[dict[str, Any]]:
        """The documents of all saves, or of those over a version of a base."""
        found: list[dict[str, Any]] = []
        query = first = "" if base is None else f"base={quote(base, safe='')}"
        for _ in range(_MAX_PAGES):
            page = (await self.send("GET", "", query=query)).document()
            listed = page.get("saves")
            if not isinstance(listed, list):
                raise await self._invalid("saves", "a list", type(listed).__name__)
            found += [one for one in listed if isinstance(one, dict)]
            following = page.get("next")
            if not isinstance(following, str) or not following:
                break
            query = "&".join(filter(None, (first, f"after={quote(following, safe='')}")))
        return found

    async def save(self, save: str) -> Reply:
        """The document of a save; 404 when there is none."""
        return await self.send("GET", f"/{_name(save)}", accepted=(200, 404))

    async def remove(self, save: str, generation: int | None = None) -> Reply:
        """Removes a save, or one generation of it."""
        part = "" if generation is None else f"/generations/{generation}"
        return await self.send("DELETE", f"/{_name(save)}{part}", accepted=(200, 204, 404, 409))

    async def share(self, save: str, lifetime_s: int) -> Reply:
        """Makes a link to read it."""
        body = json.dumps({"lifetime_s": lifetime_s}).encode()
        return await self.send(
            "POST", f"/{_name(save)}/shares", _JSON, body, accepted=(200, 201, 404)
        )

    async def end_shares(self, save: str) -> Reply:
        """Ends all links to it."""
        return await self.send("DELETE", f"/{_name(save)}/shares", accepted=(200, 204, 404))

    # ── what is in one ───────────────────────────────────────────────────────────────────────────

    async def manifest(self, save: str, generation: int | None = None) -> Reply:
        """The manifest; 404 when there is none."""
        query = "" if generation is None else f"generation={generation}"
        path = f"/{_name(save)}/manifest"
        return await self.send(
            "GET", path, query=query, accepted=(200, 404), max_bytes=MAX_MANIFEST
        )

    async def switch(
        self, save: str, manifest: bytes, change: bytes | None, follows: str
    ) -> tuple[Reply, int]:
        """Makes a manifest the current one, if the one of the digest `follows` still is.

        Sends only the `change` from that one, if there is one and the server takes it. Returns how
        many bytes were sent too. 412 when another is current, 409 when chunks are missing.
        """
        path = f"/{_name(save)}/manifest"
        guard = {"If-Match": f'"{follows}"'} if follows else {"If-None-Match": "*"}
        headers = {**_JSON, **guard}
        sent = 0
        if change is not None:
            taken = (*_SWITCHED, *_TAKES_NO_CHANGE)
            reply = await self.send("POST", path, headers, change, accepted=taken)
            sent = len(change)
            if reply.status in _SWITCHED:
                return reply, sent
        accepted = (*_SWITCHED, 404)
        reply = await self.send("PUT", path, headers, manifest, accepted=accepted)
        return reply, sent + len(manifest)

    async def missing(self, save: str, chunks: Sequence[str]) -> set[str]:
        """Those of the chunks that the server does not have."""
        found: set[str] = set()
        for at in range(0, len(chunks), _MAX_NAMED):
            body = json.dumps({"sha256": list(chunks[at : at + _MAX_NAMED])}).encode()
            reply = await self.send("POST", f"/{_name(save)}/chunks", _JSON, body)
            found |= missing_in(reply)
        return found

    async def put_chunk(self, save: str, sha256: str, stored: bytes) -> Reply:
        """Stores a chunk."""
        path = f"/{_name(save)}/chunks/{sha256}"
        return await self.send("PUT", path, _BYTES, stored, accepted=(200, 201, 204, 404))

    async def chunk(self, save: str, sha256: str, length: int) -> Reply:
        """A chunk; at most `length` + 1 bytes of it. 404 when it is not there."""
        path = f"/{_name(save)}/chunks/{sha256}"
        return await self.send("GET", path, accepted=(200, 404), max_bytes=length)

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    async def send(
        self,
        method: Method,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        query: str = "",
        accepted: Sequence[int] = (200,),
        max_bytes: int = _MAX_DOCUMENT,
    ) -> Reply:
        """Sends a request; returns a reply with one of the `accepted` statuses.

        Its body is cut behind `max_bytes` + 1. Raises `SaveRefusedError` for other statuses,
        `NetworkError`, and what the renewal of access raises.
        """

        async def once(address: ImageAddress) -> Reply:
            target = _below(address, path, query)
            reply = await self._exchange(target, method, headers or {}, body, max_bytes)
            if reply.status in accepted:
                return reply
            raise refusal(target.shown, reply)

        retries = Retries(self._retry, self._clock)
        return await retries.run(lambda: self._access.request(once))

    async def _exchange(
        self,
        address: ImageAddress,
        method: Method,
        headers: Mapping[str, str],
        body: bytes | None,
        max_bytes: int,
    ) -> Reply:
        response = None
        found = bytearray()
        sent = {**address.headers, **headers}
        try:
            async with stall_limit(address) as limit:
                response = await self._http.request(
                    method, address.url, sent, address.credentials, body
                )
                limit.moved()
                self.bytes_sent += len(body or b"")
                while len(found) <= max_bytes and (chunk := await response.read()) is not None:
                    limit.moved()
                    found += chunk[: max_bytes + 1 - len(found)]
                self.bytes_received += len(found)
        finally:
            if response is not None:
                response.abort()
        return Reply(response.status, response.headers, bytes(found))

    async def _invalid(self, what: str, expected: str, found: str) -> InvalidResponseError:
        shown = (await self._access.address()).shown
        return InvalidResponseError(shown, what, expected, found)


def refusal(shown: str, reply: Reply) -> SaveRefusedError:
    """The error for a reply that was not accepted."""
    error = reply.error()
    detail = printable(str(error.get("message") or ""))[:_LONGEST_DETAIL]
    code = printable(str(error.get("code") or ""))[:_LONGEST_CODE]
    return SaveRefusedError(shown, reply.status, retry_after_s(reply.headers), code, detail)


def missing_in(reply: Reply) -> set[str]:
    """The chunks that a reply says are missing."""
    missing = reply.document().get("missing", reply.error().get("missing"))
    return {one for one in missing if isinstance(one, str)} if isinstance(missing, list) else set()


def whole_or_zero(value: object) -> int:
    """A number of a document; 0 for anything else."""
    return value if is_whole(value) and value >= 0 else 0


def _below(address: ImageAddress, path: str, query: str) -> ImageAddress:
    """An address below that of the list, with the query that gives access."""
    web_url = address.web_url
    own = web_url.query
    joined = f"{own}&{query}" if own and query else own or (query and f"?{query}")
    return address.sibling(f"{web_url.origin}{web_url.path.rstrip('/')}{path}{joined}")


def _name(save: str) -> str:
    return quote(save, safe="")
