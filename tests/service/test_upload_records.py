"""The books of uploads, the same in SQLite and PostgreSQL."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk.service.stores.image_store import StoreError
from aero_browser_disk.service.uploads.upload_records import OtherOwnerError, Upload, UploadRecords

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    assert records.finish(two, "ready", 200)
    assert records.finish(one, "ready", 300)
    latest = records.latest("win7")
    assert latest is not None
    assert (latest.upload_id, latest.state) == (one.upload_id, "ready")
    assert [made.upload_id for made in records.ready()] == [one.upload_id]


def test_an_upload_ends_once(records: UploadRecords) -> None:
    records.create(upload(1))
    with ThreadPoolExecutor(4) as threads:
        states = ["ready", "failed"] * 4
        ended = list(threads.map(lambda state: records.finish(upload(1), state, 200), states))
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
    assert records.finish(upload(1), "failed", 200, "aborted")
    with pytest.raises(OtherOwnerError):
        records.create(upload(3, owner="bob"))
    assert records.finish(upload(2), "failed", 200, "aborted")
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
    records.finish(upload(2, image_id="other"), "ready", 200)
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
