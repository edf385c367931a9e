"""The bytes of an image: GET and HEAD with preconditions and ranges (RFC 9110 §13 and §14)."""

from __future__ import annotations

from aero_browser_disk.byte_ranges import (
    ByteRange,
    ContentRange,
    MultipleRangesError,
    UnsatisfiableRangeError,
    format_http_date,
    parse_range,
)

from .exchange import CutShortError, Exchange, Fields, HttpError, Reply
from .folder_store import FolderStore, Image
from .image_file import PIECE_LENGTH, ImageFile, VersionChangedError
from .preconditions import Outcome, evaluate, range_applies


class DiskBytes:
    """Answers for the bytes of the images in `store`; `max_age_s`: how long they may be cached."""

    def __init__(self, store: FolderStore, max_age_s: int) -> None:
        self._store = store
        self._cache_control = f"public, max-age={max_age_s}, no-transform"

    async def respond(self, exchange: Exchange, image_id: str) -> None:
        """Answers a GET or a HEAD, which is the same without the body.

        Range counts for HEAD as well, as in every widespread server, so that a HEAD foretells its
        GET (RFC 9110 §9.3.2), although §14.2 defines Range for GET alone.
        """
        async with self._store.open(image_id) as opened:
            image = opened.image
            fields = self._fields(image)
            outcome = evaluate(exchange.headers, image.etag, image.last_modified_s)
            if outcome is Outcome.FAILED:
                raise HttpError(
                    412,
                    "precondition_failed",
                    "The image is not the version that was asked for.",
                    _validators(image),
                )
            if outcome is Outcome.NOT_MODIFIED:
                await exchange.reply(Reply(304, fields))
                return
            selected = _selected(exchange, image)
            if selected is None:
                status, start, stop = 200, 0, image.size
            else:
                status, start, stop = 206, selected.start, selected.stop
                fields = (*fields, ("Content-Range", str(ContentRange(selected, image.size))))
            fields = (
                *fields,
                ("Content-Type", image.entry.content_type),
                ("Content-Length", str(stop - start)),
            )
            if exchange.method == "HEAD":
                await exchange.start(status, fields)
                await exchange.send(b"", more=False)
                return
            # Before the status: as long as nothing is sent, a failed read can still be said.
            piece = await opened.file.read(start, min(stop - start, PIECE_LENGTH))
            await exchange.start(status, fields)
            await exchange.send(piece, more=start + len(piece) < stop)
            if start + len(piece) < stop:
                await _send_rest(exchange, opened.file, start + len(piece), stop)

    def _fields(self, image: Image) -> Fields:
        return (
            *_validators(image),
            ("Accept-Ranges", "bytes"),
            ("Cache-Control", self._cache_control),
        )


def _validators(image: Image) -> Fields:
    return (
        ("ETag", str(image.etag)),
        ("Last-Modified", format_http_date(image.last_modified_s)),
    )


def _selected(exchange: Exchange, image: Image) -> ByteRange | None:
    """The range to send, None for the whole image; raises the 416."""
    value = exchange.headers.get("range")
    if value is None or not range_applies(exchange.headers, image.etag, image.last_modified_s):
        return None
    try:
        return parse_range(value, image.size)
    except (UnsatisfiableRangeError, MultipleRangesError) as error:
        code, message = (
            ("multiple_ranges", "Ask for one range at a time.")
            if isinstance(error, MultipleRangesError)
            else ("range_not_satisfiable", f"The image has {image.size} bytes.")
        )
        raise HttpError(
            416,
            code,
            message,
            (
                ("Content-Range", str(ContentRange(None, image.size))),
                ("Accept-Ranges", "bytes"),
                *_validators(image),
            ),
        ) from None


async def _send_rest(exchange: Exchange, file: ImageFile, position: int, stop: int) -> None:
    """Sends the rest of a body in pieces, each checked to be of the file's version."""
    async with exchange.watched() as gone:
        while position < stop and not gone():
            try:
                piece = await file.read(position, min(stop - position, PIECE_LENGTH))
            except VersionChangedError:
                raise CutShortError("the image changed") from None
            except OSError as error:
                raise CutShortError(f"reading failed: {error.strerror}") from error
            position += len(piece)
            await exchange.send(piece, more=position < stop)
