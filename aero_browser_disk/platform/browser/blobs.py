"""Files of the user, as a page hands them over."""

from __future__ import annotations

from typing import Any

from ...byte_source import SourceIdentity
from ...errors import SourceError
from .interop import js_exception


class BlobSource:
    """A `ByteSource` of a `Blob` or `File`; nothing of it is held in memory."""

    def __init__(self, blob: Any) -> None:
        self._blob = blob
        self.size = int(blob.size)
        name = getattr(blob, "name", "")
        self.identity = SourceIdentity(name, self.size, str(getattr(blob, "lastModified", "")))

    async def read(self, offset: int, length: int) -> bytes:
        try:
            buffer = await self._blob.slice(offset, offset + length).arrayBuffer()
        except js_exception() as error:  # moved, changed or removed since it was chosen
            name = self.identity.name or "The file"
            raise SourceError(name, str(getattr(error, "message", error))) from error
        data: bytes = buffer.to_bytes()
        return data
