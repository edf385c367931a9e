"""An image on a host as a file to be imported: by ranges where it has them, else in one answer."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from urllib.parse import unquote

from ..errors import DiskError, RangeNotSupportedError
from ..platform.base import Clock, Platform
from ..platform.byte_range import ByteRange
from ..platform.byte_source import ByteStream, Lookahead, SourceIdentity
from .access import Access
from .remote_image import ImageVersion, RemoteImage, Traffic
from .retry import DEFAULT_RETRY, RetryPolicy


class RemoteSource:
    """A `ByteSource` of one version of an image on a host that serves ranges."""

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
        """Whether the host tells versions apart, so that what was imported need not be compared."""
        self._image = image
        self._clock = clock
        self._retry = retry

    async def read(self, offset: int, length: int) -> bytes:
        stop = min(offset + length, self.size)
        data = bytearray()
        failures, started = 0, self._clock.now()

        def deliver(_: int, piece: memoryview) -> None:
            nonlocal failures, started
            data.extend(piece)
            failures, started = 0, self._clock.now()

        while offset + len(data) < stop:
            try:
                await self._image.fetch(ByteRange(offset + len(data), stop), deliver)
            except DiskError as error:
                failures += 1
                delay = self._retry.delay_s(error, failures, self._clock.now() - started)
                if delay is None:
                    raise
                await self._clock.sleep(delay)
        return bytes(data)


class RemoteStream:
    """An image in one answer of a host that serves no ranges."""

    def __init__(self, image: RemoteImage, name: str, place: str) -> None:
        self.identity = SourceIdentity(name, None, place)
        self._image = image

    async def open(self) -> ByteStream:
        """Asks for it; returns once its first bytes are here. Raises what the host does."""

        def begun(size: int | None, validator: str) -> None:
            modified = f"{self.identity.modified} {validator}"
            self.identity = SourceIdentity(self.identity.name, size, modified)

        stream = Lookahead(_as_bytes(self._image.download(begun)))
        await stream.head(1)
        return stream


async def remote_file(outside: Platform, access: Access) -> RemoteSource | RemoteStream:
    """The image at an address, by ranges; as a stream where its host ignores them.

    Raises what `RemoteImage.probe` does.
    """
    address = await access.address()
    path = address.web_url.path
    name = unquote(path.rpartition("/")[2])
    place = hashlib.sha256(address.url.encode()).hexdigest()[:32]  # the address may be a secret
    try:
        image = await RemoteImage.probe(outside.http, access)
        version = image.version
        identity = SourceIdentity(name, version.size, f"{place} {version.validator}")
        source = RemoteSource(image, identity, outside.clock)
        await source.read(0, 1)  # that a host tells the size is no promise that it serves ranges
    except RangeNotSupportedError:
        unknown = RemoteImage(outside.http, access, ImageVersion(0, ""), Traffic())
        return RemoteStream(unknown, name, place)
    return source


async def _as_bytes(pieces: AsyncIterator[memoryview]) -> ByteStream:
    async for piece in pieces:
        yield bytes(piece)
