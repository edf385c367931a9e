"""Images in a bucket: its `manifest.json` names them, and each read is pinned to one version."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import obstore
from obstore.exceptions import BaseError, NotModifiedError, PreconditionError

from aero_browser_disk.platform.concurrent_tasks import all_of
from aero_browser_disk.remote.byte_ranges import EntityTag

from .image_store import (
    CHUNK_LENGTH,
    Image,
    ImageNotFoundError,
    MayRead,
    OpenImage,
    StoreError,
    VersionChangedError,
    described,
    is_readable,
    opened_entry,
)
from .manifest import MANIFEST, ManifestEntry, ManifestError, is_image_id, parse_manifest

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta
    from obstore.store import ObjectStore as Bucket

# How long a key's metadata is cached. Reads are pinned to the version, so a change in the meantime
# costs a second try, never a wrong byte.
_VERSION_LIFE_S: Final = 2.0
_MANIFEST_LIFE_S: Final = 5.0
# While none was read yet.
_RETRY_LIFE_S: Final = 0.5
_LARGEST_MANIFEST: Final = 16 * 1024 * 1024
_REMEMBERED_VERSIONS: Final = 4096
# Concurrent requests for the list of images.
_LISTING_REQUESTS: Final = 16
# How often a body that broke off is resumed without progress. Failed requests have obstore's own
# retries.
_RESUMPTIONS: Final = 2
# For a request until its response begins, retries included, and for each chunk of the body.
# obstore's own timeouts count from byte to byte.
_RESPONSE_TIMEOUT_S: Final = 20.0
_TOO_SLOW: Final = f"the bucket did not respond within {_RESPONSE_TIMEOUT_S:g} s"


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One state of a key. `etag` is the bucket's, and is what a read is pinned to."""

    etag: str
    size: int
    last_modified_s: int


class EntrySource(Protocol):
    """Images that the manifest does not name."""

    async def find(self, image_id: str) -> ManifestEntry | None:
        """The image with this id; raises `StoreError`."""

    async def entries(self) -> list[ManifestEntry]:
        """All of them; raises `StoreError`."""

    def close(self) -> None:
        """Frees what it holds. Idempotent."""


class ObjectStore:
    """The images that `manifest.json` of `bucket` names, and those of `more`.

    Without `more` there must be a manifest. It is read again every few seconds, if it changed;
    while it is wrong or cannot be read the last good one stays in force, and `on_rejected_manifest`
    gets the reason. `clock` counts seconds.
    """

    def __init__(
        self,
        bucket: Bucket,
        on_rejected_manifest: Callable[[str], None],
        more: EntrySource | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bucket = bucket
        self._on_rejected_manifest = on_rejected_manifest
        self._more = more
        self._clock = clock
        self._versions: OrderedDict[str, tuple[ObjectVersion, float]] = OrderedDict()
        self._manifest: dict[str, ManifestEntry] | None = None
        self._manifest_etag: str | None = None
        self._manifest_read_at = float("-inf")
        self._manifest_error: str | None = None
        # Ids of the manifest only.
        self._missing: set[str] = set()
        self._reading_manifest = asyncio.Lock()

    def close(self) -> None:
        """As `ImageStore.close`; obstore closes idle connections itself."""
        self._versions.clear()
        if self._more is not None:
            self._more.close()

    @asynccontextmanager
    async def open(
        self, image_id: str, sidecar: str = "", *, may_read: MayRead | None = None
    ) -> AsyncIterator[OpenImage]:
        """As `ImageStore.open`."""
        entry = opened_entry(await self._entry(image_id), sidecar, may_read)
        try:
            version = await self._version(entry.file)
        except ImageNotFoundError:
            if not sidecar:
                self._missing.add(image_id)
            raise ImageNotFoundError(f"there is no object {entry.file}") from None
        self._missing.discard(image_id)
        reader = _ObjectReader(
            self._bucket, entry.file, version, lambda: self._forget(entry.file, version)
        )
        yield OpenImage(_describe(entry, version), reader)

    async def images(self, *, may_read: MayRead | None = None) -> list[Image]:
        """As `ImageStore.images`."""
        await self._reread_manifest(_MANIFEST_LIFE_S)
        named = self._known_manifest()
        every = [*named.values()]
        if self._more is not None:
            # The manifest goes first, as in `_entry`.
            every += [entry for entry in await self._more.entries() if entry.id not in named]
        entries = [entry for entry in every if is_readable(entry, may_read)]
        slots = asyncio.Semaphore(_LISTING_REQUESTS)

        async def describe(entry: ManifestEntry) -> Image | None:
            async with slots:
                try:
                    return _describe(entry, await self._version(entry.file))
                except ImageNotFoundError:
                    return None

        images = await all_of(map(describe, entries))
        return [image for image in images if image is not None]

    async def refresh(self) -> None:
        """As `ImageStore.refresh`."""
        await self._reread_manifest(0)

    async def is_in_manifest(self, image_id: str) -> bool:
        """Whether the current manifest names it; raises `StoreError` if that cannot be read."""
        await self._reread_manifest(0)
        if self._manifest_error is not None:
            raise StoreError(self._manifest_error)
        return image_id in self._known_manifest()

    async def ready(self) -> Mapping[str, str]:
        """As `ImageStore.ready`: the bucket responds, and its manifest was read.

        Lists only missing images that were requested: checking each one takes a request.
        """
        try:
            await self._ask()
        except ImageNotFoundError:
            raise StoreError("the bucket is not there, or has no manifest.json") from None
        await self._reread_manifest(_MANIFEST_LIFE_S)
        self._known_manifest()
        return self.unusable()

    def unusable(self) -> Mapping[str, str]:
        """As `ImageStore.unusable`."""
        missing = self._missing & (self._manifest or {}).keys()
        return dict.fromkeys(missing, "there is no such object")

    async def _ask(self) -> None:
        try:
            async with _asking():
                await obstore.head_async(self._bucket, MANIFEST)
        except ImageNotFoundError:
            if self._more is None:
                raise
            # The manifest is optional; the bucket must exist.
            async with _asking():
                await anext(obstore.list(self._bucket, chunk_size=1), None)

    # ── the manifest ──

    async def _entry(self, image_id: str) -> ManifestEntry:
        if not is_image_id(image_id):
            raise ImageNotFoundError
        await self._reread_manifest(_MANIFEST_LIFE_S)
        entry = self._known_manifest().get(image_id)
        if entry is None and self._more is not None:
            entry = await self._more.find(image_id)
        if entry is None:
            raise ImageNotFoundError
        return entry

    def _known_manifest(self) -> dict[str, ManifestEntry]:
        if self._manifest is None:
            raise StoreError(self._manifest_error or "manifest.json was not read yet")
        return self._manifest

    async def _reread_manifest(self, life_s: float) -> None:
        """Reads it unless that was done less than `life_s` ago."""
        if self._manifest is None:
            life_s = min(life_s, _RETRY_LIFE_S)
        if self._clock() - self._manifest_read_at < life_s:
            return
        if self._reading_manifest.locked() and self._manifest is not None and life_s:
            return  # another task reads it; the last one serves meanwhile
        async with self._reading_manifest:
            if self._clock() - self._manifest_read_at < life_s:
                return
            try:
                await self._read_manifest()
                self._manifest_error = None
            except (ManifestError, OSError, ImageNotFoundError) as error:
                reason = (
                    "there is no manifest.json in the bucket"
                    if isinstance(error, ImageNotFoundError)
                    else str(error)
                )
                if reason != self._manifest_error:
                    self._on_rejected_manifest(reason)
                self._manifest_error = reason
            finally:
                self._manifest_read_at = self._clock()

    async def _read_manifest(self) -> None:
        options: GetOptions = {}
        if self._manifest_etag is not None:
            options["if_none_match"] = self._manifest_etag
        try:
            async with _asking():
                result = await obstore.get_async(self._bucket, MANIFEST, options=options)
                if result.meta["size"] > _LARGEST_MANIFEST:
                    raise ManifestError(f"manifest.json has more than {_LARGEST_MANIFEST} bytes")
                text = bytes(await result.bytes_async())
        except NotModifiedError:
            return
        except ImageNotFoundError:
            if self._more is None or self._manifest_etag is not None:
                raise
            self._manifest = {}
            return
        self._manifest = parse_manifest(text)
        self._missing.clear()
        self._manifest_etag = result.meta["e_tag"]

    # ── versions ──

    async def _version(self, key: str) -> ObjectVersion:
        known = self._versions.get(key)
        if known is not None and self._clock() - known[1] < _VERSION_LIFE_S:
            return known[0]
        asked_at = self._clock()
        async with _asking():
            version = _version_of(await obstore.head_async(self._bucket, key))
        self._versions[key] = (version, asked_at)
        self._versions.move_to_end(key)
        while len(self._versions) > _REMEMBERED_VERSIONS:
            self._versions.popitem(last=False)
        return version

    def _forget(self, key: str, version: ObjectVersion) -> None:
        known = self._versions.get(key)
        if known is not None and known[0] == version:
            del self._versions[key]


class _ObjectReader:
    """Reads one version of a key, each time with `If-Match`."""

    def __init__(
        self, bucket: Bucket, key: str, version: ObjectVersion, on_changed: Callable[[], None]
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._version = version
        self._on_changed = on_changed

    async def read(self, start: int, stop: int) -> bytes:
        """As `ImageReader.read`."""
        result = await self._begin(start, stop)
        with suppress(BaseError, TimeoutError):
            async with asyncio.timeout(_RESPONSE_TIMEOUT_S):
                body = await result.bytes_async()
            if len(body) == stop - start:
                return bytes(body)
        return b"".join([chunk async for chunk in self.chunks(start, stop)])

    async def chunks(self, start: int, stop: int) -> AsyncGenerator[bytes]:
        """As `ImageReader.chunks`: one request, and another for the rest of a broken body."""
        left_tries = _RESUMPTIONS
        while start < stop:
            result = await self._begin(start, stop)
            # Nothing is fetched ahead but what the connection buffers.
            stream = aiter(result.stream(min_chunk_size=CHUNK_LENGTH))
            reason = "the bucket sent fewer bytes than announced"
            try:
                # Not to its end, which would be one more trip to another thread.
                while start < stop:
                    async with asyncio.timeout(_RESPONSE_TIMEOUT_S):
                        chunk = await anext(stream, None)
                    if chunk is None:
                        break
                    start += len(chunk)
                    left_tries = _RESUMPTIONS
                    yield chunk
            except TimeoutError:
                raise StoreError(_TOO_SLOW) from None
            except BaseError as error:
                reason = reason_of(error)
            if start < stop:
                if left_tries == 0:
                    raise StoreError(reason)
                left_tries -= 1

    async def _begin(self, start: int, stop: int) -> GetResult:
        """A response with those bytes; raises `VersionChangedError`."""
        options: GetOptions = {"range": (start, stop), "if_match": self._version.etag}
        try:
            async with _asking():
                result = await obstore.get_async(self._bucket, self._key, options=options)
        except (ImageNotFoundError, PreconditionError):
            self._on_changed()
            raise VersionChangedError from None
        # Some stores accept If-Match and ignore it.
        if _version_of(result.meta) != self._version or result.range != (start, stop):
            self._on_changed()
            raise VersionChangedError
        return result


def _version_of(meta: ObjectMeta) -> ObjectVersion:
    etag = meta["e_tag"]
    if etag is None or etag.startswith("W/"):
        raise StoreError("the bucket sends no strong ETag, so reads cannot be pinned to a version")
    return ObjectVersion(etag, meta["size"], int(meta["last_modified"].timestamp()))


def _describe(entry: ManifestEntry, version: ObjectVersion) -> Image:
    etag = EntityTag(version.etag.strip('"'))
    return described(entry, version.size, etag, version.last_modified_s)


@asynccontextmanager
async def _asking() -> AsyncIterator[None]:
    """A request to the bucket: it ends in time, and obstore's errors are mapped.

    The result of a condition is the caller's business.
    """
    try:
        async with asyncio.timeout(_RESPONSE_TIMEOUT_S):
            yield
    except (PreconditionError, NotModifiedError):
        raise
    except FileNotFoundError:
        raise ImageNotFoundError from None
    except TimeoutError:
        raise StoreError(_TOO_SLOW) from None
    except BaseError as error:
        raise StoreError(reason_of(error)) from error


def reason_of(error: Exception) -> str:
    """Its first line; the rest repeats it in Rust's notation."""
    first, *_ = str(error).splitlines() or [type(error).__name__]
    return first.partition(": <?xml")[0][:300]
