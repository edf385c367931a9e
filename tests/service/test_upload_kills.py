"""An upload whose service is killed after any of its steps goes on, or leaves nothing."""

from __future__ import annotations

import itertools
import time
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk.service.uploads.multipart import Multipart
from aero_browser_disk.service.uploads.upload_records import Upload, UploadRecords
from aero_browser_disk.service.uploads.uploads import UploadEndedError, UploadRequest, Uploads

from .killed_uploads import LIFETIME_S, KilledUploads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .object_server import Bucket

NUMBERS = itertools.count()
BODY = bytes(range(256)) * 2


class Site:
    """The bucket, the records, and an instance of the service that was started anew."""

    def __init__(self, bucket: Bucket, database: str) -> None:
        self.bucket = bucket
        self.records = UploadRecords(database)
        self.late_s = 0
        self.uploads = Uploads(
            self.records,
            Multipart(bucket.address),
            5 << 20,
            LIFETIME_S,
            clock=lambda: time.time() + self.late_s,
        )

    def begin(self, owner: str = "ann", image_id: str | None = None) -> Upload:
        name = image_id or f"image-{next(NUMBERS)}"
        return self.uploads.begin(UploadRequest(name, owner, len(BODY), public=False, name="x"))

    def begin_and_send(self) -> Upload:
        upload = self.begin()
        url = self.uploads.part_urls(upload, [1], 60)[1]
        request = urllib.request.Request(url, BODY, method="PUT")
        urllib.request.urlopen(request, timeout=30).close()
        return upload

    def ready(self) -> Upload:
        return self.uploads.complete(self.begin_and_send())

    def now(self, upload: Upload) -> Upload | None:
        return self.records.get(upload.upload_id)

    def end_of_days(self) -> None:
        """All that happens by itself, some day."""
        self.late_s = 0
        for _ in range(2):
            self.late_s += 2 * LIFETIME_S
            self.uploads.clean_up()
        self.late_s = 0

    def assert_nothing_left(self, upload: Upload) -> None:
        self.end_of_days()
        assert self.bucket.keys(f"uploads/{upload.image_id}/") == []
        assert self.bucket.unfinished() == []
        assert self.now(upload) is None
        # Not even the id.
        other = self.begin("bob", upload.image_id)
        self.uploads.remove(other)

    def assert_ready(self, upload: Upload) -> None:
        now = self.now(upload)
        assert now is not None
        assert now.state == "ready"
        self.end_of_days()
        assert self.now(upload) == now
        key = f"{self.bucket.prefix}/{upload.key}"
        with self.bucket.client.get_object(Bucket=self.bucket.name, Key=key)["Body"] as body:
            assert body.read() == BODY
        assert self.bucket.unfinished() == []


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'uploads.db'}"
    return request.getfixturevalue("postgres").database(f"kills{next(NUMBERS)}")


@pytest.fixture
def site(bucket: Bucket, database: str) -> Iterator[Site]:
    site = Site(bucket, database)
    yield site
    site.uploads.close()


def complete(site: Site, upload: Upload) -> None:
    """As a client does that got no response."""
    site.uploads.complete(site.now(upload) or upload)
    site.assert_ready(upload)


def look_and_complete(site: Site, upload: Upload) -> None:
    """As a client does that comes back later."""
    now, parts = site.uploads.present(site.now(upload) or upload)
    assert now.state == "ready" or [*parts] == [1]
    site.uploads.complete(now)
    site.assert_ready(upload)


def remove(site: Site, upload: Upload) -> None:
    site.uploads.remove(site.now(upload) or upload)
    now = site.now(upload)
    assert now is not None
    assert now.state in ("failed", "deleted")
    assert site.bucket.keys(f"uploads/{upload.image_id}/") == []
    assert site.bucket.unfinished() == []
    with pytest.raises(UploadEndedError):
        site.uploads.complete(now)
    site.assert_nothing_left(upload)


def leave(site: Site, upload: Upload) -> None:
    """Nobody comes back: what was ready stays, everything else goes."""
    now = site.now(upload)
    assert now is not None
    if now.state == "ready":
        site.assert_ready(upload)
    else:
        site.assert_nothing_left(upload)


AFTERWARDS: tuple[Callable[[Site, Upload], None], ...] = (
    complete,
    look_and_complete,
    remove,
    leave,
)


def test_completing(site: Site, database: str, bucket: Bucket) -> None:
    every = database.startswith("sqlite")
    with KilledUploads(database, bucket.address) as killing:
        for steps in itertools.count(1):
            for afterwards in AFTERWARDS if every else AFTERWARDS[steps % 4 :][:1]:
                upload = site.begin_and_send()
                killed = killing.run("complete", upload.upload_id, steps)
                if not killed:
                    site.assert_ready(upload)
                    break
                afterwards(site, upload)
            if not killed:
                break
    assert steps > 4


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_beginning(site: Site, database: str, bucket: Bucket) -> None:
    with KilledUploads(database, bucket.address) as killing:
        for steps in itertools.count(1):
            image_id = f"image-{next(NUMBERS)}"
            killed = killing.run("begin", image_id, steps)
            assert len(bucket.unfinished()) == 1
            site.end_of_days()
            assert bucket.unfinished() == []
            assert site.records.of_owner("ann", 10) == []
            site.uploads.remove(site.begin("bob", image_id))
            if not killed:
                break
    assert steps > 2


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("was", ["on its way", "ready"])
def test_removing(site: Site, database: str, bucket: Bucket, was: str) -> None:
    with KilledUploads(database, bucket.address) as killing:
        for steps in itertools.count(1):
            upload = site.ready() if was == "ready" else site.begin_and_send()
            if not killing.run("remove", upload.upload_id, steps):
                assert bucket.keys("uploads/") == bucket.unfinished() == []
                break
            (remove if steps % 2 else leave)(site, upload)
    assert steps > 4


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_cleaning_up(site: Site, database: str, bucket: Bucket) -> None:
    with KilledUploads(database, bucket.address) as killing:
        for steps in itertools.count(1):
            forgotten, kept = site.begin_and_send(), site.ready()
            site.uploads._multipart.begin(f"uploads/{kept.image_id}/x", "application/octet-stream")
            if not killing.run("clean_up", "", steps):
                assert bucket.unfinished() == []
                break
            site.assert_nothing_left(forgotten)
            site.assert_ready(kept)
            site.uploads.remove(kept)
            site.end_of_days()
    assert steps > 6
