"""The bytes of an image: GET and HEAD with preconditions and ranges (RFC 9110 §13 and §14)."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from aero_browser_disk.platform.byte_range import ByteRange
from aero_browser_disk.remote.byte_ranges import (
    ContentRange,
    MultipleRangesError,
    UnsatisfiableRangeError,
    parse_range,
)
from aero_browser_disk.streaming.boot_profile import PROFILE_RELATION

from ..options import BytesOptions
from ..stores.image_store import Image, ImageStore, OpenImage, VersionChangedError
from .direct_bytes import lend_bytes, pass_on_bytes, send_chunks
from .direct_response import EncodedFields, HeaderBlock
from .exchange import Exchange
from .image_fields import ImageFields, range_required, range_too_long, validators
from .preconditions import not_modified, range_applies
from .repeated_ranges import AcceleratedRanges, LentRanges
from .response import Fields, HttpError, encoded
from .sidecar_files import SidecarFiles

# Images whose header fields are cached.
_REMEMBERED: Final = 1024


class DiskBytes:
    """Serves the bytes of the images in `store`.

    `bytes_per_s` limits a client if nginx sends the bytes; 0 is no limit.
    """

    def __init__(
        self,
        store: ImageStore,
        sidecars: SidecarFiles,
        options: BytesOptions,
        bytes_per_s: int = 0,
    ) -> None:
        self._bytes_per_s = bytes_per_s
        self._store = store
        self._sidecars = sidecars
        self._options = options
        self._fields: dict[str, ImageFields] = {}

    async def respond(self, exchange: Exchange) -> None:
        """Responds to a GET or a HEAD, which is the same without the body.

        Range applies to HEAD too, as in all common servers, so that a HEAD predicts its
        GET (RFC 9110 §9.3.2), although §14.2 defines Range for GET alone.
        """
        try:
            await self._respond(exchange)
        except VersionChangedError:
            # The store remembered a version that is gone, and has forgotten it now.
            if exchange.record.status is not None:
                raise
            await self._respond(exchange)

    async def _respond(self, exchange: Exchange) -> None:
        image_id = exchange.request.parameters["id"]
        async with self._store.open(image_id, may_read=exchange.may("bytes")) as opened:
            image = opened.image
            known = self._fields_of(image)
            unchanged = not_modified(exchange, known.of_304, image.etag, image.last_modified_s)
            if unchanged is not None:
                await exchange.responder.reply(unchanged)
                return
            selected = self._selected(exchange, image)
            accelerated = (
                self._options.accel_location and exchange.record.range_result != "shortened"
            )
            if accelerated and opened.path is not None and exchange.request.trusted_proxy:
                await self._accelerate(exchange, selected, opened, known)
                return
            if exchange.responder.direct and image.size and exchange.request.method == "GET":
                await self._respond_directly(exchange, selected, opened, known)
                return
            fields: EncodedFields = known.every[exchange.responder.is_private].fields
            if selected is None:
                status, start, stop = 200, 0, image.size
            else:
                status, start, stop = 206, selected.start, selected.stop
                byte_range = b"bytes %d-%d/%d" % (start, stop - 1, image.size)
                fields = (*fields, (b"content-range", byte_range))
            fields = (*fields, (b"content-length", b"%d" % (stop - start)))
            if exchange.request.method == "HEAD":
                fields = (*fields, *encoded(await self._links(exchange, image)))
            await send_chunks(exchange, opened, status, fields, (start, stop))

    async def _links(self, exchange: Exchange, image: Image) -> Fields:
        """Where the boot profile is, if one is offered (RFC 8288).

        Only for HEAD, with which clients open an image: it needs a second file.
        """
        if "boot_profile" not in await self._sidecars.facts(image):
            return {}
        above = "../../v1/images/" if exchange.request.path.startswith("/disks/") else ""
        target = f"{above}{image.entry.id}/boot-profile"
        return {"Link": f'<{target}>; rel="{PROFILE_RELATION}"'}

    async def _respond_directly(
        self, exchange: Exchange, selected: ByteRange | None, opened: OpenImage, known: ImageFields
    ) -> None:
        """Responds without ASGI, to this request and to the next ones like it."""
        lender = opened.lender
        lines = known.lines(selected, private=exchange.responder.is_private)
        write = pass_on_bytes if lender is None else lend_bytes
        if selected is None:
            await write(exchange, opened, (200, lines), (0, opened.image.size))
            return
        await write(exchange, opened, (206, lines), (selected.start, selected.stop))
        exchange.is_one_of_many = True
        if lender is not None:
            block, limit = known.every[exchange.responder.is_private], self._options.max_range_bytes
            exchange.repeat = LentRanges(opened, lender, block.lines, limit)

    async def _accelerate(
        self, exchange: Exchange, selected: ByteRange | None, opened: OpenImage, known: ImageFields
    ) -> None:
        """Lets nginx send the bytes; it selects the same range, since its ETag is the same."""
        whole = selected is None and "range" in exchange.request.headers
        block = known.without_accept_ranges[exchange.responder.is_private]
        kind = "whole" if whole else "range"
        location = f"{self._options.accel_location}/{kind}/{quote(opened.path or '')}"
        said = {"X-Accel-Redirect": location, "Content-Length": "0"}
        if self._bytes_per_s:
            said["X-Accel-Limit-Rate"] = str(self._bytes_per_s)
        own = HeaderBlock.of(encoded(said))
        if exchange.responder.pace is not None and exchange.request.method == "GET":
            # All of it now: nginx does not report what it sends.
            await exchange.responder.pace(
                opened.image.size if selected is None else selected.length
            )
        if exchange.responder.direct is not None and exchange.request.method == "GET":
            lines = block.lines + own.lines
            if await exchange.responder.direct.writable():
                exchange.responder.send_directly((200, (lines,)), b"", more=False)
            exchange.is_one_of_many = selected is not None
            if selected is not None and opened.lender is not None:
                limit = self._options.max_range_bytes
                exchange.repeat = AcceleratedRanges(opened.image, opened.lender, lines, limit)
            return
        await exchange.responder.start_encoded(200, (*block.fields, *own.fields))
        await exchange.responder.send(b"", more=False)

    def _fields_of(self, image: Image) -> ImageFields:
        """The header fields about the image, built once for each version."""
        known = self._fields.get(image.entry.id)
        if known is None or (known.image is not image and known.image != image):
            known = self._fields[image.entry.id] = ImageFields.of(image, self._options)
            while len(self._fields) > _REMEMBERED:
                del self._fields[next(iter(self._fields))]
        return known

    def _selected(self, exchange: Exchange, image: Image) -> ByteRange | None:
        """The range to send, None for the whole image; raises the 416 and the 413s."""
        limit = self._options.max_range_bytes
        exchange.record.range_result = "ignored" if "range" in exchange.request.headers else "none"
        selected = _satisfied(exchange, image)
        if selected is not None:
            exchange.record.range_result = "satisfied"
            if selected.length > limit:
                if self._options.shorten_open_ranges and exchange.request.headers["range"].endswith(
                    "-"
                ):
                    # An open range gets at most one response's worth (RFC 9110 §15.3.7).
                    exchange.record.range_result = "shortened"
                    return ByteRange(selected.start, selected.start + limit)
                exchange.record.range_result = "too_long"
                raise range_too_long(self._options, validators(image))
        # Allow a HEAD without a range, for clients that need the size first.
        elif self._options.range_required and image.size and exchange.request.method != "HEAD":
            raise range_required(self._options, validators(image))
        return selected


def _satisfied(exchange: Exchange, image: Image) -> ByteRange | None:
    """The range that the request selects, None when it selects none; raises the 416."""
    value = exchange.request.headers.get("range")
    if value is None or not range_applies(
        exchange.request.headers, image.etag, image.last_modified_s
    ):
        return None
    try:
        return parse_range(value, image.size)
    except MultipleRangesError:
        result, code, message = "multiple", "multiple_ranges", "Request one range at a time."
    except UnsatisfiableRangeError:
        result, code = "unsatisfiable", "range_not_satisfiable"
        message = f"The image has {image.size} bytes."
    exchange.record.range_result = result
    whole = {"Content-Range": str(ContentRange(None, image.size)), "Accept-Ranges": "bytes"}
    raise HttpError(416, code, message, whole | validators(image))
