"""The list of images and each one's metadata, as JSON with validators."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.responses import Response
from starlette.routing import Route

from ..stores.image_store import Image, ImageStore
from ..stores.manifest import Layout
from .api import (
    IMAGE_ID,
    OF_CACHED,
    OF_IMAGE,
    Document,
    Endpoint,
    absent,
    moment,
    respond_revalidated,
)
from .exchange import Exchange
from .routing import Resource
from .sidecar_files import BootProfileFacts, DigestsFacts, SidecarFiles

_ChunkSize = Annotated[int, Field(multiple_of=512)]


class PreparedFacts(Document):
    """What the metadata says of a prepared image."""

    manifest_url: Annotated[str, Field(description="Relative to this address, or absolute.")]
    sector_size_bytes: int
    chunk_size_bytes: int
    compression: str
    stored_bytes: Annotated[
        int | SkipJsonSchema[None], Field(description="Bytes of its chunks.")
    ] = absent()
    boot_bundle: bool
    signed: bool


class ImageDocument(Document):
    """An image in the list."""

    id: Annotated[str, Field(pattern=IMAGE_ID)]
    name: str
    size_bytes: Annotated[int, Field(ge=0)]
    etag: Annotated[str, Field(description="A strong entity tag, with its quotes.")]
    last_modified: datetime
    content_type: str
    public: bool
    layout: Annotated[Layout, Field(description="A prepared image has a manifest.")]
    max_range_bytes: Annotated[
        int, Field(description="Max. bytes of one range; a longer one is a 413.")
    ]
    description: str | SkipJsonSchema[None] = absent()
    recommended_chunk_size_bytes: _ChunkSize | SkipJsonSchema[None] = absent()
    prepared: PreparedFacts | SkipJsonSchema[None] = absent()


class DescribedImage(ImageDocument):
    """One image."""

    digests: DigestsFacts | SkipJsonSchema[None] = absent()
    boot_profile: BootProfileFacts | SkipJsonSchema[None] = absent()


class ImageList(Document):
    """The images that the client may read."""

    images: list[ImageDocument]


class Catalog:
    """Serves the metadata of the images in `store`; `address` is what URLs begin with."""

    def __init__(
        self, store: ImageStore, sidecars: SidecarFiles, max_range_bytes: int, address: str
    ) -> None:
        self._address = address
        self._store = store
        self._sidecars = sidecars
        self._max_range_bytes = max_range_bytes
        of_list = Endpoint(self.list, "listImages", ImageList, OF_CACHED, is_conditional=True)
        refusals = OF_CACHED | OF_IMAGE
        of_one = Endpoint(self.meta, "describeImage", DescribedImage, refusals, is_conditional=True)
        self.routes = [
            Route("/v1/images", Resource(GET=of_list)),
            Route("/v1/images/{id}/meta", Resource(GET=of_one)),
        ]

    async def list(self, exchange: Exchange) -> Response:
        """The public images and those that the client may read."""
        images = await self._store.images(may_read=exchange.may("meta"))
        listed = [ImageDocument(**self._facts(image)) for image in images]
        return respond_revalidated(exchange, ImageList(images=listed))

    async def meta(self, exchange: Exchange) -> Response:
        """One image, and which sidecar files it has."""
        image_id = exchange.request.parameters["id"]
        async with self._store.open(image_id, may_read=exchange.may("meta")) as opened:
            image = opened.image
        sidecars = await self._sidecars.facts(image)
        described = DescribedImage.model_validate(self._facts(image) | sidecars)
        return respond_revalidated(exchange, described)

    def _facts(self, image: Image) -> dict[str, Any]:
        entry = image.entry
        return {
            "id": entry.id,
            "name": entry.name,
            "size_bytes": image.size,
            "etag": str(image.etag),
            "last_modified": moment(image.last_modified_s),
            "content_type": entry.content_type,
            "public": entry.public,
            "layout": entry.layout,
            "max_range_bytes": self._max_range_bytes,
            "description": entry.description,
            "recommended_chunk_size_bytes": entry.recommended_chunk_size_bytes,
            "prepared": self._prepared(image),
        }

    def _prepared(self, image: Image) -> PreparedFacts | None:
        if image.prepared is None:
            return None
        manifest = image.prepared.manifest
        return PreparedFacts(
            manifest_url=f"{self._address}/disks/{image.entry.id}/manifest.json",
            sector_size_bytes=manifest.sector_size,
            chunk_size_bytes=manifest.chunk_size,
            compression=manifest.compression,
            stored_bytes=manifest.stored_bytes or None,
            boot_bundle=manifest.boot is not None,
            signed=manifest.signature is not None,
        )
