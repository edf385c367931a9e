"""What every `ImageStore` of the service must do.

Subclass `ImageStoreSuite`, say how to make a store and how to change what is in it behind its back,
and name the class `Test...` for pytest (with pytest-asyncio).
"""

from __future__ import annotations

import json
import random
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from aero_browser_disk.service.stores.image_store import (
    CHUNK_LENGTH,
    ImageNotFoundError,
    OpenImage,
    PrivateImageError,
    VersionChangedError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ..service.stores.image_store import ImageStore

T = TypeVar("T")

_SIZE = 3 * CHUNK_LENGTH + 777
OLD = random.Random(1).randbytes(_SIZE)
NEW = random.Random(2).randbytes(_SIZE)
ENTRIES: tuple[dict[str, Any], ...] = (
    {"id": "disk", "file": "disk.img", "public": True},
    {"id": "deep", "file": "a/b c/déjà.img", "public": True, "name": "Deep"},
    {"id": "mine", "file": "mine.img", "public": False},
    {"id": "empty", "file": "empty.img", "public": True},
    {"id": "missing", "file": "missing.img", "public": True},
    {
        "id": "pinned",
        "file": "disk.img",
        "public": True,
        "etag": '"pinned-v1"',
        "last_modified": "2026-01-10T00:00:00Z",
    },
)


class ImageStoreSuite:
    """The checks. Each runs on an instance of its own, after `set_up`."""

    # ── for the subclass ──

    async def make(self) -> ImageStore:
        """A store over what `put` put."""
        raise NotImplementedError

    async def put(self, name: str, data: bytes) -> None:
        """Puts a file in place of any that is there, not through the store."""
        raise NotImplementedError

    async def remove(self, name: str) -> None:
        """Removes a file, not through the store."""
        raise NotImplementedError

    def rejected_manifests(self) -> list[str]:
        """What the store said of manifests it did not use."""
        raise NotImplementedError

    # ── found or not ──

    async def test_an_image_is_found_by_its_id(self) -> None:
        store = await self._store()
        assert await _bytes(store, "disk") == OLD
        assert await _bytes(store, "deep") == b"deep"
        async with store.open("deep") as opened:
            assert opened.image.size == 4
            assert opened.image.entry.name == "Deep"
        store.close()

    async def test_what_is_no_image_is_not_found(self) -> None:
        store = await self._store()
        for image_id in (
            *("nothing", "missing", "disk.img", "manifest.json", "", ".", "..", "a/b", "x" * 129),
            *("../disk", "disk\0", "disk\n", "%2e%2e", "é"),
        ):
            assert await _raises(ImageNotFoundError, store.open(image_id).__aenter__()), image_id
        store.close()

    async def test_a_private_image_is_for_those_who_may(self) -> None:
        store = await self._store()
        assert await _raises(PrivateImageError, store.open("mine").__aenter__())
        assert await _raises(PrivateImageError, store.open("mine", ".digests").__aenter__())
        async with store.open("mine", may_read=lambda entry: entry.id == "mine") as opened:
            assert await _read(opened, 0, 4) == b"mine"
        store.close()

    async def test_the_list(self) -> None:
        store = await self._store()
        public = [image.entry.id for image in await store.images()]
        assert public == ["disk", "deep", "empty", "pinned"]
        every = [image.entry.id for image in await store.images(may_read=lambda _: True)]
        assert every == ["disk", "deep", "mine", "empty", "pinned"]
        for image in await store.images():
            async with store.open(image.entry.id) as opened:
                assert opened.image == image
        store.close()

    async def test_a_file_beside_an_image(self) -> None:
        store = await self._store()
        assert await _raises(ImageNotFoundError, store.open("disk", ".digests").__aenter__())
        await self.put("disk.img.digests", b"digests")
        async with store.open("disk", ".digests") as opened:
            assert await _read(opened, 0, opened.image.size) == b"digests"
            first = opened.image.etag
        # Its validator is its own, even when the manifest gives the image one.
        async with store.open("pinned", ".digests") as opened:
            assert opened.image.etag == first
        store.close()

    # ── bytes ──

    async def test_every_range_is_exact(self) -> None:
        store = await self._store()
        edges = (0, 1, 511, CHUNK_LENGTH - 1, CHUNK_LENGTH, CHUNK_LENGTH + 1, _SIZE - 1, _SIZE)
        async with store.open("disk") as opened:
            for start in edges:
                for stop in edges:
                    if start <= stop:
                        assert await _read(opened, start, stop) == OLD[start:stop]
        store.close()

    async def test_an_empty_image(self) -> None:
        store = await self._store()
        async with store.open("empty") as opened:
            assert opened.image.size == 0
            assert await _read(opened, 0, 0) == b""
        store.close()

    async def test_a_reader_may_stop_early(self) -> None:
        store = await self._store()
        async with store.open("disk") as opened:
            for _ in range(20):
                async with aclosing(opened.reader.chunks(0, _SIZE)) as chunks:
                    first = await anext(chunks)
                    assert first == OLD[: len(first)]
            assert await _read(opened, 5, 9) == OLD[5:9]
        store.close()

    # ── versions ──

    async def test_the_validator_is_strong_and_names_the_version(self) -> None:
        store = await self._store()
        first = await _describe(store, "disk")
        assert not first.etag.weak
        assert await _describe(store, "disk") == first
        await self.put("disk.img", NEW)
        assert await self._eventually(lambda: _bytes(store, "disk")) == NEW
        assert (await _describe(store, "disk")).etag != first.etag
        store.close()

    async def test_the_manifests_word_on_the_version_counts(self) -> None:
        store = await self._store()
        image = await _describe(store, "pinned")
        assert str(image.etag) == '"pinned-v1"'
        assert image.last_modified_s == 1768003200
        store.close()

    async def test_no_read_mixes_versions(self) -> None:
        store = await self._store()
        async with store.open("disk") as opened:
            chunks = opened.reader.chunks(0, _SIZE)
            read = await anext(chunks)
            await self.put("disk.img", NEW)
            try:
                async for chunk in chunks:
                    read += chunk
                assert len(read) == _SIZE
            except VersionChangedError:
                pass
            assert read == OLD[: len(read)]
            # A later read of the same version has its bytes too, or says that it is gone.
            with suppress(VersionChangedError):
                assert await _read(opened, 0, 100) == OLD[:100]
        assert await self._eventually(lambda: _bytes(store, "disk")) == NEW
        store.close()

    async def test_a_removed_image_is_gone(self) -> None:
        store = await self._store()
        await self.remove("disk.img")
        # The first when it was remembered.
        with suppress(VersionChangedError, ImageNotFoundError):
            raise AssertionError(await _bytes(store, "disk"))
        assert await _raises(ImageNotFoundError, store.open("disk").__aenter__())
        store.close()

    # ── the manifest ──

    async def test_the_manifest_is_read_again(self) -> None:
        store = await self._store()
        await self._put_manifest({"id": "new", "file": "disk.img", "public": True})
        await store.refresh()
        assert await _bytes(store, "new") == OLD
        assert await _raises(ImageNotFoundError, store.open("deep").__aenter__())
        store.close()

    async def test_a_wrong_manifest_is_not_used(self) -> None:
        store = await self._store()
        await self._put_manifest({"id": "disk", "file": "../disk.img", "public": True})
        await store.refresh()
        assert await _bytes(store, "disk") == OLD
        assert "file must be" in self.rejected_manifests()[-1]
        said = len(self.rejected_manifests())
        await store.refresh()
        assert len(self.rejected_manifests()) == said
        await self.remove("manifest.json")
        await store.refresh()
        assert await _bytes(store, "disk") == OLD
        assert "manifest.json" in self.rejected_manifests()[-1]
        await self._put_manifest(*ENTRIES[:1])
        await store.refresh()
        assert [image.entry.id for image in await store.images()] == ["disk"]
        store.close()

    # ── its life ──

    async def test_it_is_ready(self) -> None:
        store = await self._store()
        assert "disk" not in await store.ready()
        store.close()

    async def test_closing_twice(self) -> None:
        store = await self._store()
        await _bytes(store, "disk")
        store.close()
        store.close()

    # ── helpers ──

    async def _store(self) -> ImageStore:
        await self.put("disk.img", OLD)
        await self.put("a/b c/déjà.img", b"deep")
        await self.put("mine.img", b"mine")
        await self.put("empty.img", b"")
        await self._put_manifest(*ENTRIES)
        store = await self.make()
        await store.refresh()
        return store

    async def _put_manifest(self, *entries: dict[str, Any]) -> None:
        await self.put("manifest.json", json.dumps({"images": entries}).encode())

    async def _eventually(self, read: Callable[[], Awaitable[T]]) -> T:
        """What a second try gets, when the first finds that a remembered version is gone."""
        try:
            return await read()
        except VersionChangedError:
            return await read()


async def _describe(store: ImageStore, image_id: str) -> Any:
    async with store.open(image_id) as opened:
        return opened.image


async def _bytes(store: ImageStore, image_id: str) -> bytes:
    async with store.open(image_id) as opened:
        return await _read(opened, 0, opened.image.size)


async def _read(opened: OpenImage, start: int, stop: int) -> bytes:
    chunks = [chunk async for chunk in _checked(opened.reader.chunks(start, stop))]
    assert sum(map(len, chunks)) == stop - start
    return b"".join(chunks)


async def _checked(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        # A slow client costs about this much, not the length of what it asked for.
        assert 0 < len(chunk) <= 4 * CHUNK_LENGTH
        yield chunk


async def _raises(kind: type[Exception], call: Awaitable[object]) -> bool:
    try:
        await call
    except kind:
        return True
    return False
