"""A remote image as the source of an import: by ranges, or in one response if the server ignores
ranges."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from urllib.parse import unquote

from ..errors import RangeNotSupportedError
from ..platform.base import Clock, Platform
from ..platform.byte_range import ByteRange
from ..platform.byte_source import ByteStream, Lookahead, SourceIdentity
from .access import Access
from .remote_image import ImageVersion, RemoteImage, Traffic
from .retry import DEFAULT_RETRY, Retries, RetryPolicy

_PROGRESS = 16 << 10  # bytes; a server that stalls after each byte makes no progress


class RemoteSource:
    """A `ByteSource` of one version of an image on a server that serves ranges."""

    def __init__(
        self,
        image: RemoteImage,
        identity: SourceIdentity,
        clock: Clock,
        retry: RetryPolicy = DEFAULT_RETRY,
    ) -> None:
        self.identity = identity
        self.size = image.version.size
        self.is_pinned = bool(image.version.validator)
        """Whether the version has a validator; if so, imported bytes need not be compared."""
        self._image = image
        self._clock = clock
        self._retry = retry

    async def read(self, offset: int, length: int) -> bytes:
        stop = min(offset + length, self.size)
        data = bytearray()
        retries = Retries(self._retry, self._clock)

        progressed_at = 0

        def deliver(_: int, chunk: memoryview) -> None:
            nonlocal progressed_at
            data.extend(chunk)
            if len(data) - progressed_at >= _PROGRESS:
                progressed_at = len(data)
                retries.progress()

        async def fetch_rest() -> None:
            if offset + len(data) < stop:
                await self._image.fetch(ByteRange(offset + len(data), stop), deliver)

        await retries.run(fetch_rest)
        return bytes(data)


class RemoteStream:
    """An image in one response from a server that ignores ranges."""

    def __init__(self, image: RemoteImage, name: str, address_digest: str) -> None:
        self.identity = SourceIdentity(name, None, address_digest)
        self._image = image

    async def open(self) -> ByteStream:
        """Requests the image; returns after the first bytes. Raises as `RemoteImage.download`."""

        def begun(size: int | None, validator: str) -> None:
            modified = f"{self.identity.modified} {validator}"
            self.identity = SourceIdentity(self.identity.name, size, modified)

        stream = Lookahead(_as_bytes(self._image.download(begun)))
        await stream.head(1)
        return stream


async def remote_file(platform: Platform, access: Access) -> RemoteSource | RemoteStream:
    """The image at an address, by ranges; as a stream if its server ignores ranges.

    Raises what `RemoteImage.probe` does.
    """
    address = await access.address()
    path = address.web_url.path
    name = unquote(path.rpartition("/")[2])
    # A digest: the address may hold a secret.
    address_digest = hashlib.sha256(address.url.encode()).hexdigest()[:32]
    try:
        image = await RemoteImage.probe(platform.http, access)
        version = image.version
        identity = SourceIdentity(name, version.size, f"{address_digest} {version.validator}")
        source = RemoteSource(image, identity, platform.clock)
        await source.read(0, 1)  # a server that sends the size may still ignore ranges
    except RangeNotSupportedError:
        unknown = RemoteImage(platform.http, access, ImageVersion(0, ""), Traffic())
        return RemoteStream(unknown, name, address_digest)
    return source


async def _as_bytes(chunks: AsyncIterator[memoryview]) -> ByteStream:
    async for chunk in chunks:
        yield bytes(chunk)
