"""Both stores, held to one suite; the bucket is one of a real S3 server that checks signatures."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import urlsplit

import pytest

from aero_browser_disk.service.stores.bucket import BucketAddress, open_bucket
from aero_browser_disk.service.stores.folder_store import FolderStore
from aero_browser_disk.service.stores.image_store import StoreError
from aero_browser_disk.service.stores.object_store import ObjectStore
from aero_browser_disk.service.stores.prepared_store import PreparedStore
from support.image_store_suite import OLD, ImageStoreSuite
from support.prepared import prepared_files

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from .object_server import Bucket

T = TypeVar("T")


class Breaking:
    """Passes on to a server, and cuts as many of its answers short as it was told to."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self.left = 0
        self._after = 0
        self._tasks: list[asyncio.Task[object]] = []

    def break_after(self, length: int, times: int) -> None:
        """The next answers end `length` bytes after their headers."""
        self._after, self.left = length, times

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.append(task)
        upstream = await asyncio.open_connection(self._target.hostname, self._target.port)
        with closing(writer), closing(upstream[1]), suppress(EOFError, ConnectionError):
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                upstream[1].write(request)
                head = await upstream[0].readuntil(b"\r\n\r\n")
                length = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head)[1])  # type: ignore[index]
                is_get = request.startswith(b"GET")
                body = await upstream[0].readexactly(length) if is_get else b""
                if self.left and is_get:
                    self.left -= 1
                    writer.write(head + body[: self._after])
                    break
                writer.write(head + body)


class TestFolderStore(ImageStoreSuite):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.rejected: list[str] = []

    async def make(self) -> FolderStore:
        return FolderStore(self.folder, self.rejected.append)

    async def put(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / ".next").write_bytes(data)
        (self.folder / ".next").replace(path)

    async def remove(self, name: str) -> None:
        (self.folder / name).unlink()

    def rejected_manifests(self) -> list[str]:
        return self.rejected

    async def test_it_is_not_ready_without_its_folder(self) -> None:
        store = await self._store()
        self.folder.rename(self.folder.with_name(f"{self.folder.name}-elsewhere"))
        with pytest.raises(StoreError, match="No such file"):
            await store.ready()
        self.folder.mkdir()
        with pytest.raises(StoreError, match="replaced"):
            await store.ready()
        store.close()


class TestObjectStore(ImageStoreSuite):
    @pytest.fixture(autouse=True)
    def _bucket(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.rejected: list[str] = []
        self.now = 0.0

    async def make(self) -> ObjectStore:
        return ObjectStore(open_bucket(self.bucket.address), self.rejected.append, clock=self.clock)

    def clock(self) -> float:
        return self.now

    async def put(self, name: str, data: bytes) -> None:
        self.bucket.put(name, data)

    async def remove(self, name: str) -> None:
        self.bucket.remove(name)

    def rejected_manifests(self) -> list[str]:
        return self.rejected

    async def test_what_is_remembered_is_asked_again_in_time(self) -> None:
        store = await self._store()
        async with store.open("deep") as opened:
            before = opened.image
        self.bucket.put("a/b c/déjà.img", b"deeper")
        self.now += 1
        async with store.open("deep") as opened:
            assert opened.image == before
        self.now += 1.5
        async with store.open("deep") as opened:
            assert opened.image.size == 6
        self._put_other_manifest()
        self.now += 4
        assert len(await store.images()) == 1
        store.close()

    def _put_other_manifest(self) -> None:
        self.bucket.put(
            "manifest.json", b'{"images": [{"id": "one", "file": "disk.img", "public": true}]}'
        )

    async def test_the_manifest_is_not_asked_for_each_time(self) -> None:
        store = await self._store()
        async with store.open("disk"):
            pass
        self.bucket.remove("manifest.json")
        for _ in range(3):
            async with store.open("disk"):
                self.now += 1
        assert self.rejected == []
        self.now += 5
        async with store.open("disk"):
            pass
        assert self.rejected == ["there is no manifest.json in the bucket"]
        store.close()

    async def test_without_a_manifest_nothing_is_served(self) -> None:
        store = await self.make()
        for call in (store.ready(), store.images(), store.open("disk").__aenter__()):
            with pytest.raises(StoreError, match=r"manifest\.json"):
                await call
        # And once it is there, it is.
        store = await self._store()
        await store.ready()
        store.close()

    async def test_a_store_that_does_not_let_us_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        await self._store()
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        store = await self.make()
        for call in (store.ready(), store.images(), store.open("disk").__aenter__()):
            with pytest.raises(StoreError, match="403 Forbidden"):
                await call
        assert "wrong" not in "".join(self.rejected)

    async def test_a_store_that_is_not_there(self) -> None:
        address = BucketAddress("s3://images/x", endpoint="http://127.0.0.1:1", region="us-east-1")
        store = ObjectStore(open_bucket(address), self.rejected.append)
        with pytest.raises(StoreError, match="error sending request"):
            await store.ready()

    async def test_connections_are_used_again(self) -> None:
        store = await self._store()
        before = self.bucket.connections()
        async with store.open("disk") as opened:
            for start in range(0, 40_000, 1000):
                chunks = [chunk async for chunk in opened.reader.chunks(start, start + 1000)]
                assert b"".join(chunks) == OLD[start : start + 1000]
            assert self.bucket.connections() - before <= 2
        store.close()

    async def test_a_body_that_breaks_off_is_asked_for_again(self) -> None:
        store = await self._store()
        async with Breaking(self.bucket.server.url) as proxy:
            address = replace(self.bucket.address, endpoint=proxy.url)
            flaky = ObjectStore(open_bucket(address), self.rejected.append)
            async with flaky.open("disk") as opened:
                proxy.break_after(300_000, times=2)
                chunks = [chunk async for chunk in opened.reader.chunks(0, len(OLD))]
                assert b"".join(chunks) == OLD
                assert proxy.left == 0
        store.close()

    async def test_a_body_that_always_breaks_off_is_given_up(self) -> None:
        store = await self._store()
        async with Breaking(self.bucket.server.url) as proxy:
            address = replace(self.bucket.address, endpoint=proxy.url)
            flaky = ObjectStore(open_bucket(address), self.rejected.append)
            async with flaky.open("disk") as opened:
                proxy.break_after(0, times=1000)
                with pytest.raises(StoreError):
                    async for _ in opened.reader.chunks(0, len(OLD)):
                        pass
                assert proxy.left > 0
        store.close()

    async def test_many_readers_at_once(self) -> None:
        store = await self._store()

        async def read(start: int) -> bytes:
            async with store.open("disk") as opened:
                chunks = opened.reader.chunks(start, start + 3000)
                return b"".join([chunk async for chunk in chunks])

        parts = await asyncio.gather(*(read(start) for start in range(0, 300_000, 3000)))
        assert b"".join(parts) == OLD[:300_000]
        store.close()


class _Prepared(ImageStoreSuite):
    """Puts each image as a prepared one, in a folder of its name."""

    async def make(self) -> PreparedStore:
        return PreparedStore(await super().make(), cache_bytes=300_000)  # type: ignore[safe-super]

    async def put(self, name: str, data: bytes) -> None:
        if name == "manifest.json":
            images = json.loads(data)["images"]
            for image in images:
                if image["id"] != "empty":  # a disk has a byte at least
                    image |= {"layout": "prepared", "file": f"{image['file']}/manifest.json"}
            await super().put(name, json.dumps({"images": images}).encode())
        elif name.endswith(".img") and data:
            # In this order: a manifest is put last.
            for path, stored in prepared_files(data, 32 * 1024).items():
                await super().put(f"{name}/{path}", stored)
        else:
            await super().put(name.replace(".img.", ".img/manifest.json."), data)

    async def remove(self, name: str) -> None:
        await super().remove(f"{name}/manifest.json" if name.endswith(".img") else name)


class TestPreparedInFolder(_Prepared, TestFolderStore):
    pass


class TestPreparedInBucket(_Prepared, TestObjectStore):
    # About the requests of the bucket's store, which has its own tests.
    test_what_is_remembered_is_asked_again_in_time = None
    test_connections_are_used_again = None
    test_a_body_that_breaks_off_is_asked_for_again = None
    test_a_body_that_always_breaks_off_is_given_up = None

    async def _eventually(self, read: Callable[[], Awaitable[T]]) -> T:
        self.now += 2.5  # for as long the old version is served, whole
        return await read()


@pytest.mark.parametrize(
    "wrong",
    [
        ("images",),
        ("https://images/x",),
        ("s3://",),
        ("s3://images?x=1",),
        ("s3://images", "127.0.0.1:9000"),
        ("gs://images", "http://127.0.0.1:9000"),
    ],
)
def test_what_is_no_bucket_is_said(wrong: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"write|for s3"):
        BucketAddress(*wrong)


def test_no_credentials_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(ValueError, match="no AWS credentials"):
        open_bucket(BucketAddress("s3://images"))
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = a\naws_secret_access_key = b\n"
    )
    open_bucket(BucketAddress("s3://images"))
