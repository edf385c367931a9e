"""The records of uploads in SQLite or PostgreSQL: owner, state and key.

Every call blocks; raises `StoreError` when the database fails.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Float,
    MetaData,
    Row,
    String,
    Table,
    Text,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from ..database import Database

State = Literal["uploading", "ready", "failed", "deleted"]

_METADATA: Final = MetaData()
_UPLOADS: Final = Table(
    "uploads",
    _METADATA,
    Column("upload_id", String(32), primary_key=True),
    Column("image_id", String(128), nullable=False, index=True),
    Column("owner", String(200), nullable=False, index=True),
    Column("public", Boolean, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("size", BigInteger, nullable=False),
    Column("part_size", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("multipart_id", Text, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("reason", Text),
    Column("touched_at", Float, nullable=False),
)
# Who may upload further versions of an image: its first uploader, while any version is left. Adding
# or ending an upload locks the image's row first.
_CLAIMS: Final = Table(
    "image_claims",
    _METADATA,
    Column("image_id", String(128), primary_key=True),
    Column("owner", String(200), nullable=False),
)
# Adding an upload locks the owner's row, so that the quota can be checked. Rows stay.
_OWNERS: Final = Table("upload_owners", _METADATA, Column("owner", String(200), primary_key=True))
_ALIVE: Final = ("uploading", "ready")
_ENDED: Final = ("failed", "deleted")
_VERSION_ID: Final = re.compile(r"(?P<image>.*)\.(?P<upload>[0-9a-f]{32})")


class OtherOwnerError(Exception):
    """The image has another owner."""


class QuotaExceededError(Exception):
    """The owner's quota is used up."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What one owner may have; 0 means no limit.

    `bytes` counts the sizes of uploads under way and ready. `uploads` counts all records: for a
    while ended ones too, so that nobody fills the table by beginning and aborting.
    """

    bytes: int = 0
    uploads: int = 0


NO_QUOTA: Final = Quota()


def parse_version_id(image_id: str) -> tuple[str, str] | None:
    """The image and the upload that a version's id names; None for any other id.

    No image may have an id of this form, so the two never collide.
    """
    match = _VERSION_ID.fullmatch(image_id)
    return (match["image"], match["upload"]) if match else None


@dataclass(frozen=True, slots=True)
class Upload:
    """One version of an image, under way or ready. Sizes in bytes.

    `key`: of its object in the bucket, below the store's prefix, never used again. `reason`: why it
    failed. `touched_at`: when it was last changed or used, in seconds since the epoch.
    """

    upload_id: str
    image_id: str
    owner: str
    public: bool
    name: str
    description: str | None
    size: int
    part_size: int
    key: str
    multipart_id: str
    state: State
    reason: str | None
    touched_at: float

    @property
    def part_count(self) -> int:
        """Number of its parts; all but the last one have `part_size` bytes."""
        return -(-self.size // self.part_size)

    @property
    def version_id(self) -> str:
        """The id of exactly this version."""
        return f"{self.image_id}.{self.upload_id}"

    def part_length(self, number: int) -> int:
        """Bytes of a part, which are numbered from 1."""
        return min(self.part_size, self.size - (number - 1) * self.part_size)


_FIELDS: Final = [_UPLOADS.c[field.name] for field in fields(Upload)]


class UploadRecords:
    """The records in the database at `url` (`sqlite:///file`, `postgresql+psycopg://…`).

    Creates its tables. Raises `ValueError` for another URL, else `StoreError`.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, "uploads", _METADATA)

    def close(self) -> None:
        """Closes its connections."""
        self._database.close()

    def create(self, upload: Upload, quota: Quota = NO_QUOTA) -> None:
        """Adds it; raises `OtherOwnerError` and `QuotaExceededError`."""
        with self._database.transaction(writes=True) as connection:
            self._database.lock(connection, _OWNERS, owner=upload.owner)
            if self._claim(connection, upload) != upload.owner:
                raise OtherOwnerError
            _check_quota(connection, upload, quota)
            connection.execute(insert(_UPLOADS).values(asdict(upload)))

    def get(self, upload_id: str) -> Upload | None:
        """The upload, whatever its state."""
        return self._one(_UPLOADS.c.upload_id == upload_id)

    def latest(self, image_id: str) -> Upload | None:
        """The newest version of an image that is ready."""
        return self._one(_UPLOADS.c.image_id == image_id, _UPLOADS.c.state == "ready")

    def ready(self) -> list[Upload]:
        """The newest ready version of every image, by id."""
        newest = {upload.image_id: upload for upload in self._all(_UPLOADS.c.state == "ready")}
        return [newest[image_id] for image_id in sorted(newest)]

    def of_owner(self, owner: str, limit: int) -> list[Upload]:
        """The owner's uploads, newest first."""
        return self._all(_UPLOADS.c.owner == owner, limit=limit)[::-1]

    def untouched(self, since: float) -> list[Upload]:
        """Uploads under way, untouched since then."""
        return self._all(_UPLOADS.c.state == "uploading", _UPLOADS.c.touched_at < since)

    def ended(self, before: float) -> list[Upload]:
        """Uploads that failed or were deleted before then."""
        return self._all(_UPLOADS.c.state.in_(_ENDED), _UPLOADS.c.touched_at < before)

    def multipart_ids(self) -> set[str]:
        """The bucket's ids of uploads under way."""
        uploading = self._all(_UPLOADS.c.state == "uploading")
        return {upload.multipart_id for upload in uploading}

    def touch(self, upload_id: str, now: float) -> None:
        """Notes that it is in use."""
        with self._database.transaction(writes=True) as connection:
            connection.execute(
                update(_UPLOADS)
                .where(_UPLOADS.c.upload_id == upload_id, _UPLOADS.c.state == "uploading")
                .values(touched_at=now)
            )

    def set_public(self, upload_id: str, *, public: bool) -> bool:
        """Makes it public or private; returns False if it has ended."""
        with self._database.transaction(writes=True) as connection:
            result = connection.execute(
                update(_UPLOADS)
                .where(_UPLOADS.c.upload_id == upload_id, _UPLOADS.c.state.in_(_ALIVE))
                .values(public=public)
            )
            return result.rowcount == 1

    def change(
        self,
        upload: Upload,
        state: State,
        now: float,
        reason: str | None = None,
        *,
        if_untouched: bool = False,
    ) -> bool:
        """Changes its state if that is still `upload.state`; returns whether it was.

        Of several concurrent calls one succeeds. `if_untouched`: only if nobody touched it.
        """
        with self._database.transaction(writes=True) as connection:
            self._claim(connection, upload)
            same = [_UPLOADS.c.upload_id == upload.upload_id, _UPLOADS.c.state == upload.state]
            if if_untouched:
                same.append(_UPLOADS.c.touched_at == upload.touched_at)
            result = connection.execute(
                update(_UPLOADS).where(*same).values(state=state, reason=reason, touched_at=now)
            )
            _release_claim(connection, upload.image_id)
            return result.rowcount == 1

    def forget(self, upload: Upload) -> None:
        """Removes the record of an upload that failed or was deleted."""
        with self._database.transaction(writes=True) as connection:
            connection.execute(
                delete(_UPLOADS).where(
                    _UPLOADS.c.upload_id == upload.upload_id, _UPLOADS.c.state.in_(_ENDED)
                )
            )

    def _claim(self, connection: Connection, upload: Upload) -> str:
        """Locks the claim on the image, made if there is none; returns whose it is."""
        values = {"image_id": upload.image_id, "owner": upload.owner}
        return str(self._database.lock(connection, _CLAIMS, **values).owner)

    def _one(self, *conditions: ColumnElement[bool]) -> Upload | None:
        return next(iter(self._all(*conditions, limit=1)), None)

    def _all(self, *conditions: ColumnElement[bool], limit: int | None = None) -> list[Upload]:
        """The matching uploads, oldest first; with `limit` the newest of them."""
        newest_first = _UPLOADS.c.touched_at.desc(), _UPLOADS.c.upload_id.desc()
        query = select(*_FIELDS).where(*conditions).order_by(*newest_first).limit(limit)
        with self._database.transaction() as connection:
            rows: Sequence[Row[Any]] = connection.execute(query).all()
        return [Upload(**row._mapping) for row in reversed(rows)]


def _check_quota(connection: Connection, upload: Upload, quota: Quota) -> None:
    own = _UPLOADS.c.owner == upload.owner
    if quota.uploads:
        query = select(func.count()).select_from(_UPLOADS).where(own)
        if (connection.execute(query).scalar() or 0) >= quota.uploads:
            raise QuotaExceededError
    if quota.bytes:
        sizes = select(func.sum(_UPLOADS.c.size)).where(own, _UPLOADS.c.state.in_(_ALIVE))
        if int(connection.execute(sizes).scalar() or 0) + upload.size > quota.bytes:
            raise QuotaExceededError


def _release_claim(connection: Connection, image_id: str) -> None:
    """Frees the id if no version of the image is left. The claim must be locked."""
    alive = exists().where(_UPLOADS.c.image_id == image_id, _UPLOADS.c.state.in_(_ALIVE))
    connection.execute(delete(_CLAIMS).where(_CLAIMS.c.image_id == image_id, ~alive))
