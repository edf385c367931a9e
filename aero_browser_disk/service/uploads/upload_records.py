"""What is known of uploads, in SQLite or PostgreSQL: whose they are, how far, and where.

Every call blocks; raises `StoreError` when the database fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
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
    insert,
    select,
    update,
)
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from ..stores.image_store import StoreError

State = Literal["uploading", "ready", "failed"]

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
# Who may upload further versions of an image: who came first, as long as there is one.
_CLAIMS: Final = Table(
    "image_claims",
    _METADATA,
    Column("image_id", String(128), primary_key=True),
    Column("owner", String(200), nullable=False),
)


class OtherOwnerError(Exception):
    """The image belongs to somebody else."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One version of an image, on its way or there. Sizes in bytes.

    `key` is where it is in the bucket, below the store's prefix, and is used once. `reason` says
    why it failed. `touched_at`: seconds since the epoch, of its last change or use.
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
        """Parts that it comes in; all but the last one have `part_size` bytes."""
        return -(-self.size // self.part_size)

    def part_length(self, number: int) -> int:
        """Bytes of a part, which are numbered from 1."""
        return min(self.part_size, self.size - (number - 1) * self.part_size)


_FIELDS: Final = [_UPLOADS.c[field.name] for field in fields(Upload)]


class UploadRecords:
    """The records in the database at `url` (`sqlite:///file`, `postgresql+psycopg://…`).

    Makes its tables. Raises `ValueError` for what is no such URL, else `StoreError`.
    """

    def __init__(self, url: str) -> None:
        try:
            self._engine = create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=5)
        except (ArgumentError, ModuleNotFoundError, SQLAlchemyError):
            # Not the error's own words: the URL holds a password.
            raise ValueError(
                "the database of uploads: write sqlite:///file or, with the extra postgres, "
                "postgresql+psycopg://user:password@host/name"
            ) from None
        if self._engine.dialect.name == "sqlite":
            _let_readers_in(self._engine)
        with _errors_mapped():
            _METADATA.create_all(self._engine)

    def close(self) -> None:
        """Closes its connections."""
        self._engine.dispose()

    def create(self, upload: Upload) -> None:
        """Adds it; raises `OtherOwnerError`."""
        with self._transaction() as connection:
            claim = select(_CLAIMS.c.owner).where(_CLAIMS.c.image_id == upload.image_id)
            owner = connection.execute(claim).scalar()
            if owner is None:
                connection.execute(
                    insert(_CLAIMS).values(image_id=upload.image_id, owner=upload.owner)
                )
            elif owner != upload.owner:
                raise OtherOwnerError
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
        """Somebody's uploads, newest first."""
        return self._all(_UPLOADS.c.owner == owner)[::-1][:limit]

    def untouched(self, since: float) -> list[Upload]:
        """Those still on their way that nobody touched since."""
        return self._all(_UPLOADS.c.state == "uploading", _UPLOADS.c.touched_at < since)

    def multipart_ids(self) -> set[str]:
        """What the bucket calls those that are on their way."""
        uploading = self._all(_UPLOADS.c.state == "uploading")
        return {upload.multipart_id for upload in uploading}

    def touch(self, upload_id: str, now: float) -> None:
        """Notes that somebody is at it."""
        with self._transaction() as connection:
            connection.execute(
                update(_UPLOADS)
                .where(_UPLOADS.c.upload_id == upload_id, _UPLOADS.c.state == "uploading")
                .values(touched_at=now)
            )

    def finish(self, upload: Upload, state: State, now: float, reason: str | None = None) -> bool:
        """Ends an upload that is on its way; whether it was: of several who try, one does."""
        with self._transaction() as connection:
            result = connection.execute(
                update(_UPLOADS)
                .where(_UPLOADS.c.upload_id == upload.upload_id, _UPLOADS.c.state == "uploading")
                .values(state=state, reason=reason, touched_at=now)
            )
            if state == "failed":
                alive = exists().where(
                    _UPLOADS.c.image_id == upload.image_id, _UPLOADS.c.state != "failed"
                )
                connection.execute(
                    delete(_CLAIMS).where(_CLAIMS.c.image_id == upload.image_id, ~alive)
                )
            return result.rowcount == 1

    def _one(self, *conditions: Any) -> Upload | None:
        return next(reversed(self._all(*conditions)), None)

    def _all(self, *conditions: Any) -> list[Upload]:
        query = (
            select(*_FIELDS)
            .where(*conditions)
            .order_by(_UPLOADS.c.touched_at, _UPLOADS.c.upload_id)
        )
        with self._transaction() as connection:
            rows: Sequence[Row[Any]] = connection.execute(query).all()
        return [Upload(**row._mapping) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with _errors_mapped(), self._engine.begin() as connection:
            yield connection


def _let_readers_in(engine: Engine) -> None:
    """Lets others read while one writes, and waits for another who writes."""

    @event.listens_for(engine, "connect")
    def _(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA busy_timeout=5000")


@contextmanager
def _errors_mapped() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        # Somebody claimed the image at the same moment.
        raise OtherOwnerError from None
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0]
        raise StoreError(f"the database of uploads: {reason}") from error
