"""Relays ranges of images from listed servers to pages that cannot read them directly."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Final

from pydantic import Field
from starlette.responses import Response
from starlette.routing import Route

from aero_browser_disk.platform.web_url import WebUrl
from aero_browser_disk.remote.byte_ranges import ContentRange, parse_content_range
from aero_browser_disk.remote.numbers import decimal_number
from aero_browser_disk.remote.response_headers import is_encoded, retry_after_s, unsatisfied_size

from ..access.authorization import Action
from ..access.leases import Lease, Leases
from ..http.access_log import AccessLog
from ..http.api import (
    OF_BODY,
    OF_CACHED,
    OF_IMAGE,
    Document,
    Endpoint,
    RequestBody,
    read_body,
    respond_revalidated,
)
from ..http.exchange import Exchange
from ..http.image_fields import range_required, range_too_long
from ..http.metrics import Metrics
from ..http.response import CutShortError, Fields, HttpError
from ..http.routing import Resource
from ..options import BytesOptions
from ..stores.image_store import ImageNotFoundError, PrivateImageError, StoreError
from ..stores.manifest import DEFAULT_CONTENT_TYPE, ManifestEntry
from .listed import ListedServer
from .relayed_version import RelayedVersion
from .requested_range import RequestedRange, range_not_satisfiable
from .upstream import Reason, Upstream, UpstreamError, UpstreamResponse

_CONDITIONS: Final = (
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
)
# The relay's name in Via (RFC 9110 §7.6.3): a request that has it came from a relay.
_PSEUDONYM: Final = "aero-disk-relay"
_MAX_RETRY_AFTER_S: Final = 3600
_REFUSALS: Final[Mapping[Reason, tuple[int, str, str]]] = {
    "address": (502, "relay_refused", "The image's server is at an address that is not allowed."),
    "redirect": (502, "relay_refused", "The image's server redirects to one that is not allowed."),
    "busy": (503, "relay_busy", "The image's server has too many requests. Try again."),
    "timeout": (504, "relay_timeout", "The image's server takes too long."),
    "failed": (502, "relay_failed", "The image's server fails, or cannot be reached."),
    "forbidden": (403, "relay_forbidden", "The image's server does not let everybody read it."),
    "encoded": (502, "relay_encoded", "The image's server compresses it."),
    "ranges": (502, "relay_without_ranges", "The image's server does not serve ranges."),
    "wrong": (502, "relay_wrong", "The image's server sent a response that cannot be used."),
}


class RelayedServer(Document):
    """A server whose images are relayed."""

    name: str
    url: Annotated[str, Field(description="The images are below this address,")]
    relayed: Annotated[str, Field(description="and relayed below this one.")]
    public: bool


class RelayedServers(Document):
    """The servers whose images the client may read."""

    servers: list[RelayedServer]


class RelayedImage(RequestBody):
    """Which image a lease is for."""

    path: Annotated[str, Field(min_length=1, max_length=2048, description="Below its server.")]


class Relay:
    """Serves what is below the prefixes of the listed servers.

    `address` is this service's own. A body takes at most `body_s` seconds.
    """

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        options: BytesOptions,
        log: AccessLog,
        *,
        address: str = "",
        body_s: float = 300,
        metrics: Metrics | None = None,
        leases: Leases | None = None,
    ) -> None:
        self._upstreams = {upstream.server.name: upstream for upstream in upstreams}
        self._options = options
        self._log = log
        self._address = address
        self._body_s = body_s
        self._metrics = metrics
        self._leases = leases
        servers = Endpoint(self.list, "listRelayed", RelayedServers, OF_CACHED, is_conditional=True)
        self.routes = [
            Route(
                "/relay/{server}/{path:path}",
                Resource(GET=self.respond, image_id=self._image_id),
            ),
            Route("/v1/relay", Resource(GET=servers)),
        ]
        if leases is not None:
            refusals = OF_IMAGE | OF_BODY
            lease = Endpoint(self.lease, "leaseRelayed", Lease, refusals, RelayedImage)
            self.routes.append(Route("/v1/relay/{server}/lease", Resource(POST=lease)))

    async def list(self, exchange: Exchange) -> Response:
        """The relayed servers that are public or that the client may read."""
        servers = [
            RelayedServer(
                name=server.name,
                url=str(server.prefix),
                relayed=f"{self._address}/relay/{server.name}/",
                public=server.public,
            )
            for server in (upstream.server for upstream in self._upstreams.values())
            if server.public or exchange.auth.allows("meta", _entry(server))
        ]
        return respond_revalidated(exchange, RelayedServers(servers=servers))

    async def lease(self, exchange: Exchange) -> Response:
        """A signed URL of a relayed image's bytes, for a while."""
        assert self._leases is not None
        path = (await read_body(exchange, RelayedImage)).path
        server = self._server(exchange)
        url = server.prefix.join(path)
        if url is None:
            raise ImageNotFoundError
        entry = _readable(exchange, server, path)
        relayed = url.path.removeprefix(server.prefix.path)
        target = f"/relay/{server.name}/{relayed}"
        may_lease = _may(exchange, server, path, "lease")
        return self._leases.respond(exchange, entry, target, allowed=may_lease)

    async def respond(self, exchange: Exchange) -> None:
        """Responds to a GET with a range, or a HEAD."""
        server, path = self._server(exchange), exchange.request.parameters["path"]
        url = server.prefix.join(path)
        if url is None:
            raise ImageNotFoundError
        _readable(exchange, server, path)
        if _PSEUDONYM in exchange.request.headers.get("via", ""):
            raise HttpError(508, "relay_loop", "A relay asked this relay.")
        result: str = "ok"
        try:
            if exchange.request.method == "HEAD":
                await self._head(exchange, server, url)
            else:
                await self._get(exchange, server, url)
        except UpstreamError as error:
            result = error.reason
            self._log.event(
                "relay_failed",
                server=server.name,
                reason=error.reason,
                error=str(error),
                request_id=exchange.request.id,
            )
            raise _refusal(error) from None
        finally:
            if self._metrics is not None:
                self._metrics.relayed(server.name, result)

    async def _head(self, exchange: Exchange, server: ListedServer, url: WebUrl) -> None:
        """Responds to a HEAD; Range applies to it, as to the service's own images."""
        upstream, headers = self._upstreams[server.name], _request_headers(exchange)
        async with upstream.open("HEAD", url, headers) as response:
            size = decimal_number(response.headers.get("content-length", ""))
            has_size = response.status not in (200, 405, 501) or size is not None
            if has_size and response.status not in (405, 501):
                version = await self._version(exchange, server, response)
                if version is not None:
                    await self._send_head(exchange, server, version, size or 0)
                return
        # Not every server supports HEAD: the response to a range of one byte says as much.
        async with upstream.open("GET", url, {**headers, "Range": "bytes=0-0"}) as response:
            version = await self._version(exchange, server, response)
            if version is not None:
                await self._send_head(exchange, server, version, _size(response))

    async def _get(self, exchange: Exchange, server: ListedServer, url: WebUrl) -> None:
        wanted = self._wanted(exchange)
        if wanted is None:
            raise range_required(self._options)
        headers = {**_request_headers(exchange), "Range": wanted.header}
        async with self._upstreams[server.name].open("GET", url, headers) as response:
            version = await self._version(exchange, server, response)
            if version is None:
                return
            fields = self._fields(server, version)
            size, limit = _size(response), self._options.max_range_bytes
            if response.status == 206:
                part = _part(response)
                if not wanted.matches(part):
                    message = f"asked for {wanted.header}, it sent {part}"
                    raise UpstreamError("wrong", message)
                if not version.range_applies(exchange.request.headers):
                    # The server ignored If-Range: this part is of another version.
                    raise range_required(self._options, version.fields)
                fields |= self._part_fields(exchange, wanted, part, version)
                assert part.range is not None
                length = part.range.length
            elif size <= limit:
                length = size
            elif "if-range" in exchange.request.headers:
                raise range_required(self._options, version.fields)
            else:
                raise UpstreamError("ranges", "it ignores Range")
            await self._send(exchange, response, fields, length)

    def _wanted(self, exchange: Exchange) -> RequestedRange | None:
        requested = exchange.request.headers.get("range")
        exchange.record.range_result = "none" if requested is None else "ignored"
        return RequestedRange.parse(requested, self._options)

    def _part_fields(
        self,
        exchange: Exchange,
        wanted: RequestedRange,
        part: ContentRange,
        version: RelayedVersion,
    ) -> Fields:
        """The headers of a 206 with this part; raises the 413."""
        assert part.range is not None
        assert part.size is not None
        if part.range.length > self._options.max_range_bytes:
            exchange.record.range_result = "too_long"
            raise range_too_long(self._options, version.fields)
        is_shortened = wanted.may_be_shortened and part.range.stop < part.size
        exchange.record.range_result = "shortened" if is_shortened else "satisfied"
        return {"Content-Range": str(part), "Accept-Ranges": "bytes"}

    async def _send(
        self, exchange: Exchange, response: UpstreamResponse, fields: Fields, length: int
    ) -> None:
        """Sends the body; closes the connection early if it cannot send all of it."""
        try:
            async with asyncio.timeout(self._body_s), aclosing(response.chunks(length)) as chunks:
                # Before the status: until then a failure can still be reported.
                chunk = await anext(chunks) if length else b""
                sized = {**fields, "Content-Length": str(length)}
                await exchange.responder.start(response.status, sized)
                left = length - len(chunk)
                await exchange.responder.send(chunk, more=left > 0)
                if left:
                    await exchange.responder.send_all(chunks, left)
        except TimeoutError:
            if exchange.record.status is not None:
                raise CutShortError(f"it took longer than {self._body_s:g} s") from None
            raise UpstreamError("timeout", "no body") from None
        except StoreError as error:
            raise UpstreamError("failed", str(error.strerror)) from None

    async def _send_head(
        self, exchange: Exchange, server: ListedServer, version: RelayedVersion, size: int
    ) -> None:
        status, length, fields = 200, size, self._fields(server, version)
        wanted = self._wanted(exchange)
        if wanted is not None and version.range_applies(exchange.request.headers):
            found = wanted.of_size(size)
            if found is None:
                exchange.record.range_result = "unsatisfiable"
                raise range_not_satisfiable(size, version.fields)
            part = ContentRange(found, size)
            status, length = 206, found.length
            fields |= self._part_fields(exchange, wanted, part, version)
        fields |= {"Accept-Ranges": "bytes", "Content-Length": str(length)}
        await exchange.responder.start(status, fields)
        await exchange.responder.send(b"", more=False)

    def _of_304(self, server: ListedServer, version: RelayedVersion) -> dict[str, str]:
        cached = version.cached(self._options.max_age_s, public=server.public)
        return {**version.fields, "Cache-Control": cached}

    def _fields(self, server: ListedServer, version: RelayedVersion) -> dict[str, str]:
        """The headers of every response with bytes."""
        # Not the server's type: an HTML page would run with the rights of this origin.
        return {**self._of_304(server, version), "Content-Type": DEFAULT_CONTENT_TYPE}

    async def _version(
        self, exchange: Exchange, server: ListedServer, response: UpstreamResponse
    ) -> RelayedVersion | None:
        """The version in a response that has bytes; None after a 304 was sent.

        Raises `HttpError`, `ImageNotFoundError` and `UpstreamError` for other responses.
        """
        version = RelayedVersion.of(response.headers)
        fields = self._of_304(server, version)
        unchanged = None
        if response.status in (200, 206):
            if is_encoded(response.headers):
                raise UpstreamError("encoded", response.headers["content-encoding"][:100])
            unchanged = version.not_modified(exchange, fields)
        elif response.status == 304:
            unchanged = Response(status_code=304, headers=fields)
        elif response.status == 412:
            message = "The image has another version than the request asks for."
            raise HttpError(412, "precondition_failed", message, version.fields)
        if unchanged is not None:
            await exchange.responder.reply(unchanged)
            return None
        if response.status not in (200, 206):
            raise _refused(exchange, response, version)
        return version

    def _server(self, exchange: Exchange) -> ListedServer:
        upstream = self._upstreams.get(exchange.request.parameters["server"])
        if upstream is None:
            raise HttpError(404, "no_such_server", "No server of this name is relayed.")
        return upstream.server

    def _image_id(self, parameters: Mapping[str, str]) -> str | None:
        """The image's id in credentials; None if there can be no such image."""
        upstream = self._upstreams.get(parameters["server"])
        if upstream is None or upstream.server.prefix.join(parameters["path"]) is None:
            return None
        return upstream.server.image_id(parameters["path"])


def _entry(server: ListedServer, path: str = "") -> ManifestEntry:
    """The entry by which authorization knows an image, or all images of the server."""
    image_id = server.image_id(path) if path else server.id
    return ManifestEntry(image_id, path, image_id, server.public)


def _may(exchange: Exchange, server: ListedServer, path: str, action: Action) -> bool:
    """Whether the client's credentials are for this image, or for all of its server's."""
    allows = exchange.auth.allows
    return allows(action, _entry(server, path)) or allows(action, _entry(server))


def _readable(exchange: Exchange, server: ListedServer, path: str) -> ManifestEntry:
    """The image; raises `PrivateImageError` unless everybody or this client may read it."""
    if not server.public and not _may(exchange, server, path, "bytes"):
        raise PrivateImageError
    return _entry(server, path)


def _request_headers(exchange: Exchange) -> dict[str, str]:
    """The headers sent to the server; of the client's only the conditions."""
    given = exchange.request.headers
    return {
        "Accept-Encoding": "identity",
        "User-Agent": "aero-disk-service",
        "Via": f"1.1 {_PSEUDONYM}",
        **{name: given[name] for name in _CONDITIONS if name in given},
    }


def _part(response: UpstreamResponse) -> ContentRange:
    """The part in a 206, which must say the image's size; raises `UpstreamError`."""
    try:
        part = parse_content_range(response.headers.get("content-range", ""))
    except ValueError:
        raise UpstreamError("wrong", "a 206 without a good Content-Range") from None
    if part.range is None or part.size is None:
        raise UpstreamError("wrong", f"a 206 with Content-Range: {part}")
    length = response.headers.get("content-length")
    if length is not None and decimal_number(length) != part.range.length:
        raise UpstreamError("wrong", f"{part} in a body of another length")
    return part


def _size(response: UpstreamResponse) -> int:
    """The size of the image in a response that has bytes; raises `UpstreamError`."""
    if response.status == 206:
        size = _part(response).size
    else:
        size = decimal_number(response.headers.get("content-length", ""))
    if size is None:
        raise UpstreamError("ranges", "it ignores Range and does not say the size")
    return size


def _refused(exchange: Exchange, response: UpstreamResponse, version: RelayedVersion) -> Exception:
    """The error that a response without bytes becomes for the client."""
    status, headers = response.status, response.headers
    if status in (404, 410):
        return ImageNotFoundError()
    if status == 416:
        exchange.record.range_result = "unsatisfiable"
        return range_not_satisfiable(unsatisfied_size(status, headers), version.fields)
    if status in (401, 403, 451):
        return UpstreamError("forbidden", f"status {status}")
    if status in (429, 503):
        return UpstreamError("busy", f"status {status}", retry_after_s(headers))
    return UpstreamError("failed", f"status {status}")


def _refusal(error: UpstreamError) -> HttpError:
    status, code, message = _REFUSALS[error.reason]
    wait_s = min(max(1, int(error.retry_after_s or 1)), _MAX_RETRY_AFTER_S)
    wait = {"Retry-After": str(wait_s)} if status == 503 else None
    return HttpError(status, code, message, wait)
