"""What the service reads of a save's manifest: which chunks it refers to, and what it is based on.

Everything else in it is the client's, and may be encrypted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from aero_browser_disk.platform.json_objects import without_doubles

from ..http.api import PLAIN_TEXT, absent, reasons_of

VERSION: Final = 1
MAX_MANIFEST_BYTES: Final = 8 << 20
MAX_CHUNK_BYTES: Final = 1 << 20
MAX_CHUNKS: Final = 1 << 16
MAX_BASE_VERSION: Final = 2048
"""Characters of a base's version."""
# A chunk has two names and two values. What else there is has a few.
_MAX_VALUES: Final = 4 * MAX_CHUNKS + 1024
_MAX_NUMBER: Final = (1 << 63) - 1

Name = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=PLAIN_TEXT)]


class WrongManifestError(ValueError):
    """The manifest is invalid; the message says why."""


class SaveBase(BaseModel):
    """What a save is based on: a version of an image. `image` names it for people."""

    model_config = ConfigDict(frozen=True, strict=True)

    version: Annotated[str, Field(min_length=1, max_length=MAX_BASE_VERSION, pattern=PLAIN_TEXT)]
    size: Annotated[int, Field(ge=1, le=_MAX_NUMBER)]
    sector_size: Literal[512, 1024, 2048, 4096] = 512
    image: Annotated[str, Field(max_length=2000, pattern=PLAIN_TEXT)] | None = absent()


class NamedChunk(BaseModel):
    """A chunk by the SHA-256 of its stored bytes."""

    model_config = ConfigDict(frozen=True, strict=True)

    sha256: Name
    length: Annotated[int, Field(ge=1, le=MAX_CHUNK_BYTES)]


class SaveManifest(BaseModel):
    """The manifest of a save, as far as the service reads it."""

    model_config = ConfigDict(frozen=True, strict=True)

    format: Literal["aero-disk-save"]
    # Not Literal[1], which takes true.
    version: Annotated[int, Field(ge=VERSION, le=VERSION)]
    base: SaveBase
    digest: Name
    chunks: Annotated[list[NamedChunk], Field(max_length=MAX_CHUNKS)]
    device: Text | None = None

    @field_validator("chunks")
    @classmethod
    def _are_distinct(cls, chunks: list[NamedChunk]) -> list[NamedChunk]:
        if len({chunk.sha256 for chunk in chunks}) != len(chunks):
            raise ValueError("a chunk is named twice")
        return chunks

    @property
    def lengths(self) -> Mapping[str, int]:
        """The length of each chunk, by name."""
        return {chunk.sha256: chunk.length for chunk in self.chunks}


def parse_manifest(data: bytes) -> SaveManifest:
    """The manifest in these bytes; raises `WrongManifestError`.

    Takes a few times the memory of `data`, whatever is in it.
    """
    # Each value takes far more memory than its three bytes of text.
    if sum(map(data.count, (b",", b"[", b"{"))) > _MAX_VALUES:
        raise WrongManifestError(f"it has too many values; chunks are limited to {MAX_CHUNKS}")
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=without_doubles)
        return SaveManifest.model_validate(document)
    except ValidationError as error:
        raise WrongManifestError(reasons_of(error)) from None
    except RecursionError:
        raise WrongManifestError("it is nested too deeply") from None
    except ValueError as error:
        raise WrongManifestError(str(error).partition("\n")[0]) from None
