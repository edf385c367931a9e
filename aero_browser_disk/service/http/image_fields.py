"""The header fields of one version of an image, built once for thousands of ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aero_browser_disk.platform.byte_range import ByteRange
from aero_browser_disk.remote.byte_ranges import format_http_date

from ..options import BytesOptions
from ..stores.image_store import Image
from .direct_response import HeaderBlock
from .response import ENCODED_PRIVATE, Fields, HttpError, encoded

# A year: as long as RFC 9111 lets any cache believe it.
_FOR_EVER: Final = "public, max-age=31536000, immutable"
# Of files that are named by their content.
FOR_EVER: Final = {"Cache-Control": f"{_FOR_EVER}, no-transform"}


@dataclass(frozen=True, slots=True)
class ImageFields:
    """The header fields of responses about an image. `of_304` has no Content-Type.

    The blocks come in pairs: for everybody, and for requests with credentials.
    """

    image: Image
    of_304: Fields
    every: tuple[HeaderBlock, HeaderBlock]
    # For nginx, which says Accept-Ranges itself.
    without_accept_ranges: tuple[HeaderBlock, HeaderBlock]

    @classmethod
    def of(cls, image: Image, options: BytesOptions) -> ImageFields:
        """The fields for this image."""
        of_304 = {
            **validators(image),
            "Accept-Ranges": "bytes",
            "Cache-Control": f"{_cached(image, options)}, no-transform",
        }
        every = encoded({**of_304, "Content-Type": image.entry.content_type})
        private = [ENCODED_PRIVATE if f[0] == ENCODED_PRIVATE[0] else f for f in every]
        return cls(
            image,
            of_304,
            (HeaderBlock.of(every), HeaderBlock.of(private)),
            (
                HeaderBlock.of([f for f in every if f[0] != b"accept-ranges"]),
                HeaderBlock.of([f for f in private if f[0] != b"accept-ranges"]),
            ),
        )

    def lines(self, selected: ByteRange | None, *, private: bool) -> tuple[bytes, ...]:
        """The header lines of a 206 with that range, or of a 200."""
        block, size = self.every[private].lines, self.image.size
        if selected is None:
            return block, b"content-length: %d\r\n" % size
        return (
            block,
            b"content-range: bytes %d-%d/%d\r\n" % (selected.start, selected.stop - 1, size),
            b"content-length: %d\r\n" % selected.length,
        )


def validators(image: Image) -> dict[str, str]:
    """The fields that name the version."""
    return {"ETag": str(image.etag), "Last-Modified": format_http_date(image.last_modified_s)}


def range_required(options: BytesOptions, fields: Fields | None = None) -> HttpError:
    """The refusal of whole images; `fields` are the validators."""
    limit = options.max_range_bytes
    message = f"Request a range of at most {limit} bytes."
    return HttpError(413, "range_required", message, fields, max_range_bytes=limit)


def range_too_long(options: BytesOptions, fields: Fields) -> HttpError:
    """The refusal of a range beyond the limit."""
    limit = options.max_range_bytes
    message = f"Request at most {limit} bytes at a time."
    return HttpError(413, "range_too_long", message, fields, max_range_bytes=limit)


def _cached(image: Image, options: BytesOptions) -> str:
    """Who may cache its bytes, and for how long."""
    if not image.entry.public:
        return "private, no-store"
    if is_versioned(image, options):
        return _FOR_EVER
    return f"public, max-age={options.max_age_s}"


def is_versioned(image: Image, options: BytesOptions) -> bool:
    """Whether its id names one version for ever."""
    versioned = options.versioned_ids
    return versioned is not None and versioned.fullmatch(image.entry.id) is not None
