"""What clients send to `/v1/uploads`, and what they get."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from ..http.api import PLAIN_TEXT, Document, RequestBody, absent, as_whole
from ..stores.manifest import is_image_id
from .multipart import Part
from .upload_records import State, Upload, parse_version_id

# Leaves room for `.` and the upload's own id, which name one version.
_MAX_ID_LENGTH: Final = 95
_MAX_NUMBER: Final = (1 << 63) - 1
_MAX_URLS: Final = 1000


def _image_id(value: str) -> str:
    if not is_image_id(value) or len(value) > _MAX_ID_LENGTH:
        raise ValueError(f"must be 1 to {_MAX_ID_LENGTH} of A-Z a-z 0-9 . _ - and neither . nor ..")
    if parse_version_id(value) is not None:
        raise ValueError("must not end in a dot and 32 hexadecimal digits: that names a version")
    return value


_ImageId = Annotated[
    str,
    AfterValidator(_image_id),
    Field(
        json_schema_extra={
            "pattern": r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,94}$",
            "not": {"pattern": r"\.[0-9a-f]{32}$"},
        }
    ),
]
_Whole = Annotated[int, Field(ge=1, le=_MAX_NUMBER), BeforeValidator(as_whole)]


class NewUpload(RequestBody):
    """An image to upload, or another version of one."""

    id: _ImageId
    size_bytes: _Whole
    public: bool = False
    name: Annotated[str, Field(min_length=1, max_length=200, pattern=PLAIN_TEXT)] | None = None
    description: Annotated[str, Field(max_length=2000, pattern=PLAIN_TEXT)] | None = None


class UploadChange(RequestBody):
    """What can be changed of a version."""

    public: bool


class WantedParts(RequestBody):
    """Parts to get URLs for."""

    numbers: Annotated[list[_Whole], Field(min_length=1, max_length=_MAX_URLS)]


class PartDocument(Document):
    """An uploaded part."""

    number: int
    size_bytes: int


class UploadDocument(Document):
    """An upload."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    upload_id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    id: Annotated[str, Field(validation_alias="image_id")]
    version_id: Annotated[str, Field(description="The id of exactly this version, forever.")]
    state: State
    public: bool
    name: str
    size_bytes: Annotated[_Whole, Field(validation_alias="size")]
    part_size_bytes: Annotated[_Whole, Field(validation_alias="part_size")]
    part_count: _Whole
    description: str | SkipJsonSchema[None] = absent()
    reason: str | SkipJsonSchema[None] = absent(description="Why it failed.")
    parts: list[PartDocument] | SkipJsonSchema[None] = absent(
        description="The uploaded ones, while it is under way."
    )


class UploadList(Document):
    """The client's own uploads."""

    uploads: list[UploadDocument]


class PartAddress(Document):
    """Where to PUT a part, and its length."""

    number: int
    url: str
    size_bytes: int


class PartAddresses(Document):
    """Where to PUT parts, until `expires_at`."""

    method: Literal["PUT"]
    parts: list[PartAddress]
    expires_at: datetime


def describe_upload(upload: Upload, parts: dict[int, Part] | None = None) -> UploadDocument:
    """The document of an upload, with the uploaded parts if they are given."""
    document = UploadDocument.model_validate(upload)
    if parts is None:
        return document
    uploaded = [PartDocument(number=n, size_bytes=parts[n].length) for n in sorted(parts)]
    return document.model_copy(update={"parts": uploaded})


def new_upload_of_at_most(max_image_bytes: int) -> type[NewUpload]:
    """`NewUpload` with that limit in its schema."""

    class LimitedUpload(NewUpload):
        size_bytes: Annotated[_Whole, Field(json_schema_extra={"maximum": max_image_bytes})]

    return LimitedUpload
