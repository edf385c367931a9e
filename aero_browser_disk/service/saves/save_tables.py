"""What the records of saves hold: the tables, and their rows as values."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Final, Literal

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

Kind = Literal["chunk", "manifest"]

METADATA: Final = MetaData()
SAVES: Final = Table(
    "saves",
    METADATA,
    Column("save_id", String(32), primary_key=True),
    Column("owner", String(200), nullable=False),
    Column("name", Text, nullable=False),
    Column("base_version", Text, nullable=False),
    Column("base_size", BigInteger, nullable=False),
    Column("sector_size", Integer, nullable=False),
    Column("base_image", Text),
    Column("generation", BigInteger, nullable=False),
    Column("etag", String(64)),
    Column("device", Text),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("share_key", String(64)),
    UniqueConstraint("owner", "name"),
)
GENERATIONS: Final = Table(
    "save_generations",
    METADATA,
    Column("save_id", String(32), primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("etag", String(64), nullable=False),
    Column("key", Text, nullable=False),
    Column("device", Text),
    Column("created_at", Float, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),
)
# Every object in the store has its row, before it is stored and until it is removed.
OBJECTS: Final = Table(
    "save_objects",
    METADATA,
    Column("key", String(200), primary_key=True),
    Column("save_id", String(32), nullable=False),
    Column("owner", String(200), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("length", BigInteger, nullable=False),
    # What it counts in the owner's quota.
    Column("charged", BigInteger, nullable=False),
    # storing, stored, dropped
    Column("state", String(16), nullable=False),
    # When it was last stored or asked for; of a dropped one, from when on it may be removed.
    Column("touched_at", Float, nullable=False),
    # The first and the last generation that refers to it.
    Column("first_generation", BigInteger),
    Column("last_generation", BigInteger),
    Index("save_objects_by_name", "save_id", "sha256"),
    Index("save_objects_by_owner", "owner", "state", "charged"),
    Index("save_objects_by_state", "state", "touched_at"),
)
# Adding an object locks the owner's row, so that the quota can be checked. Rows stay.
OWNERS: Final = Table("save_owners", METADATA, Column("owner", String(200), primary_key=True))


@dataclass(frozen=True, slots=True)
class Save:
    """A save. Sizes in bytes, times in seconds since the epoch.

    `generation` is the current one, 0 before the first manifest; `etag` is the SHA-256 of its
    manifest. `share_key` signs the links to it; None if there are none.
    """

    save_id: str
    owner: str
    name: str
    base_version: str
    base_size: int
    sector_size: int
    base_image: str | None
    generation: int
    etag: str | None
    device: str | None
    created_at: float
    updated_at: float
    share_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Generation:
    """One state of a save. `stored_bytes` are those of its manifest and of all its chunks."""

    save_id: str
    generation: int
    etag: str
    key: str
    device: str | None
    created_at: float
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A chunk or a manifest in the store. Its `key` is never used again."""

    key: str
    save_id: str
    owner: str
    kind: Kind
    sha256: str
    length: int


class NoSuchSaveError(Exception):
    """The save is not there, or no longer."""


class NameTakenError(Exception):
    """The owner has a save of this name, `save_id`."""

    def __init__(self, save_id: str) -> None:
        super().__init__("the name is taken")
        self.save_id = save_id


class SaveQuotaError(Exception):
    """The owner's quota is used up."""


class ConflictError(Exception):
    """The current generation is another than expected; `save` has it."""

    def __init__(self, save: Save) -> None:
        super().__init__("another generation is current")
        self.save = save


class MissingChunksError(Exception):
    """Chunks that a manifest refers to are not stored."""

    def __init__(self, names: list[str]) -> None:
        super().__init__("chunks are missing")
        self.names = names


class WrongLengthError(Exception):
    """A chunk has another length than the manifest says."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the stored chunk {name} has another length")


class CurrentGenerationError(Exception):
    """The current generation cannot be removed by itself."""


SAVE_FIELDS: Final = [SAVES.c[field.name] for field in fields(Save)]
GENERATION_FIELDS: Final = [GENERATIONS.c[field.name] for field in fields(Generation)]
OBJECT_FIELDS: Final = [OBJECTS.c[field.name] for field in fields(StoredObject)]


def of_save(table: Table, save_id: str) -> ColumnElement[bool]:
    """The rows of one save."""
    condition: ColumnElement[bool] = table.c.save_id == save_id
    return condition
