"""Uploads from their beginning to the image: each one a version of its own, never overwritten."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ..stores.manifest import ManifestEntry
from .multipart import Multipart, Part, UploadGoneError
from .upload_records import Upload, UploadRecords

FOLDER: Final = "uploads/"
_MIB: Final = 1 << 20
# What S3 takes at most.
_MOST_PARTS: Final = 10_000
_REMEMBERED: Final = 4096
_REMEMBERED_FOR_S: Final = 2.0
_UPLOAD_ID_LENGTH: Final = 32


class IncompleteUploadError(Exception):
    """Not every part is there, or some have another length; `numbers` are their first ones."""

    def __init__(self, numbers: list[int]) -> None:
        super().__init__("not every part is there")
        self.numbers = numbers


class UploadEndedError(Exception):
    """The upload is not on its way any more."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to upload."""

    image_id: str
    owner: str
    size: int
    public: bool
    name: str
    description: str | None = None


class Uploads:
    """Begins, ends and cleans up uploads. `clock`: seconds since the epoch."""

    def __init__(
        self,
        records: UploadRecords,
        multipart: Multipart,
        part_size: int,
        life_s: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._records = records
        self._multipart = multipart
        self._part_size = part_size
        self._life_s = life_s
        self._clock = clock

    def close(self) -> None:
        """Closes what it uses."""
        self._records.close()
        self._multipart.close()

    def begin(self, wish: Wish) -> Upload:
        """A new upload; raises `OtherOwnerError`."""
        upload_id = secrets.token_hex(_UPLOAD_ID_LENGTH // 2)
        key = f"{FOLDER}{wish.image_id}/{upload_id}"
        multipart_id = self._multipart.begin(key, "application/octet-stream")
        # Rounded up to whole MiB.
        least = -(-wish.size // _MOST_PARTS // _MIB) * _MIB
        upload = Upload(
            upload_id,
            wish.image_id,
            wish.owner,
            wish.public,
            wish.name,
            wish.description,
            wish.size,
            max(self._part_size, least),
            key,
            multipart_id,
            "uploading",
            None,
            self._clock(),
        )
        try:
            self._records.create(upload)
        except BaseException:
            self._multipart.abort(key, multipart_id)
            raise
        return upload

    def find(self, upload_id: str, owner: str) -> Upload | None:
        """Somebody's upload; for everyone else there is none."""
        upload = self._records.get(upload_id)
        return upload if upload is not None and upload.owner == owner else None

    def of_owner(self, owner: str, limit: int) -> list[Upload]:
        """Somebody's uploads, newest first."""
        return self._records.of_owner(owner, limit)

    def present(self, upload: Upload) -> dict[int, Part]:
        """The parts that are there; all of it is what is lacking after an interruption."""
        self._check_under_way(upload)
        try:
            return self._multipart.parts(upload.key, upload.multipart_id)
        except UploadGoneError:
            return {}

    def part_urls(self, upload: Upload, numbers: Iterable[int], life_s: int) -> dict[int, str]:
        """Where to PUT those parts."""
        self._check_under_way(upload)
        self._records.touch(upload.upload_id, self._clock())
        return {
            number: self._multipart.part_url(
                upload.key, upload.multipart_id, number, upload.part_length(number), life_s
            )
            for number in numbers
        }

    def complete(self, upload: Upload) -> Upload:
        """Makes it ready; raises `IncompleteUploadError` and `UploadEndedError`.

        May be repeated: what was done before the answer got lost is found done.
        """
        if upload.state == "ready":
            return upload
        self._check_under_way(upload)
        try:
            parts = self._multipart.parts(upload.key, upload.multipart_id)
            self._check_parts(upload, parts)
            self._multipart.complete(upload.key, upload.multipart_id, parts)
        except UploadGoneError:
            pass  # completed before, or aborted: the object tells
        if self._multipart.size(upload.key) != upload.size:
            self._records.finish(upload, "failed", self._clock(), "the bucket lost its parts")
            raise UploadEndedError
        self._records.finish(upload, "ready", self._clock())
        now = self._records.get(upload.upload_id)
        if now is None or now.state != "ready":
            # Given up by another at the same moment.
            self._multipart.remove(upload.key)
            raise UploadEndedError
        return now

    def abort(self, upload: Upload, reason: str = "aborted by its owner") -> None:
        """Gives it up and frees its parts; raises `UploadEndedError` when it is ready."""
        if upload.state == "failed":
            return
        if upload.state == "ready" or not self._records.finish(
            upload, "failed", self._clock(), reason
        ):
            raise UploadEndedError
        self._multipart.abort(upload.key, upload.multipart_id)

    def clean_up(self) -> int:
        """Gives up what nobody touched for a while, and parts that no record knows; how many."""
        cleaned = 0
        before = self._clock() - self._life_s
        for upload in self._records.untouched(before):
            try:
                self.abort(upload, "not finished in time")
            except UploadEndedError:
                continue
            cleaned += 1
        known = self._records.multipart_ids()
        for key, multipart_id, begun_at in self._multipart.begun(FOLDER):
            # As old: one that has just begun gets its record in a moment.
            if multipart_id not in known and begun_at < before:
                self._multipart.abort(key, multipart_id)
                cleaned += 1
        return cleaned

    def _check_under_way(self, upload: Upload) -> None:
        if upload.state != "uploading":
            raise UploadEndedError

    @staticmethod
    def _check_parts(upload: Upload, parts: dict[int, Part]) -> None:
        lacking = [
            number
            for number in range(1, upload.part_count + 1)
            if number not in parts or parts[number].length != upload.part_length(number)
        ]
        lacking += [number for number in parts if number > upload.part_count]
        if lacking:
            raise IncompleteUploadError(lacking)


class UploadedImages:
    """The uploads that are ready, as entries of a store's catalog.

    `ID` is the newest version of an image, `ID.UPLOAD-ID` that very version for ever.
    """

    def __init__(self, records: UploadRecords, clock: Callable[[], float] = time.monotonic) -> None:
        self._records = records
        self._clock = clock
        self._known: OrderedDict[str, tuple[Upload, float]] = OrderedDict()

    async def find(self, image_id: str) -> ManifestEntry | None:
        """The entry with this id."""
        upload = await self._upload(image_id)
        return None if upload is None else _entry(upload, image_id)

    async def entries(self) -> list[ManifestEntry]:
        """The newest version of every image."""
        uploads = await asyncio.to_thread(self._records.ready)
        return [_entry(upload, upload.image_id) for upload in uploads]

    async def _upload(self, image_id: str) -> Upload | None:
        known = self._known.get(image_id)
        if known is not None and self._clock() - known[1] < _REMEMBERED_FOR_S:
            return known[0]
        asked_at = self._clock()
        upload = await asyncio.to_thread(self._look_up, image_id)
        if upload is None:
            return None  # not remembered: it may be ready in a moment
        self._known[image_id] = (upload, asked_at)
        self._known.move_to_end(image_id)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return upload

    def _look_up(self, image_id: str) -> Upload | None:
        upload = self._records.latest(image_id)
        if upload is None:
            name, _, upload_id = image_id.rpartition(".")
            found = self._records.get(upload_id) if len(upload_id) == _UPLOAD_ID_LENGTH else None
            if found is not None and (found.image_id, found.state) == (name, "ready"):
                upload = found
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
