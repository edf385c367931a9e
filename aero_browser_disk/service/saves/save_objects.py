"""Statements about the objects of saves, each in a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select, update

from .save_tables import (
    GENERATIONS,
    OBJECTS,
    MissingChunksError,
    StoredObject,
    WrongLengthError,
    of_save,
)

# Names in one statement; SQLite takes 32,766 parameters, older ones 999.
_BATCH: Final = 500


def counted() -> ColumnElement[bool]:
    """The objects that count in a quota."""
    return OBJECTS.c.state.in_(("storing", "stored"))


def chunks_named(save_id: str, names: Sequence[str]) -> ColumnElement[bool]:
    """The stored chunks of these names."""
    return and_(
        of_save(OBJECTS, save_id),
        OBJECTS.c.sha256.in_(names),
        OBJECTS.c.kind == "chunk",
        OBJECTS.c.state == "stored",
    )


def storing(stored: StoredObject) -> tuple[ColumnElement[bool], ...]:
    """The object, as long as it is not committed or dropped."""
    return OBJECTS.c.key == stored.key, OBJECTS.c.state == "storing"


def chunk_lengths(connection: Connection, save_id: str, names: Iterable[str]) -> dict[str, int]:
    """The lengths of those chunks that are stored."""
    lengths: dict[str, int] = {}
    for batch in batches(names):
        query = select(OBJECTS.c.sha256, OBJECTS.c.length).where(chunks_named(save_id, batch))
        lengths |= {row[0]: row[1] for row in connection.execute(query)}
    return lengths


def check_chunks(connection: Connection, save_id: str, chunks: Mapping[str, int]) -> None:
    """Raises `MissingChunksError` or `WrongLengthError` unless they are all stored."""
    lengths = chunk_lengths(connection, save_id, chunks)
    missing = [name for name in chunks if name not in lengths]
    if missing:
        raise MissingChunksError(missing)
    for name, length in chunks.items():
        if lengths[name] != length:
            raise WrongLengthError(name)


def unused(before: float) -> ColumnElement[bool]:
    """Manifests of removed generations, and chunks that none refers to and none asked for since.

    A chunk between two generations that both leave it out counts as used until the older one goes.
    """
    used = exists().where(
        GENERATIONS.c.save_id == OBJECTS.c.save_id,
        GENERATIONS.c.generation.between(OBJECTS.c.first_generation, OBJECTS.c.last_generation),
    )
    idle = or_(OBJECTS.c.kind == "manifest", OBJECTS.c.touched_at < before)
    return and_(OBJECTS.c.state == "stored", idle, ~used)


def drop_unused(connection: Connection, save_id: str, now: float, before: float) -> None:
    """Drops what `unused` finds of a save, which must be locked."""
    mine = of_save(OBJECTS, save_id), unused(before)
    connection.execute(update(OBJECTS).where(*mine).values(state="dropped", touched_at=now))


def batches(names: Iterable[str]) -> Iterator[list[str]]:
    """The names, some at a time."""
    left = iter(names)
    while batch := list(islice(left, _BATCH)):
        yield batch
