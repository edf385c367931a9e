"""The records of saves in SQLite or PostgreSQL: which generation is current, what is stored.

Every call is one transaction and blocks; raises `StoreError` when the database fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Row,
    and_,
    case,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from ..database import Database
from ..stores.image_store import StoreError
from .save_objects import (
    batches,
    check_chunks,
    chunk_lengths,
    chunks_named,
    counted,
    drop_unused,
    storing,
    unused,
)
from .save_tables import (
    GENERATION_FIELDS,
    GENERATIONS,
    METADATA,
    OBJECT_FIELDS,
    OBJECTS,
    OWNERS,
    SAVE_FIELDS,
    SAVES,
    ConflictError,
    CurrentGenerationError,
    Generation,
    NameTakenError,
    NoSuchSaveError,
    Save,
    SaveQuotaError,
    StoredObject,
    of_save,
)

# Many tiny objects cost more than their bytes.
_LEAST_CHARGED: Final = 4096

Condition = Callable[[str | None], bool]
"""Whether a generation with this etag, None before the first, may be replaced."""


@dataclass(frozen=True, slots=True)
class NextGeneration:
    """What a manifest says of itself, and the object that holds it."""

    manifest: StoredObject
    chunks: Mapping[str, int]
    """Length by name."""
    base_version: str
    base_size: int
    sector_size: int
    base_image: str | None
    device: str | None


class SaveRecords:
    """The records in the database at `url`, as `Database` takes it.

    `generations`: how many of a save are kept. `unfinished_s`: how long a chunk that no kept
    generation refers to stays, since it was stored or last asked for: a push may be under way.
    """

    def __init__(self, url: str, generations: int, unfinished_s: float) -> None:
        self._database = Database(url, "saves", METADATA)
        self._generations = generations
        self._unfinished_s = unfinished_s

    def close(self) -> None:
        """Closes its connections."""
        self._database.close()

    def check(self) -> None:
        """Raises `StoreError` if the database does not respond."""
        with self._database.transaction() as connection:
            connection.execute(select(1))

    # ── saves ──

    def create(self, save: Save, max_saves: int = 0) -> None:
        """Adds it; raises `NameTakenError`, and `SaveQuotaError` beyond `max_saves` (0: none)."""
        with self._database.transaction(writes=True) as connection:
            self._database.lock(connection, OWNERS, owner=save.owner)
            own = SAVES.c.owner == save.owner
            same = select(SAVES.c.save_id).where(own, SAVES.c.name == save.name)
            taken = connection.execute(same).scalar()
            if taken is not None:
                raise NameTakenError(str(taken))
            count = connection.execute(select(func.count()).select_from(SAVES).where(own)).scalar()
            if max_saves and (count or 0) >= max_saves:
                raise SaveQuotaError
            connection.execute(insert(SAVES).values(asdict(save)))

    def get(self, save_id: str) -> Save | None:
        """The save, whoever owns it."""
        with self._database.transaction() as connection:
            return _save(connection.execute(select(*SAVE_FIELDS).where(of_save(SAVES, save_id))))

    def of_owner(
        self,
        owner: str,
        limit: int,
        after: tuple[float, str] | None = None,
        base_version: str | None = None,
    ) -> list[Save]:
        """The owner's saves, newest first; those after `updated_at` and `save_id` of one."""
        order = SAVES.c.updated_at, SAVES.c.save_id
        query = select(*SAVE_FIELDS).where(SAVES.c.owner == owner)
        if base_version is not None:
            query = query.where(SAVES.c.base_version == base_version)
        if after is not None:
            query = query.where(tuple_(*order) < after)
        query = query.order_by(*(column.desc() for column in order)).limit(limit)
        with self._database.transaction() as connection:
            return [Save(**row._mapping) for row in connection.execute(query)]

    def generation(self, save_id: str, number: int) -> Generation | None:
        """A kept generation of a save."""
        this = of_save(GENERATIONS, save_id), GENERATIONS.c.generation == number
        with self._database.transaction() as connection:
            row = connection.execute(select(*GENERATION_FIELDS).where(*this)).first()
        return None if row is None else Generation(**row._mapping)

    def generations(self, save_id: str) -> list[Generation]:
        """The kept generations of a save, newest first."""
        query = (
            select(*GENERATION_FIELDS)
            .where(of_save(GENERATIONS, save_id))
            .order_by(GENERATIONS.c.generation.desc())
        )
        with self._database.transaction() as connection:
            return [Generation(**row._mapping) for row in connection.execute(query)]

    def stored_bytes(self, save_ids: Sequence[str]) -> dict[str, int]:
        """What each save takes in the store, in bytes."""
        query = (
            select(OBJECTS.c.save_id, func.sum(OBJECTS.c.length))
            .where(OBJECTS.c.save_id.in_(save_ids), counted())
            .group_by(OBJECTS.c.save_id)
        )
        with self._database.transaction() as connection:
            found = {row[0]: int(row[1]) for row in connection.execute(query)}
        return dict.fromkeys(save_ids, 0) | found

    def set_share_key(self, save_id: str, share_key: str | None, *, keep: bool = False) -> Save:
        """Sets the key of the save's links, with `keep` only if it has none; returns the save.

        Raises `NoSuchSaveError`.
        """
        with self._database.transaction(writes=True) as connection:
            save = _locked(connection, save_id)
            if keep and save.share_key is not None:
                return save
            changed = update(SAVES).where(of_save(SAVES, save_id)).values(share_key=share_key)
            connection.execute(changed)
            return replace(save, share_key=share_key)

    def remove(self, save_id: str, now: float) -> None:
        """Removes the save and drops all its objects; raises `NoSuchSaveError`."""
        with self._database.transaction(writes=True) as connection:
            _locked(connection, save_id)
            # One that is being stored may still arrive.
            when = case((OBJECTS.c.state == "storing", now + self._unfinished_s), else_=now)
            connection.execute(
                update(OBJECTS)
                .where(of_save(OBJECTS, save_id), counted())
                .values(state="dropped", touched_at=when)
            )
            for table in (GENERATIONS, SAVES):
                connection.execute(delete(table).where(of_save(table, save_id)))

    # ── objects ──

    def present(self, save_id: str, names: Sequence[str], now: float) -> set[str]:
        """Which of these chunks are stored: from now on a push counts on them.

        Raises `NoSuchSaveError`.
        """
        with self._database.transaction(writes=True) as connection:
            _locked(connection, save_id)
            found = chunk_lengths(connection, save_id, names)
            for batch in batches(found):
                mine = chunks_named(save_id, batch)
                connection.execute(update(OBJECTS).where(mine).values(touched_at=now))
        return set(found)

    def find(self, save_id: str, name: str) -> StoredObject | None:
        """The stored chunk of this name."""
        query = select(*OBJECT_FIELDS).where(chunks_named(save_id, [name]))
        with self._database.transaction() as connection:
            row = connection.execute(query).first()
        return None if row is None else StoredObject(**row._mapping)

    def begin(self, stored: StoredObject, now: float, max_bytes: int = 0) -> None:
        """Records an object that is about to be stored.

        Raises `NoSuchSaveError`, and `SaveQuotaError` beyond the owner's `max_bytes` (0: none).
        """
        charged = max(stored.length, _LEAST_CHARGED)
        with self._database.transaction(writes=True) as connection:
            self._database.lock(connection, OWNERS, owner=stored.owner)
            _locked(connection, stored.save_id)
            if max_bytes:
                sums = select(func.sum(OBJECTS.c.charged))
                sums = sums.where(OBJECTS.c.owner == stored.owner, counted())
                if int(connection.execute(sums).scalar() or 0) + charged > max_bytes:
                    raise SaveQuotaError
            values = asdict(stored) | {"charged": charged, "state": "storing", "touched_at": now}
            connection.execute(insert(OBJECTS).values(values))

    def commit_chunk(self, chunk: StoredObject, now: float) -> bool:
        """Notes that a chunk is stored; returns False if another one of its name was before.

        That one is dropped then. Raises `NoSuchSaveError`.
        """
        with self._database.transaction(writes=True) as connection:
            _locked(connection, chunk.save_id)
            others = chunks_named(chunk.save_id, [chunk.sha256])
            before = connection.execute(update(OBJECTS).where(others).values(touched_at=now))
            state = "dropped" if before.rowcount else "stored"
            ended = update(OBJECTS).where(*storing(chunk)).values(state=state, touched_at=now)
            if connection.execute(ended).rowcount != 1:
                raise StoreError("the chunk was abandoned while it was being stored")
        return state == "stored"

    def drop(self, stored: StoredObject, when: float) -> None:
        """Drops an object unless it was committed; it may be removed from `when` on."""
        with self._database.transaction(writes=True) as connection:
            connection.execute(
                update(OBJECTS).where(*storing(stored)).values(state="dropped", touched_at=when)
            )

    # ── generations ──

    def switch(
        self, following: NextGeneration, condition: Condition, now: float
    ) -> tuple[Save, bool]:
        """Makes a stored manifest the current generation, and drops what is kept no longer.

        Returns the save, and False if the very same manifest was current already. Raises
        `NoSuchSaveError`, `ConflictError`, `MissingChunksError` and `WrongLengthError`.
        """
        manifest, chunks = following.manifest, following.chunks
        with self._database.transaction(writes=True) as connection:
            save = _locked(connection, manifest.save_id)
            if save.etag == manifest.sha256:
                return save, False
            if not condition(save.etag):
                raise ConflictError(save)
            check_chunks(connection, save.save_id, chunks)
            number = save.generation + 1
            referred = {
                "first_generation": func.coalesce(OBJECTS.c.first_generation, number),
                "last_generation": number,
            }
            for batch in batches(chunks):
                mine = chunks_named(save.save_id, batch)
                connection.execute(update(OBJECTS).where(mine).values(referred))
            stored = update(OBJECTS).where(*storing(manifest)).values(state="stored", **referred)
            if connection.execute(stored).rowcount != 1:
                raise StoreError("the manifest was abandoned while it was being stored")
            changed = replace(
                save,
                base_version=following.base_version,
                base_size=following.base_size,
                sector_size=following.sector_size,
                base_image=following.base_image,
                generation=number,
                etag=manifest.sha256,
                device=following.device,
                updated_at=now,
            )
            connection.execute(
                update(SAVES).where(of_save(SAVES, save.save_id)).values(asdict(changed))
            )
            generation = Generation(
                save.save_id,
                number,
                manifest.sha256,
                manifest.key,
                following.device,
                now,
                manifest.length + sum(chunks.values()),
            )
            connection.execute(insert(GENERATIONS).values(asdict(generation)))
            self._retire(connection, save.save_id, now)
        return changed, True

    def remove_generation(self, save_id: str, number: int, now: float) -> bool:
        """Removes a generation that is not current; returns whether it was there.

        Raises `NoSuchSaveError` and `CurrentGenerationError`.
        """
        with self._database.transaction(writes=True) as connection:
            if _locked(connection, save_id).generation == number:
                raise CurrentGenerationError
            this = and_(of_save(GENERATIONS, save_id), GENERATIONS.c.generation == number)
            was_there = connection.execute(delete(GENERATIONS).where(this)).rowcount == 1
            drop_unused(connection, save_id, now, now - self._unfinished_s)
        return was_there

    def _retire(self, connection: Connection, save_id: str, now: float) -> None:
        """Removes the generations beyond those that are kept."""
        mine = of_save(GENERATIONS, save_id)
        newest = (
            select(GENERATIONS.c.generation)
            .where(mine)
            .order_by(GENERATIONS.c.generation.desc())
            .limit(self._generations)
        )
        kept = connection.execute(newest).scalars().all()
        old = delete(GENERATIONS).where(mine, GENERATIONS.c.generation < min(kept))
        connection.execute(old)
        drop_unused(connection, save_id, now, now - self._unfinished_s)

    # ── what is left over ──

    def abandon(self, now: float) -> None:
        """Drops what was not stored in time."""
        late = OBJECTS.c.state == "storing", OBJECTS.c.touched_at < now - self._unfinished_s
        with self._database.transaction(writes=True) as connection:
            connection.execute(update(OBJECTS).where(*late).values(state="dropped", touched_at=now))

    def drop_unused(self, now: float) -> None:
        """Drops the chunks of pushes that did not come to an end."""
        before = now - self._unfinished_s
        with self._database.transaction() as connection:
            query = select(OBJECTS.c.save_id).where(unused(before)).distinct()
            save_ids = connection.execute(query).scalars().all()
        for save_id in save_ids:
            # The lock first: the statement must see the generation that a push just made.
            with suppress(NoSuchSaveError), self._database.transaction(writes=True) as connection:
                _locked(connection, save_id)
                drop_unused(connection, save_id, now, before)

    def dropped(self, now: float, limit: int) -> list[str]:
        """Keys of objects to remove from the store."""
        due = OBJECTS.c.state == "dropped", OBJECTS.c.touched_at <= now
        query = select(OBJECTS.c.key).where(*due).order_by(OBJECTS.c.touched_at).limit(limit)
        with self._database.transaction() as connection:
            return list(connection.execute(query).scalars())

    def forget(self, keys: Sequence[str]) -> None:
        """Removes the records of dropped objects that are no longer in the store."""
        with self._database.transaction(writes=True) as connection:
            for batch in batches(keys):
                gone = OBJECTS.c.key.in_(batch), OBJECTS.c.state == "dropped"
                connection.execute(delete(OBJECTS).where(*gone))


def _save(result: Any) -> Save | None:
    row: Row[Any] | None = result.first()
    return None if row is None else Save(**row._mapping)


def _locked(connection: Connection, save_id: str) -> Save:
    query = select(*SAVE_FIELDS).where(of_save(SAVES, save_id)).with_for_update()
    save = _save(connection.execute(query))
    if save is None:
        raise NoSuchSaveError
    return save
