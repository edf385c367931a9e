"""The records of uploads in SQLite or PostgreSQL: owner, state and key.

Every call blocks; raises `StoreError` when the database fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Float,
    MetaData,
    Row,
    String,
    Table,
    Text,
    create_engine,
    delete,
    event,
    exists,
    func,
    insert,
    make_url,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from ..stores.image_store import StoreError

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
# A slower database counts as down.
_CONNECT_TIMEOUT_S: Final = 5
_BUSY_TIMEOUT_MS: Final = 5000
# Any number that nobody else locks.
_TABLES_LOCK: Final = 0x6165726F


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
        try:
            options = _connect_options(url)
            self._engine = create_engine(
                url, pool_pre_ping=True, pool_size=5, max_overflow=5, connect_args=options
            )
        except (ArgumentError, ModuleNotFoundError, SQLAlchemyError):
            # Do not quote the error: the URL may contain a password.
            raise ValueError(
                "the database of uploads: write sqlite:///file or, with the extra postgres, "
                "postgresql+psycopg://user:password@host/name"
            ) from None
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        if self._is_sqlite:
            _prepare_sqlite(self._engine)
        with self._transaction(writes=True) as connection:
            if not self._is_sqlite:
                # Two instances that start at once would both make them.
                connection.execute(select(func.pg_advisory_xact_lock(_TABLES_LOCK)))
            _METADATA.create_all(connection)

    def close(self) -> None:
        """Closes its connections."""
        self._engine.dispose()

    def create(self, upload: Upload, quota: Quota = NO_QUOTA) -> None:
        """Adds it; raises `OtherOwnerError` and `QuotaExceededError`."""
        with self._transaction(writes=True) as connection:
            self._lock(connection, _OWNERS, owner=upload.owner)
            if self._lock(connection, _CLAIMS, image_id=upload.image_id, owner=upload.owner) != (
                upload.owner
            ):
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
        with self._transaction(writes=True) as connection:
            connection.execute(
                update(_UPLOADS)
                .where(_UPLOADS.c.upload_id == upload_id, _UPLOADS.c.state == "uploading")
                .values(touched_at=now)
            )

    def set_public(self, upload_id: str, *, public: bool) -> bool:
        """Makes it public or private; returns False if it has ended."""
        with self._transaction(writes=True) as connection:
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
        with self._transaction(writes=True) as connection:
            self._lock(connection, _CLAIMS, image_id=upload.image_id, owner=upload.owner)
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
        with self._transaction(writes=True) as connection:
            connection.execute(
                delete(_UPLOADS).where(
                    _UPLOADS.c.upload_id == upload.upload_id, _UPLOADS.c.state.in_(_ENDED)
                )
            )

    def _lock(self, connection: Connection, table: Table, **values: str) -> str:
        """Locks the row with the first of `values`, added if missing; returns its owner."""
        add = (sqlite if self._is_sqlite else postgresql).insert(table).values(values)
        key = table.c[next(iter(values))]
        find = select(table.c.owner).where(key == values[key.name]).with_for_update()
        while True:
            connection.execute(add.on_conflict_do_nothing())
            owner = connection.execute(find).scalar()
            # Otherwise it was removed in between. Once locked, it cannot be.
            if owner is not None:
                return str(owner)

    def _one(self, *conditions: ColumnElement[bool]) -> Upload | None:
        return next(iter(self._all(*conditions, limit=1)), None)

    def _all(self, *conditions: ColumnElement[bool], limit: int | None = None) -> list[Upload]:
        """The matching uploads, oldest first; with `limit` the newest of them."""
        newest_first = _UPLOADS.c.touched_at.desc(), _UPLOADS.c.upload_id.desc()
        query = select(*_FIELDS).where(*conditions).order_by(*newest_first).limit(limit)
        with self._transaction() as connection:
            rows: Sequence[Row[Any]] = connection.execute(query).all()
        return [Upload(**row._mapping) for row in reversed(rows)]

    @contextmanager
    def _transaction(self, *, writes: bool = False) -> Iterator[Connection]:
        engine = self._engine.execution_options(writes=writes)
        with _errors_mapped(), engine.begin() as connection:
            yield connection


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


def _connect_options(url: str) -> dict[str, Any]:
    """Options for what the URL leaves open."""
    asked = make_url(url)
    if asked.get_backend_name() == "sqlite":
        return {}
    given = {"connect_timeout": _CONNECT_TIMEOUT_S}
    return {name: value for name, value in given.items() if name not in asked.query}


def _prepare_sqlite(engine: Engine) -> None:
    """Readers do not wait for a writer; a writer takes its turn before it reads."""

    @event.listens_for(engine, "connect")
    def _(connection: Any, _: object) -> None:
        # The driver would begin at the first write, after reads that may be stale by then.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode=WAL")

    @event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _errors_mapped() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0]
        raise StoreError(f"the database of uploads: {reason}") from error
