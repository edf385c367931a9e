"""Reads the list of images of an image service (`GET /v1/images`), which is untrusted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from ..errors import (
    HttpStatusError,
    InvalidDocumentError,
    RemoteImagesDisabledError,
)
from ..platform.base import HttpClient
from ..platform.printable import printable
from .access import ImageAddress
from .documents import is_whole
from .numbers import MAX_IMAGE_SIZE
from .receiving import stall_limit

_LARGEST: Final = 1 << 20
_MAX_IMAGES: Final = 200
_MAX_TEXT: Final = 200
_KIND: Final = "list of images"


@dataclass(frozen=True, slots=True)
class CatalogImage:
    """An image of a service: its address, its name for people, and its size in bytes.

    The address of a prepared image is that of its manifest.
    """

    url: str
    name: str
    description: str
    size: int


async def fetch_catalog(
    url: str, http: HttpClient, *, allow_remote: bool, timeout_s: float = 30.0
) -> list[CatalogImage]:
    """The images that the service at `url` lists, at most 200 of them.

    Raises `RemoteImagesDisabledError` without the user's consent, `InvalidUrlError`,
    `NetworkError`, also when nothing comes for `timeout_s`, `HttpStatusError`, and
    `InvalidDocumentError` when it is no such list or longer than 1 MiB.
    """
    if not allow_remote:
        raise RemoteImagesDisabledError
    address = ImageAddress.parse(url, timeout_s=timeout_s)
    response = None
    try:
        async with stall_limit(address) as limit:
            response = await http.request("GET", address.url)
            if response.status != 200:
                raise HttpStatusError(address.shown, response.status)
            document = bytearray()
            while (chunk := await response.read()) is not None:
                limit.moved()
                document += chunk
                if len(document) > _LARGEST:
                    raise InvalidDocumentError(_KIND, "it is longer than 1 MiB")
    finally:
        if response is not None:
            response.abort()
    return read_catalog(url, bytes(document))


def read_catalog(url: str, document: bytes) -> list[CatalogImage]:
    """The images in a list that came from `url`; raises `InvalidDocumentError`."""
    try:
        listed = json.loads(document)["images"]
        return [_image(url, entry) for entry in listed[:_MAX_IMAGES]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidDocumentError(_KIND, "it is not what an image service sends") from error


def _image(url: str, entry: dict[str, object]) -> CatalogImage:
    image_id, size = str(entry["id"]), entry["size_bytes"]
    if not is_whole(size) or not 0 <= size <= MAX_IMAGE_SIZE:
        raise ValueError("not a size in bytes")
    base = url.partition("?")[0].rstrip("/").removesuffix("/v1/images")
    # Next to the list, wherever a proxy has both; not at any address that the list names.
    served = "manifest.json" if entry.get("layout") == "prepared" else "bytes"
    return CatalogImage(
        url=f"{base}/disks/{quote(image_id, safe='')}/{served}",
        name=_shown(entry.get("name") or image_id),
        description=_shown(entry.get("description") or ""),
        size=size,
    )


def _shown(text: object) -> str:
    """Text of a server in one line that prints."""
    return printable(" ".join(str(text).split())[:_MAX_TEXT])
