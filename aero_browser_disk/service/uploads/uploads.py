"""The life of an upload. Each is a version of its own and is never overwritten.

A record changes before the bucket does, with two exceptions: a multipart upload begins before its
record, and an object is complete before its record says so. After a crash, listing finds the first,
and the next request for the upload the second. An ended upload keeps its record until nothing of it
is left in the bucket. So every state that a crash leaves can be continued or is cleaned up.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from ..stores.image_store import BOOT_PROFILE_ENDING, DIGESTS_ENDING, StoreError
from .multipart import Multipart, Part, UploadGoneError
from .upload_records import NO_QUOTA, Quota, State, Upload, UploadRecords

FOLDER: Final = "uploads/"
_MIB: Final = 1 << 20
# S3's maximum.
_MAX_PARTS: Final = 10_000
_UPLOAD_ID_BYTES: Final = 16
# After so many failures in a row cleaning stops: the bucket is down.
_MAX_FAILURES: Final = 3


class IncompleteUploadError(Exception):
    """Parts are missing or have the wrong length; `numbers` names them."""

    def __init__(self, numbers: list[int]) -> None:
        super().__init__("parts are missing")
        self.numbers = numbers


class UploadEndedError(Exception):
    """The upload has ended."""


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """A requested upload. `size` in bytes."""

    image_id: str
    owner: str
    size: int
    public: bool
    name: str
    description: str | None = None


class Uploads:
    """Begins, ends and cleans up uploads.

    `lifetime_s`: how long an upload may be idle, and how long the record of an ended one is kept.
    `clock`: seconds since the epoch.
    """

    def __init__(
        self,
        records: UploadRecords,
        multipart: Multipart,
        part_size: int,
        lifetime_s: int,
        quota: Quota = NO_QUOTA,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._records = records
        self._multipart = multipart
        self._part_size = part_size
        self._lifetime_s = lifetime_s
        self._quota = quota
        self._clock = clock

    def close(self) -> None:
        """Closes what it uses."""
        self._records.close()
        self._multipart.close()

    def begin(self, request: UploadRequest) -> Upload:
        """A new upload; raises `OtherOwnerError` and `QuotaExceededError`."""
        upload_id = secrets.token_hex(_UPLOAD_ID_BYTES)
        key = f"{FOLDER}{request.image_id}/{upload_id}"
        multipart_id = self._multipart.begin(key, "application/octet-stream")
        # Rounded up to whole MiB.
        least = -(-request.size // _MAX_PARTS // _MIB) * _MIB
        upload = Upload(
            upload_id,
            request.image_id,
            request.owner,
            request.public,
            request.name,
            request.description,
            request.size,
            max(self._part_size, least),
            key,
            multipart_id,
            "uploading",
            None,
            self._clock(),
        )
        try:
            self._records.create(upload, self._quota)
        except BaseException:
            with suppress(StoreError):  # then it is cleaned up later
                self._multipart.abort(key, multipart_id)
            raise
        return upload

    def find(self, upload_id: str, owner: str) -> Upload | None:
        """The owner's upload; None for anyone else."""
        upload = self._records.get(upload_id)
        return upload if upload is not None and upload.owner == owner else None

    def of_owner(self, owner: str, limit: int) -> list[Upload]:
        """Somebody's uploads, newest first."""
        return self._records.of_owner(owner, limit)

    def present(self, upload: Upload) -> tuple[Upload, dict[int, Part]]:
        """The current upload and its uploaded parts.

        While it is under way, all other parts are missing.
        """
        if upload.state != "uploading":
            return upload, {}
        try:
            parts = self._multipart.parts(upload.key, upload.multipart_id)
        except UploadGoneError:
            parts = {}
        # No parts: it has just begun, or was completed but not recorded.
        if not parts and self._is_whole(upload):
            upload = self._end_as(upload, "ready")
        return upload, parts

    def part_urls(self, upload: Upload, numbers: Iterable[int], lifetime_s: int) -> dict[int, str]:
        """Where to PUT those parts; raises `UploadEndedError`."""
        if upload.state != "uploading":
            raise UploadEndedError
        self._records.touch(upload.upload_id, self._clock())
        return {
            number: self._multipart.part_url(
                upload.key, upload.multipart_id, number, upload.part_length(number), lifetime_s
            )
            for number in numbers
        }

    def complete(self, upload: Upload) -> Upload:
        """Makes it ready; raises `IncompleteUploadError` and `UploadEndedError`.

        May be repeated, also concurrently.
        """
        if upload.state == "uploading":
            self._records.touch(upload.upload_id, self._clock())
            lacking = self._assemble(upload)
            if self._is_whole(upload):
                upload = self._end_as(upload, "ready")
            elif lacking is None:
                upload = self._end_as(upload, "failed", "the bucket lost its parts")
            else:
                # Another may have completed or ended it while the parts were counted.
                upload = self._records.get(upload.upload_id) or upload
                if upload.state == "uploading":
                    raise IncompleteUploadError(lacking)
        if upload.state != "ready":
            raise UploadEndedError
        return upload

    def set_public(self, upload: Upload, *, public: bool) -> Upload:
        """Makes this version public or private; raises `UploadEndedError`."""
        if not self._records.set_public(upload.upload_id, public=public):
            raise UploadEndedError
        return self._records.get(upload.upload_id) or upload

    def remove(self, upload: Upload) -> None:
        """Aborts an upload under way, deletes a ready one. May be repeated.

        Raises `StoreError` when the bucket did not free its bytes: repeat it, or `clean_up` does.
        """
        if upload.state == "uploading":
            upload = self._end_as(upload, "failed", "aborted by its owner")
        if upload.state == "ready":
            upload = self._end_as(upload, "deleted")
        self._sweep(upload)

    def clean_up(self) -> int:
        """Ends idle uploads and frees the rest of ended ones; returns how many.

        Raises `StoreError` at the end if some of it failed.
        """
        done, failures, failure = 0, 0, None
        for clean in self._cleaning(self._clock() - self._lifetime_s):
            try:
                clean()
                done, failures = done + 1, 0
            except StoreError as error:
                failure, failures = error, failures + 1
                if failures == _MAX_FAILURES:
                    break
        if failure is not None:
            raise failure
        return done

    def _cleaning(self, before: float) -> Iterator[Callable[[], None]]:
        """What there is to clean up: each call does one thing."""
        for upload in self._records.untouched(before):
            reason = "not finished in time"
            if self._records.change(upload, "failed", self._clock(), reason, if_untouched=True):
                yield partial(self._sweep, upload)
        for upload in self._records.ended(before):
            yield partial(self._forget, upload)
        known = self._records.multipart_ids()
        for key, multipart_id, begun_at in self._multipart.begun(FOLDER):
            # Only old ones: one that has just begun gets its record in a moment.
            if multipart_id not in known and begun_at < before:
                yield partial(self._multipart.abort, key, multipart_id)

    def _forget(self, upload: Upload) -> None:
        # Once more: it may have been completed while it ended. By now nobody does.
        self._sweep(upload)
        self._records.forget(upload)

    def _assemble(self, upload: Upload) -> list[int] | None:
        """Assembles the object from its parts.

        Returns the numbers of missing parts, None if the bucket does not know the upload.
        """
        try:
            parts = self._multipart.parts(upload.key, upload.multipart_id)
            lacking = _lacking(upload, parts)
            if not lacking:
                self._multipart.complete(upload.key, upload.multipart_id, parts)
        except UploadGoneError:
            return None
        return lacking

    def _is_whole(self, upload: Upload) -> bool:
        """Whether the bucket has the object. Its key is this upload's alone."""
        return self._multipart.size(upload.key) == upload.size

    def _end_as(self, upload: Upload, state: State, reason: str | None = None) -> Upload:
        """The upload in that state, or in the one that another request gave it before."""
        changed = self._records.change(upload, state, self._clock(), reason)
        now = self._records.get(upload.upload_id)
        if not changed and state == "ready" and (now is None or now.state != "ready"):
            # It was aborted meanwhile: the new object is nobody's.
            self._sweep(upload)
        if now is None:
            raise UploadEndedError
        return now

    def _sweep(self, upload: Upload) -> None:
        """Removes everything that the bucket has of it."""
        self._multipart.abort(upload.key, upload.multipart_id)
        for ending in ("", DIGESTS_ENDING, BOOT_PROFILE_ENDING):
            self._multipart.remove(upload.key + ending)


def _lacking(upload: Upload, parts: dict[int, Part]) -> list[int]:
    lacking = [
        number
        for number in range(1, upload.part_count + 1)
        if number not in parts or parts[number].length != upload.part_length(number)
    ]
    return lacking + [number for number in parts if number > upload.part_count]
