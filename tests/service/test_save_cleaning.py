"""What is stored of saves: bounded by quotas, and removed once nothing refers to it, not before."""

from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Semaphore
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk.service.saves.save_tables import (
    ConflictError,
    MissingChunksError,
    NoSuchSaveError,
    SaveQuotaError,
)
from aero_browser_disk.service.saves.saves import NO_QUOTA, SaveQuota
from aero_browser_disk.service.stores.image_store import StoreError
from support.fuzz import rounds

from .save_client import name_of
from .save_site import GENERATIONS, UNFINISHED_S, SaveSite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aero_browser_disk.service.saves.save_tables import Save

NUMBERS = itertools.count()
RANDOM = random.Random(7)
ONE, TWO, THREE, FOUR = (RANDOM.randbytes(5000) for _ in range(4))
A_DAY_S = 86400


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'saves.db'}"
    return request.getfixturevalue("postgres").database(f"saves{next(NUMBERS)}")


@pytest.fixture
def open_site(tmp_path: Path, database: str) -> Iterator[Callable[..., SaveSite]]:
    """Opens instances that share a folder and a database."""
    opened = []

    def open_one(quota: SaveQuota = NO_QUOTA) -> SaveSite:
        opened.append(SaveSite(tmp_path / "saves", database, quota))
        return opened[-1]

    yield open_one
    for site in opened:
        site.close()


@pytest.fixture
def site(open_site: Callable[..., SaveSite]) -> SaveSite:
    return open_site()


def names(*chunks: bytes) -> set[str]:
    return {name_of(chunk) for chunk in chunks}


def test_chunks_of_a_push_that_never_ends_go_in_time(site: SaveSite) -> None:
    save = site.create()
    site.send(save, [ONE, TWO])
    site.late_s = UNFINISHED_S - 60
    assert site.saves.clean_up() == 0
    # Asked for again: the push goes on.
    assert site.saves.missing(save, [name_of(TWO)]) == []
    site.late_s += 120
    assert site.saves.clean_up() == 1
    assert {*site.names(save)} == names(TWO)
    assert site.saves.missing(save, [name_of(ONE), name_of(TWO)]) == [name_of(ONE)]
    site.late_s += A_DAY_S
    assert site.saves.clean_up() == 1
    assert site.objects(save) == []
    # It may come back all the same.
    assert site.chunks(site.push(save, ONE, TWO)) == {1: names(ONE, TWO)}


def test_what_a_kept_generation_refers_to_stays(site: SaveSite) -> None:
    save = site.create()
    first = site.push(save, ONE, TWO)
    site.push(save, TWO, THREE)
    site.late_s = A_DAY_S
    assert site.saves.clean_up() == 0
    assert site.chunks(save) == {1: names(ONE, TWO), 2: names(TWO, THREE)}
    site.push(save, TWO, FOUR)
    assert site.chunks(save) == {2: names(TWO, THREE), 3: names(TWO, FOUR)}
    # The first generation's manifest, and the chunk that only it had.
    assert site.saves.clean_up() == 2
    assert first.etag not in site.names(save)
    assert {*site.names(save)} >= names(TWO, THREE, FOUR)
    assert name_of(ONE) not in site.names(save)
    assert site.chunks(save) == {2: names(TWO, THREE), 3: names(TWO, FOUR)}


def test_a_chunk_that_comes_back_after_it_was_left_out(site: SaveSite) -> None:
    save = site.create()
    site.push(save, ONE)
    site.push(save, TWO)
    site.push(save, ONE)
    site.late_s = A_DAY_S
    site.saves.clean_up()
    assert site.chunks(save) == {2: names(TWO), 3: names(ONE)}
    site.push(save, THREE)
    site.push(save, FOUR)
    site.late_s += A_DAY_S
    site.saves.clean_up()
    assert len(site.objects(save)) == 4


def test_deleting_a_generation_frees_what_only_it_had(site: SaveSite) -> None:
    save = site.create()
    site.push(save, ONE, TWO)
    site.push(save, TWO)
    site.late_s = A_DAY_S
    assert site.saves.remove_generation(save, 1)
    assert site.saves.clean_up() == 2
    assert site.chunks(save) == {2: names(TWO)}
    assert len(site.objects(save)) == 2


def test_a_deleted_save_leaves_nothing(site: SaveSite) -> None:
    save, other = site.create(), site.create()
    site.push(save, ONE)
    site.push(save, ONE, TWO)
    site.push(other, ONE)
    site.saves.remove(save)
    assert site.saves.find(save.save_id) is None
    assert site.saves.clean_up() == 4
    assert site.objects(save) == []
    assert site.chunks(other) == {1: names(ONE)}
    for call in (
        lambda: site.saves.remove(save),
        lambda: site.saves.store_chunk(save, name_of(THREE), THREE),
        lambda: site.saves.missing(save, [name_of(ONE)]),
        lambda: site.switch(save, [ONE], save.etag, "late"),
        lambda: site.saves.share_key(save),
    ):
        with pytest.raises(NoSuchSaveError):
            call()
    assert site.objects(save) == []


def test_a_chunk_that_arrives_after_its_save_was_deleted(
    site: SaveSite, open_site: Callable[..., SaveSite], monkeypatch: pytest.MonkeyPatch
) -> None:
    save, other = site.create(), open_site()
    put = site.store.put

    def put_late(key: str, data: bytes) -> None:
        other.saves.remove(save)
        # What is on its way must not be forgotten before it arrived.
        other.saves.clean_up()
        put(key, data)

    monkeypatch.setattr(site.store, "put", put_late)
    with pytest.raises(NoSuchSaveError):
        site.saves.store_chunk(save, name_of(ONE), ONE)
    assert site.names(save) == [name_of(ONE)]
    site.late_s = UNFINISHED_S + 60
    assert site.saves.clean_up() == 1
    assert site.objects(save) == []


def test_a_store_that_fails(site: SaveSite, monkeypatch: pytest.MonkeyPatch) -> None:
    save = site.create()
    first = site.push(save, ONE)
    put = site.store.put

    def put_half(key: str, data: bytes) -> None:
        put(key, data[:10])
        raise StoreError("the disk is full")

    monkeypatch.setattr(site.store, "put", put_half)
    with pytest.raises(StoreError):
        site.saves.store_chunk(save, name_of(TWO), TWO)
    with pytest.raises(StoreError):
        site.switch(save, [ONE], first.etag, "another")
    monkeypatch.undo()
    assert site.saves.missing(save, [name_of(TWO)]) == [name_of(TWO)]
    assert site.saves.find(save.save_id) == first
    assert site.chunks(site.push(save, ONE, TWO)) == {1: names(ONE), 2: names(ONE, TWO)}
    # What may be half there goes too.
    assert len(site.objects(save)) == 6
    site.late_s = UNFINISHED_S + 60
    assert site.saves.clean_up() == 2
    assert site.chunks(save) == {1: names(ONE), 2: names(ONE, TWO)}


def test_a_damaged_object_is_an_error(site: SaveSite, tmp_path: Path) -> None:
    save = site.create()
    site.push(save, ONE)
    for file in (tmp_path / "saves" / save.save_id).glob("*/*"):
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(StoreError, match="damaged"):
        site.saves.chunk(save, name_of(ONE))
    with pytest.raises(StoreError, match="damaged"):
        site.saves.manifest(save, 1)


def test_the_bytes_of_an_owner_are_limited(open_site: Callable[..., SaveSite]) -> None:
    # A manifest counts 4 KiB, as small chunks do.
    site = open_site(SaveQuota(bytes=4096 + 3 * 5000))
    save, second, bobs = site.create(), site.create(), site.create("bob")
    site.push(save, ONE, TWO)
    site.saves.store_chunk(second, name_of(FOUR), FOUR)
    for other in (save, second):
        with pytest.raises(SaveQuotaError):
            site.saves.store_chunk(other, name_of(THREE), THREE)
        with pytest.raises(SaveQuotaError):
            site.saves.store_chunk(other, name_of(b"x"), b"x")
    with pytest.raises(SaveQuotaError):
        site.push(save, ONE)
    site.push(bobs, ONE, TWO)
    # What is dropped does not count, even before it is removed.
    site.saves.remove(second)
    site.push(save, ONE)
    assert site.chunks(save) == {1: names(ONE, TWO), 2: names(ONE)}


def test_many_at_once_do_not_exceed_the_quota(open_site: Callable[..., SaveSite]) -> None:
    site = open_site(SaveQuota(bytes=5 * 5000))
    save = site.create()

    def store(number: int) -> bool:
        chunk = random.Random(number).randbytes(5000)
        try:
            return site.saves.store_chunk(save, name_of(chunk), chunk)
        except SaveQuotaError:
            return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(store, range(16))) == 5
    assert len(site.objects(save)) == 5


def test_the_saves_of_an_owner_are_limited(open_site: Callable[..., SaveSite]) -> None:
    site = open_site(SaveQuota(saves=2))
    first = site.create()
    site.create()
    with pytest.raises(SaveQuotaError):
        site.create()
    site.create("bob")
    site.saves.remove(first)
    site.create()


def test_the_same_chunk_many_times_at_once_is_stored_once(site: SaveSite) -> None:
    save = site.create()
    with ThreadPoolExecutor(8) as threads:
        stored = threads.map(lambda _: site.saves.store_chunk(save, name_of(ONE), ONE), range(8))
        assert sum(stored) == 1
    assert site.saves.clean_up() == 7
    assert site.names(save) == [name_of(ONE)]
    assert site.saves.chunk(save, name_of(ONE)) == ONE


def test_of_many_writers_one_switches_each_generation(
    site: SaveSite, open_site: Callable[..., SaveSite]
) -> None:
    save, sites = site.create(), [site, open_site()]
    site.send(save, [ONE])
    acknowledged: dict[int, str | None] = {}

    def push(number: int) -> int:
        here, conflicts = sites[number % 2], 0
        before = None
        while True:
            try:
                now = here.switch(save, [ONE], before, f"writer {number}")
            except ConflictError as error:
                before, conflicts = error.save.etag, conflicts + 1
                continue
            acknowledged[now.generation] = now.etag
            return conflicts

    with ThreadPoolExecutor(6) as threads:
        conflicts = sum(threads.map(push, range(6)))
    assert sorted(acknowledged) == [1, 2, 3, 4, 5, 6]
    assert len({*acknowledged.values()}) == 6
    assert conflicts >= 5
    now = site.saves.find(save.save_id)
    assert now is not None
    assert (now.generation, now.etag) == (6, acknowledged[6])
    assert [*site.chunks(save)] == [6, 5]


def test_cleaning_never_takes_what_a_push_just_made_current(
    site: SaveSite, open_site: Callable[..., SaveSite]
) -> None:
    """Cleaning that thinks that every push takes too long, at some moment of each."""
    cleaner, pushes, over = open_site(), Semaphore(0), Event()
    saves = [site.create() for _ in range(2)]

    def clean() -> None:
        while pushes.acquire() and not over.is_set():
            cleaner.records.drop_unused(cleaner.now() + A_DAY_S)
            keys = cleaner.records.dropped(cleaner.now() + A_DAY_S, 100)
            for key in keys:
                cleaner.store.remove(key)
            cleaner.records.forget(keys)

    def push(save: Save) -> int:
        chance, lost = random.Random(save.save_id), 0
        every = [bytes([number]) * 5000 for number in range(8)]
        for _ in range(rounds(5)):
            chunks = chance.sample(every, 3)
            while True:
                pushes.release()
                try:
                    site.push(save, *chunks)
                    break
                except MissingChunksError:
                    lost += 1
            assert site.chunks(save)
        return lost

    with ThreadPoolExecutor(3) as threads:
        cleaning = threads.submit(clean)
        try:
            for done in [threads.submit(push, save) for save in saves]:
                done.result()
        finally:
            over.set()
            pushes.release()
        cleaning.result()
    for save in saves:
        assert len(site.chunks(save)) == GENERATIONS
