"""The files of a prepared image on a server, read without a cache: to verify all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..errors import HttpStatusError, SourceError
from ..formats.prepared.layout import PreparedLayout
from ..formats.prepared.manifest import MAX_MANIFEST, Manifest
from ..formats.prepared.stored_files import StoredFile
from ..platform.base import Platform
from ..remote.access import Access, ImageAddress
from ..remote.remote_image import Traffic
from ..remote.whole_files import WholeFiles
from .opening import opening_retries
from .remote_options import RemoteSettings


async def server_layout(url: str, options: RemoteSettings, platform: Platform) -> PreparedLayout:
    """The prepared image whose manifest is at `url`, each file of which is requested when read.

    A file that is not there is a `SourceError`. Raises `InvalidUrlError`, and what the requests and
    `Manifest.decode` do.
    """
    address = ImageAddress.parse(url, options.headers, options.credentials, options.timeout_s)
    access = Access(address, platform.clock, options.renew, options.expires_at)
    files = WholeFiles(platform.http, access, Traffic())

    async def fetch(path: str, max_bytes: int) -> bytes:
        retries = opening_retries(options.retry, platform.clock)
        return bytes((await retries.run(lambda: files.fetch(path, max_bytes))).data)

    manifest = Manifest.decode(await fetch("", MAX_MANIFEST))
    return PreparedLayout(manifest, _ServerFiles(fetch, address.shown))


@dataclass(frozen=True, slots=True)
class _ServerFiles:
    """As `StoredFiles`."""

    fetch: Callable[[str, int], Awaitable[bytes]]
    shown: str

    async def read(self, file: StoredFile) -> bytes:
        try:
            return await self.fetch(file.path, file.length)
        except HttpStatusError as error:
            if error.status in (404, 410):
                reason = f"{file.path}: status {error.status}"
                raise SourceError(self.shown, reason) from error
            raise
