"""A manifest as what is new in it: texts, and parts of the manifest before."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

from pydantic import Field

from ..http.api import RequestBody
from .save_manifest import MAX_MANIFEST_BYTES, Name, WrongManifestError

MAX_CHANGE_BYTES: Final = 1 << 20
_MAX_PARTS: Final = 4096

Copied = Annotated[
    list[Annotated[int, Field(ge=0, le=MAX_MANIFEST_BYTES)]],
    Field(min_length=2, max_length=2, description="Offset and length, in bytes."),
]


class ManifestChange(RequestBody):
    """The next manifest: its SHA-256, and its parts in order.

    A part is a text, or an offset and a length in the manifest that If-Match names.
    """

    sha256: Name
    parts: Annotated[list[str | Copied], Field(max_length=_MAX_PARTS)]

    def apply(self, before: bytes) -> bytes:
        """The manifest that follows `before`; raises `WrongManifestError`."""
        found: list[bytes | memoryview] = []
        left = MAX_MANIFEST_BYTES
        for part in self.parts:
            piece: bytes | memoryview
            if isinstance(part, str):
                piece = part.encode(errors="replace")
            else:
                offset, length = part
                if offset + length > len(before):
                    raise WrongManifestError("a part lies outside the manifest before")
                # Not copied before the length of all of them is known.
                piece = memoryview(before)[offset : offset + length]
            left -= len(piece)
            if left < 0:
                raise WrongManifestError(f"it has more than {MAX_MANIFEST_BYTES} bytes")
            found.append(piece)
        made = b"".join(found)
        if hashlib.sha256(made).hexdigest() != self.sha256:
            raise WrongManifestError("its SHA-256 is another one")
        return made
