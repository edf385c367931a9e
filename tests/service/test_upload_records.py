"""The records of uploads, the same in SQLite and PostgreSQL."""

from __future__ import annotations

import gc
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import MetaData, text

from aero_browser_disk.service.database import Database
from aero_browser_disk.service.stores.image_store import StoreError
from aero_browser_disk.service.uploads.upload_records import (
    OtherOwnerError,
    Quota,
    QuotaExceededError,
    Upload,
    UploadRecords,
    parse_version_id,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .postgres import Postgres

NUMBERS = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'uploads.db'}"
    return request.getfixturevalue("postgres").database(f"test{next(NUMBERS)}")


@pytest.fixture
def records(url: str) -> Iterator[UploadRecords]:
    records = UploadRecords(url)
    yield records
    records.close()


def upload(number: int, **fields: object) -> Upload:
    made = Upload(
        upload_id=f"{number:032x}",
        image_id="win7",
        owner="ann",
        public=False,
        name="Windows 7 – “SP1”",
        description=None,
        size=5 << 40,
        part_size=64 << 20,
        key=f"uploads/win7/{number:032x}",
        multipart_id=f"multipart-{number}",
        state="uploading",
        reason=None,
        touched_at=100.5 + number,
    )
    return replace(made, **fields)


def test_what_goes_in_comes_out(records: UploadRecords, url: str) -> None:
    one = upload(1, description="clean install")
    records.create(one)
    assert records.get(one.upload_id) == one
    assert records.get("0" * 32) is None
    # It is there for every instance, and after a restart.
    other = UploadRecords(url)
    assert other.get(one.upload_id) == one
    other.close()


def test_the_latest_version_is_the_one_that_was_ready_last(records: UploadRecords) -> None:
    one, two, three = upload(1), upload(2), upload(3)
    for made in (one, two, three):
        records.create(made)
    assert records.latest("win7") is None
    assert records.change(two, "ready", 200)
    assert records.change(one, "ready", 300)
    latest = records.latest("win7")
    assert latest is not None
    assert (latest.upload_id, latest.state) == (one.upload_id, "ready")
    assert [made.upload_id for made in records.ready()] == [one.upload_id]


def test_an_upload_ends_once(records: UploadRecords) -> None:
    records.create(upload(1))
    with ThreadPoolExecutor(4) as threads:
        states = ["ready", "failed"] * 4
        ended = list(threads.map(lambda state: records.change(upload(1), state, 200), states))
    assert sum(ended) == 1
    now = records.get(upload(1).upload_id)
    assert now is not None
    assert now.state == states[ended.index(True)]


def test_an_image_belongs_to_who_came_first(records: UploadRecords) -> None:
    records.create(upload(1))
    records.create(upload(2))
    with pytest.raises(OtherOwnerError):
        records.create(upload(3, owner="bob"))
    assert records.get(upload(3).upload_id) is None
    # As long as there is something of it.
    assert records.change(upload(1), "failed", 200, "aborted")
    with pytest.raises(OtherOwnerError):
        records.create(upload(3, owner="bob"))
    assert records.change(upload(2), "failed", 200, "aborted")
    records.create(upload(3, owner="bob"))


def test_of_many_who_claim_an_image_at_once_one_gets_it(records: UploadRecords) -> None:
    def claim(number: int) -> bool:
        try:
            records.create(upload(number, owner=f"owner-{number}"))
        except OtherOwnerError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(claim, range(8))) == 1


def test_many_first_uploads_of_one_owner_at_once_are_all_his(records: UploadRecords) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(records.create, map(upload, range(8))))
    assert len(records.of_owner("ann", 10)) == 8


def test_an_image_never_has_two_owners(records: UploadRecords, url: str) -> None:
    """Also when the last upload of one owner ends while other instances begin some."""
    other = UploadRecords(url)
    numbers = itertools.count()

    def begin(owner: str, instance: UploadRecords) -> Upload | None:
        made = upload(next(numbers), owner=owner)
        try:
            instance.create(made)
        except OtherOwnerError:
            return None
        return made

    def alive(instance: UploadRecords) -> list[Upload]:
        every = instance.of_owner("ann", 1000) + instance.of_owner("bob", 1000)
        return [made for made in every if made.state == "uploading"]

    with ThreadPoolExecutor(3) as threads:
        for _ in range(30):
            first = begin("ann", records)
            assert first is not None
            ending = threads.submit(records.change, first, "failed", 200)
            beginning = [threads.submit(begin, who, other) for who in ("bob", "ann")]
            assert ending.result()
            begun = [made for future in beginning if (made := future.result()) is not None]
            assert len({made.owner for made in begun}) <= 1
            # Whose it is then, it stays: nobody else gets it.
            for made in begun:
                assert begin({"ann": "bob", "bob": "ann"}[made.owner], records) is None
            for made in alive(records):
                assert records.change(made, "failed", 300)
    other.close()


def test_nobody_gets_more_than_an_owner_may_have(records: UploadRecords) -> None:
    def create(number: int, quota: Quota) -> bool:
        try:
            records.create(upload(number, image_id=f"image-{number}", size=100), quota)
        except QuotaExceededError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        quota = Quota(bytes=350)
        created = list(threads.map(lambda number: create(number, quota), range(8)))
    assert sum(created) == 3
    # What was refused took no id, and others have their own share.
    refused = f"image-{created.index(False)}"
    records.create(upload(20, image_id=refused, owner="bob", size=1), Quota(bytes=1))
    ended = records.of_owner("ann", 1)[0]
    assert records.change(ended, "failed", 200)
    assert create(30, quota)
    assert not create(31, quota)
    # Those that ended have a record for a while.
    assert not create(32, Quota(uploads=4))
    assert create(32, Quota(uploads=5))


def test_a_record_is_forgotten_once_the_upload_ended(records: UploadRecords) -> None:
    records.create(upload(1))
    records.forget(upload(1))
    assert records.get(upload(1).upload_id) == upload(1)
    assert not records.change(upload(1, touched_at=1), "failed", 200, if_untouched=True)
    assert records.change(upload(1), "failed", 200, if_untouched=True)
    (ended,) = records.ended(201)
    assert records.ended(200) == []
    records.forget(ended)
    assert records.get(ended.upload_id) is None


def test_a_version_is_named_by_an_id_that_no_image_has() -> None:
    assert parse_version_id(upload(1).version_id) == ("win7", upload(1).upload_id)
    assert parse_version_id(f"a.{'b' * 32}.{'0' * 32}") == (f"a.{'b' * 32}", "0" * 32)
    for image_id in ("win7", "win7.1", "0" * 32, f"win7.{'0' * 31}", f"win7.{'A' * 32}"):
        assert parse_version_id(image_id) is None


def test_instances_that_start_at_once_make_the_tables_once(url: str) -> None:
    with ThreadPoolExecutor(6) as threads:
        for records in threads.map(UploadRecords, [url] * 6):
            records.close()


def test_a_connection_in_use_is_closed_once_it_is_returned(url: str) -> None:
    database = Database(url, "tests", MetaData())
    with database.transaction() as connection:
        driver = connection.connection.dbapi_connection
        database.close()
        assert connection.execute(text("SELECT 1")).scalar() == 1
    with pytest.raises(Exception, match="closed"):
        driver.cursor()


def test_a_database_that_may_not_be_written_is_said_and_leaves_no_connection(
    postgres: Postgres,
) -> None:
    url = postgres.database("read_only") + "&options=-cdefault_transaction_read_only%3Don"
    with pytest.raises(StoreError, match="read-only transaction"):
        UploadRecords(url)
    # An open connection would warn, and a warning fails the test.
    gc.collect()


def test_lists(records: UploadRecords) -> None:
    records.create(upload(1))
    records.create(upload(2, image_id="other"))
    records.create(upload(3, image_id="bobs", owner="bob"))
    assert [made.upload_id[-1] for made in records.of_owner("ann", 10)] == ["2", "1"]
    assert len(records.of_owner("ann", 1)) == 1
    assert [made.upload_id[-1] for made in records.untouched(102)] == ["1"]
    records.touch(upload(1).upload_id, 500)
    assert [made.upload_id[-1] for made in records.untouched(103)] == ["2"]
    assert records.multipart_ids() == {"multipart-1", "multipart-2", "multipart-3"}
    records.change(upload(2, image_id="other"), "ready", 200)
    assert records.multipart_ids() == {"multipart-1", "multipart-3"}


def test_a_database_that_fails_is_said() -> None:
    with pytest.raises(StoreError, match="the database of uploads"):
        UploadRecords("sqlite:////no/such/folder/uploads.db")
    with pytest.raises(StoreError) as failed:
        UploadRecords("postgresql+psycopg://user:hunter2@127.0.0.1:1/x?connect_timeout=2")
    assert "hunter2" not in str(failed.value)


@pytest.mark.parametrize("url", ["", "uploads.db", "nonsense://user:hunter2@host/x"])
def test_what_is_no_database_is_said(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///file") as refused:
        UploadRecords(url)
    assert "hunter2" not in str(refused.value)
