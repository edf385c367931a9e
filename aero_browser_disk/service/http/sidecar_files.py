"""Files that belong to an image: its digest list, and a boot profile of it.

An invalid file, or one of another image version, is not offered: its readers would refuse every
chunk, or fetch blocks that no boot needs.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field
from starlette.responses import Response
from starlette.routing import Route

from aero_browser_disk.streaming.boot_profile import BootProfile
from aero_browser_disk.streaming.digest_list import DigestList, pin_of

from ..stores.image_store import (
    BOOT_PROFILE_ENDING,
    DIGESTS_ENDING,
    Image,
    ImageNotFoundError,
    ImageStore,
    OpenImage,
)
from .access_log import AccessLog
from .api import OF_CACHED, OF_IMAGE, AnyObject, Document, Endpoint
from .direct_bytes import send_chunks
from .exchange import Exchange
from .preconditions import not_modified
from .response import HttpError, encoded
from .routing import Resource

_REMEMBERED: Final = 1024


class SidecarFacts(Document):
    """What the metadata says of a sidecar file."""

    url: Annotated[str, Field(description="Relative to this address.")]
    size_bytes: int
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class DigestsFacts(SidecarFacts):
    """What it says of a digest list."""

    chunk_size_bytes: int
    signed: bool


class BootProfileFacts(SidecarFacts):
    """What it says of a boot profile."""

    block_size_bytes: int
    blocks: int


Facts = dict[str, object]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of sidecar file. `describe` returns its facts, or raises `ValueError`."""

    name: str
    ending: str
    max_bytes: int
    describe: Callable[[bytes, Image, Image], Facts]


def _describe_digests(encoded: bytes, image: Image, file: Image) -> Facts:
    digests = DigestList.decode(encoded)
    if digests.size != image.size:
        raise ValueError(f"it is of an image of {digests.size} bytes")
    if file.last_modified_s < image.last_modified_s:
        raise ValueError("the image was written after it")
    return {"chunk_size_bytes": digests.chunk_size, "signed": digests.signature is not None}


def _describe_profile(encoded: bytes, image: Image, _: Image) -> Facts:
    profile = BootProfile.decode(encoded)
    if not profile.fits(image.size, str(image.etag)):
        raise ValueError(f"it is of the version {profile.validator}, {profile.size} bytes")
    return {"block_size_bytes": profile.block_size, "blocks": len(profile.blocks)}


DIGESTS: Final = Kind("digests", DIGESTS_ENDING, 128 << 20, _describe_digests)
BOOT_PROFILE: Final = Kind("boot-profile", BOOT_PROFILE_ENDING, 16 << 20, _describe_profile)


class SidecarFiles:
    """Serves sidecar files, and describes them for the metadata."""

    def __init__(self, store: ImageStore, log: AccessLog) -> None:
        self._store = store
        self._log = log
        # By file, its version and the image's: None for those that are not offered.
        self._known: OrderedDict[tuple[str, str, str], Facts | None] = OrderedDict()
        self.routes = [
            self._route(DIGESTS, "getDigests"),
            self._route(BOOT_PROFILE, "getBootProfile"),
        ]

    def _route(self, kind: Kind, name: str) -> Route:
        async def handler(exchange: Exchange) -> Response | None:
            """The file that belongs to the image, as stored."""
            return await self._respond(exchange, kind)

        refusals = OF_CACHED | OF_IMAGE
        endpoint = Endpoint(handler, name, AnyObject, refusals, is_conditional=True)
        return Route(f"/v1/images/{{id}}/{kind.name}", Resource(GET=endpoint))

    async def facts(self, image: Image) -> Facts:
        """The fields of the metadata, one for each file that is offered."""
        offered: Facts = {}
        # Whoever may see the image may see these, but not those of a later image with its id.
        file = image.entry.file
        for kind in (DIGESTS, BOOT_PROFILE):
            try:
                async with self._store.open(
                    image.entry.id, kind.ending, may_read=lambda entry: entry.file == file
                ) as opened:
                    facts = await self._examine(kind, image, opened)
            except ImageNotFoundError:
                continue
            if facts is not None:
                offered[kind.name.replace("-", "_")] = {"url": kind.name, **facts}
        return offered

    async def _respond(self, exchange: Exchange, kind: Kind) -> Response | None:
        image_id = exchange.request.parameters["id"]
        may_read = exchange.may("meta")
        async with self._store.open(image_id, may_read=may_read) as opened_image:
            image = opened_image.image
        with suppress(ImageNotFoundError):
            async with self._store.open(image_id, kind.ending, may_read=may_read) as opened:
                if await self._examine(kind, image, opened) is not None:
                    return await _send(exchange, opened)
        raise HttpError(404, "no_such_file", "This image has no such file.")

    async def _examine(self, kind: Kind, image: Image, opened: OpenImage) -> Facts | None:
        """Its facts; None when it is not offered."""
        file = opened.image
        key = (file.entry.file, str(file.etag), f"{image.etag} {image.size}")
        if key not in self._known:
            self._known[key] = await self._read(kind, image, opened)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    async def _read(self, kind: Kind, image: Image, opened: OpenImage) -> Facts | None:
        size = opened.image.size
        if size > kind.max_bytes:
            self._reject(kind, image, f"it has more than {kind.max_bytes} bytes")
            return None
        async with aclosing(opened.reader.chunks(0, size)) as chunks:
            encoded = b"".join([chunk async for chunk in chunks])
        try:
            # Decoding a large one takes a while.
            facts = await asyncio.to_thread(kind.describe, encoded, image, opened.image)
        except ValueError as error:
            self._reject(kind, image, str(error))
            return None
        return {"size_bytes": size, "sha256": pin_of(encoded), **facts}

    def _reject(self, kind: Kind, image: Image, reason: str) -> None:
        self._log.event("not_offered", id=image.entry.id, file=kind.name, reason=reason)


async def _send(exchange: Exchange, opened: OpenImage) -> Response | None:
    file = opened.image
    fields = {"ETag": str(file.etag), "Cache-Control": "no-cache"}
    if (unchanged := not_modified(exchange, fields, file.etag)) is not None:
        return unchanged
    fields |= {"Content-Type": "application/json", "Content-Length": str(file.size)}
    await send_chunks(exchange, opened, 200, encoded(fields), (0, file.size))
    return None
