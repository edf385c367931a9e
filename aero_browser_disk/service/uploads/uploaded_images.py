"""The uploads that are ready, as images of a store."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ..outgoing import BlockingCalls
from ..stores.manifest import ManifestEntry
from .upload_records import Upload, UploadRecords, parse_version_id

_REMEMBERED: Final = 4096
# How long another instance may serve an outdated entry.
_REMEMBERED_FOR_S: Final = 2.0
_THREADS: Final = 16
_TIMEOUT_S: Final = 5.0


class UploadedImages:
    """Entries of a store's catalog: `ID` is the newest version, `ID.UPLOAD-ID` that version.

    `clock` counts seconds.
    """

    def __init__(self, records: UploadRecords, clock: Callable[[], float] = time.monotonic) -> None:
        self._records = records
        self._clock = clock
        self._calls = BlockingCalls("the database of uploads", _THREADS, _TIMEOUT_S)
        self._known: OrderedDict[str, tuple[Upload, float]] = OrderedDict()

    async def find(self, image_id: str) -> ManifestEntry | None:
        """The entry with this id; raises `StoreError`."""
        upload = await self._upload(image_id)
        return None if upload is None else _entry(upload, image_id)

    async def entries(self) -> list[ManifestEntry]:
        """The newest version of every image; raises `StoreError`."""
        uploads = await self._calls.run(self._records.ready)
        return [
            _entry(upload, upload.image_id)
            for upload in uploads
            if parse_version_id(upload.image_id) is None
        ]

    def close(self) -> None:
        """Closes the records."""
        self._records.close()

    def forget(self, upload: Upload) -> None:
        """Forgets the cached entries of the upload and of its image."""
        self._known.pop(upload.image_id, None)
        self._known.pop(upload.version_id, None)

    async def _upload(self, image_id: str) -> Upload | None:
        known = self._known.get(image_id)
        if known is not None and self._clock() - known[1] < _REMEMBERED_FOR_S:
            return known[0]
        asked_at = self._clock()
        upload = await self._calls.run(lambda: self._look_up(image_id))
        if upload is None:
            return None  # not remembered: it may be ready in a moment
        self._known[image_id] = (upload, asked_at)
        self._known.move_to_end(image_id)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return upload

    def _look_up(self, image_id: str) -> Upload | None:
        version = parse_version_id(image_id)
        if version is None:
            return self._records.latest(image_id)
        upload = self._records.get(version[1])
        if upload is None or (upload.image_id, upload.state) != (version[0], "ready"):
            return None
        return upload


def _entry(upload: Upload, image_id: str) -> ManifestEntry:
    return ManifestEntry(
        id=image_id,
        file=upload.key,
        name=upload.name,
        public=upload.public,
        description=upload.description,
        owner=upload.owner,
    )
