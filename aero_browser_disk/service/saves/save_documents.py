"""What clients send to `/v1/saves`, and what they get."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.json_schema import SkipJsonSchema

from ..http.api import Document, RequestBody, absent, as_whole, moment
from .save_manifest import Name, SaveBase, Text
from .save_tables import Generation, Save

MAX_NAMES: Final = 1000
# A JSON string of a name and a comma take 67 bytes; some clients write a space too, or lines.
MAX_NAMES_BODY: Final = 128 * MAX_NAMES
MAX_SHARE_S: Final = 366 * 86400
SAVE_ID: Final = "^[0-9a-f]{32}$"


def _visible(value: str) -> str:
    if not value.strip():
        raise ValueError("must have a character that can be seen")
    return value


class NewSave(RequestBody):
    """A save to begin: what an overlay holds, kept on the server."""

    name: Annotated[
        Text, AfterValidator(_visible), Field(json_schema_extra={"allOf": [{"pattern": r"\S"}]})
    ]
    base: SaveBase


class ChunkNames(RequestBody):
    """Chunks by the SHA-256 of their stored bytes."""

    sha256: Annotated[list[Name], Field(max_length=MAX_NAMES)]


class NewShare(RequestBody):
    """A read-only link to a save."""

    lifetime_s: Annotated[int, Field(ge=1, le=MAX_SHARE_S), BeforeValidator(as_whole)]


class MissingChunks(Document):
    """The chunks that are not stored, in the order of the request."""

    missing: list[str]


class GenerationDocument(Document):
    """A state of a save that is kept."""

    generation: Annotated[int, Field(ge=1)]
    created: Annotated[datetime, Field(description="By the server's clock.")]
    etag: Annotated[str, Field(description="Of its manifest, with the quotes.")]
    stored_bytes: Annotated[int, Field(description="Of its manifest and of its chunks.")]
    device: str | SkipJsonSchema[None] = absent()


class SaveDocument(Document):
    """A save."""

    id: Annotated[str, Field(pattern=SAVE_ID)]
    name: str
    base: SaveBase
    generation: Annotated[
        int, Field(ge=0, description="The current one; 0 before the first manifest.")
    ]
    created: datetime
    updated: datetime
    stored_bytes: Annotated[int, Field(description="Of everything that is stored of it.")]
    etag: Annotated[
        str | SkipJsonSchema[None],
        Field(description="Of the current manifest, with its quotes: for If-Match."),
    ] = absent()
    device: Annotated[
        str | SkipJsonSchema[None], Field(description="What the current manifest says.")
    ] = absent()
    generations: Annotated[
        list[GenerationDocument] | SkipJsonSchema[None], Field(description="Newest first.")
    ] = absent()


class SaveList(Document):
    """The client's own saves, newest first."""

    saves: list[SaveDocument]
    next: Annotated[str | SkipJsonSchema[None], Field(description="`after` of the next page.")] = (
        absent()
    )


class Share(Document):
    """A read-only link: its query is valid for the save, its manifest and its chunks."""

    url: str
    expires: datetime


def quoted(etag: str) -> str:
    """The entity tag."""
    return f'"{etag}"'


def describe_generation(generation: Generation) -> GenerationDocument:
    """The document of a generation."""
    return GenerationDocument(
        generation=generation.generation,
        created=moment(generation.created_at),
        etag=quoted(generation.etag),
        stored_bytes=generation.stored_bytes,
        device=generation.device,
    )


def describe_save(
    save: Save, stored_bytes: int, generations: list[Generation] | None = None
) -> SaveDocument:
    """The document of a save, with its generations if they are given."""
    return SaveDocument(
        id=save.save_id,
        name=save.name,
        base=SaveBase(
            version=save.base_version,
            size=save.base_size,
            sector_size=save.sector_size,  # type: ignore[arg-type]
            image=save.base_image,
        ),
        generation=save.generation,
        created=moment(save.created_at),
        updated=moment(save.updated_at),
        stored_bytes=stored_bytes,
        etag=None if save.etag is None else quoted(save.etag),
        device=save.device,
        generations=None
        if generations is None
        else [describe_generation(generation) for generation in generations],
    )
