"""Pushes an open overlay to its save: what changed since the last push, in the background.

The content is that of a snapshot, so a push takes any time and a guest's writes and flushes never
wait for it. The order is chunks, record, manifest: after a crash at any point the server has the
generation before or the new one, and the next push goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from ..errors import DiskError, NoSuchSaveError, SaveConflictError, StorageError
from ..platform.base import Clock, Storage
from ..transfer.image_import import CopyProgress, Report
from ..writable.overlay import Overlay
from ..writable.range_set import RangeSet
from ..writable.store_snapshot import SnapshotLostError, StoreSnapshot
from .chunk_upload import ChunkUpload
from .content_index import GRANULE, ContentIndex
from .content_scan import UNPLACED, scan
from .encryption import SaveCipher
from .last_manifest import NO_MANIFEST, LastManifest
from .push_record import PushRecord, read_push_record, write_push_record
from .pushed import Pushed, SavedTo, current_of, digest_of, generation_of, sha256_of
from .save_manifest import SaveBase, SaveManifest, StoredChunk
from .save_map import CHUNK_SECTORS, ZEROS
from .save_requests import SaveRequests, missing_in, refusal, whole_or_zero

_ATTEMPTS: Final = 3
_YIELD_EVERY: Final = 64  # items
_RECORD_EVERY: Final = 8 << 20  # bytes sent
_SMALL: Final = CHUNK_SECTORS // 4
_MANY_SMALL: Final = 16
_MAX_UNCONFIRMED: Final = 16
_MAX_RANGES: Final = 1 << 16  # of changed granules, before all of them count as changed


class DiskSave:
    """An open overlay and its save. Use `SaveServer.attach`; close it before the disk."""

    def __init__(
        self,
        overlay: Overlay,
        storage: Storage,
        folder: str,
        to: SavedTo,
        requests: SaveRequests,
        clock: Clock,
        cipher: SaveCipher | None = None,
    ) -> None:
        self.to = to
        self._cipher = cipher
        self._overlay = overlay
        self._storage = storage
        self._folder = folder
        self._requests = requests
        self._clock = clock
        self._turn = asyncio.Lock()
        self._index = ContentIndex()
        self._last = NO_MANIFEST  # of `_follows`, if it is known
        self._follows = ""
        self._unconfirmed: tuple[str, ...] = ()  # manifests that were sent; no response came
        self._generation = 0
        self._pushed_at = ""
        self._pushed_revision = ""
        self._serial = 0
        self._is_protected = False  # whether the server keeps all chunks of the index
        self._conflict: Mapping[str, Any] | None = None
        self._refused: DiskError | None = None
        self._changed: RangeSet | None = None
        self._unwatch: Callable[[], None] = _nothing
        self._watch()

    @property
    def generation(self) -> int:
        """The generation of the save that this disk is based on; 0 before the first push."""
        return self._generation

    @property
    def is_pushed(self) -> bool:
        """Whether the save has all that was written, as far as this disk knows."""
        return not self._conflict and self._revision == self._pushed_revision

    async def load(self, document: Mapping[str, Any]) -> bool:
        """Reads the record of the last push, and compares it with the save's document.

        Returns whether there is one of this save. Raises `StorageError`.
        """
        record, self._serial = await read_push_record(self._storage, self._folder)
        current = digest_of(document.get("etag"))
        is_same = record is not None and (record.server, record.save) == (
            self.to.server,
            self.to.save,
        )
        if record is None or not is_same:
            self._changed = None
            self._conflict = document if current else None
            return False
        manifest = b""
        if record.encryption == self._encryption:
            self._index, manifest = record.index, record.manifest
        self._generation, self._pushed_at = record.generation, record.pushed_at
        self._follows, self._unconfirmed = record.follows, tuple(record.unconfirmed.split())
        if record.makes and current == record.makes:
            self._follow(document, current, manifest)
            self._pushed_revision = record.revision
        elif current and current in self._unconfirmed:
            self._follow(document, current, manifest)
        elif current == record.follows:
            self._remember(manifest)
            self._note_unconfirmed(record.makes)  # it may be under way
        else:
            self._conflict = document
            self._generation = generation_of(document, record)
        self._is_protected = False
        if self._revision != record.revision or record.encryption != self._encryption:
            self._changed = None  # written to while nobody watched
        return True

    async def push(self, report: Report | None = None) -> Pushed:
        """Sends what changed, and makes it the save's current generation.

        `report` is told how many bytes were looked at. Pushes wait for one another; a cancelled or
        failed one is continued by the next. Raises `SaveConflictError`, `NoSuchSaveError`,
        `SaveRefusedError`, `SaveTooLargeError`, `NetworkError`, and `StorageError`.
        """
        async with self._turn:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    pushed = await self._push_once(report)
                except SnapshotLostError:
                    if attempt == _ATTEMPTS:
                        raise
                    continue
                if pushed is not None:
                    return pushed
            assert self._refused is not None
            raise self._refused

    def close(self) -> None:
        """Stops watching the overlay. Idempotent."""
        self._unwatch()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    @property
    def _revision(self) -> str:
        return self._overlay.info.version

    @property
    def _encryption(self) -> str:
        return "" if self._cipher is None else self._cipher.encryption.encode()

    def _watch(self) -> None:
        self._unwatch()
        self._changed = RangeSet()
        self._unwatch = self._overlay.watch(self._changed)

    async def _push_once(self, report: Report | None) -> Pushed | None:
        """A push; None when chunks were missing on the server, and it must be done again."""
        if self._conflict is not None:
            raise self._conflict_error(self._conflict)
        with self._overlay.snapshot() as snapshot:
            changed, revision = self._changed, self._revision
            self._watch()
            if changed is not None and len(changed) > _MAX_RANGES:
                changed = None
            if revision == self._pushed_revision and self._follows:
                return Pushed(self.to.save, self._generation, True, 0, 0, 0, 0)
            try:
                return await self._send(snapshot, revision, changed, report)
            except BaseException:
                self._restore(changed)
                raise

    def _restore(self, changed: RangeSet | None) -> None:
        """What a push that failed had to send is to be sent by the next one."""
        if changed is None or self._changed is None:
            self._changed = None
            return
        for start, stop in changed:
            self._changed.add(start, stop)

    async def _send(
        self,
        snapshot: StoreSnapshot,
        revision: str,
        changed: RangeSet | None,
        report: Report | None,
    ) -> Pushed | None:
        if self._unconfirmed:
            await self._find_out()
        if not self._is_protected:
            await self._lose_missing()
        index = ContentIndex(self._index.chunks)
        upload = ChunkUpload(self._requests, self.to.save, index, self._cipher)
        try:
            await self._store(snapshot, changed, index, upload, report)
        except BaseException:
            await upload.cancel()
            with contextlib.suppress(StorageError):
                await self._record_part(index)
            raise
        index = index.compacted(tuple(self._last.chunks))
        manifest = await self._manifest(snapshot, index)
        return await self._switch(index, manifest, revision, changed, upload)

    async def _store(
        self,
        snapshot: StoreSnapshot,
        changed: RangeSet | None,
        index: ContentIndex,
        upload: ChunkUpload,
        report: Report | None,
    ) -> None:
        """Fills the index, and sends the chunks that are new in it."""
        stale = self._stale(changed)
        recorded = done = 0
        total = self._overlay.used_bytes
        for number, (item, content) in enumerate(scan(snapshot, self._index, changed, stale)):
            if item.chunk == UNPLACED:
                await upload.add(item, content)
            else:
                index.add(item)
            if item.chunk != ZEROS:
                done += GRANULE
            if number % _YIELD_EVERY == 0:
                if report is not None:
                    report(CopyProgress(min(done, total), total))
                await asyncio.sleep(0)
            if upload.stored_bytes - recorded >= _RECORD_EVERY:
                await upload.finish()
                recorded = upload.stored_bytes
                await self._record_part(index)
        await upload.finish()
        if report is not None:
            report(CopyProgress(total, total))

    def _stale(self, changed: RangeSet | None) -> set[int]:
        """The chunks whose content is moved to new ones: those of which less than half will be in
        use, and small ones, when there are many."""
        if changed is None:
            return set()
        live = self._index.live_sectors(changed)
        sectors = [chunk.sectors for chunk in self._index.chunks]
        stale = {number for number, used in enumerate(live) if used * 2 < sectors[number]}
        small = {number for number, length in enumerate(sectors) if length <= _SMALL} - stale
        return stale | small if len(small) >= _MANY_SMALL else stale

    async def _find_out(self) -> None:
        """Learns whether a manifest became current whose response did not come."""
        reply = await self._requests.save(self.to.save)
        if reply.status == 404:
            raise NoSuchSaveError(self.to.name)
        document = reply.document()
        current = digest_of(document.get("etag"))
        if current and current in self._unconfirmed:
            self._follow(document, current)
            self._is_protected = False
        elif current != self._follows:
            self._conflict = document
            raise self._conflict_error(document)

    def _note_unconfirmed(self, manifest: str) -> None:
        if manifest:
            self._unconfirmed = (*self._unconfirmed, manifest)[-_MAX_UNCONFIRMED:]

    async def _lose_missing(self) -> None:
        """Finds out which chunks the server has; it keeps those for a while from now on.

        Those of the current generation are there; if not, the manifest is refused.
        """
        unsure = [
            chunk.sha256.hex()
            for chunk in self._index.chunks
            if chunk.length and chunk.sha256 not in self._last.chunks
        ]
        self._lose(await self._requests.missing(self.to.save, unsure))

    def _lose(self, missing: set[str]) -> None:
        self._index.lose(
            {n for n, chunk in enumerate(self._index.chunks) if chunk.sha256.hex() in missing}
        )

    async def _manifest(self, snapshot: StoreSnapshot, index: ContentIndex) -> SaveManifest:
        contents = snapshot.contents
        base = self._overlay.base.info
        version = contents.base or ""
        digest = index.digest(version, contents.size)
        chunks = tuple(StoredChunk(chunk.sha256.hex(), chunk.length) for chunk in index.chunks)
        cipher, encryption, seal = self._cipher, None, b""
        parts = await self._last.next_parts(index.map(contents.size), contents.size, cipher)
        if cipher is not None:
            digest, encryption = cipher.digest(digest), cipher.encryption
            seal = await cipher.seal((chunk.sha256 for chunk in chunks), parts)
        return SaveManifest(
            SaveBase(version, contents.size, base.sector_size, self.to.image),
            self.to.device,
            self._time(),
            digest,
            chunks,
            parts,
            encryption,
            seal,
        )

    async def _switch(
        self,
        index: ContentIndex,
        new: SaveManifest,
        revision: str,
        changed: RangeSet | None,
        upload: ChunkUpload,
    ) -> Pushed | None:
        manifest = new.encode()
        makes = sha256_of(manifest)
        await self._record(index, makes, revision, manifest)
        self._index = index
        before = self._unconfirmed
        self._note_unconfirmed(makes)
        change = self._last.change(new)
        switching = self._requests.switch(self.to.save, manifest, change, self._follows)
        reply, sent = await switching
        self._unconfirmed = before
        if reply.status == 404:
            raise NoSuchSaveError(self.to.name)
        document: Mapping[str, Any] = reply.document()
        if reply.status == 409:
            self._refused = refusal(self.to.server, reply)
            self._is_protected = False
            self._lose(missing_in(reply))
            self._restore(changed)
            return None
        if reply.status == 412:
            document = current_of(reply)
            current = digest_of(document.get("etag"))
            if current and current in before:
                self._refused = refusal(self.to.server, reply)
                self._follow(document, current)
                self._restore(changed)
                return None
            if current != makes:
                self._conflict = document
                raise self._conflict_error(document)
        elif reply.status not in (200, 201):
            raise refusal(self.to.server, reply)
        self._follow(document, makes, manifest)
        self._pushed_revision = revision
        return Pushed(
            self.to.save,
            self._generation,
            False,
            upload.content_bytes,
            upload.stored_bytes,
            upload.chunks,
            sent,
        )

    def _follow(self, document: Mapping[str, Any], digest: str, manifest: bytes = b"") -> None:
        self._follows, self._is_protected = digest, True
        self._unconfirmed = ()
        self._remember(manifest)
        self._generation = whole_or_zero(document.get("generation")) or self._generation + 1
        self._pushed_at = str(document.get("updated") or self._time())[:40]

    def _remember(self, manifest: bytes) -> None:
        last = LastManifest(manifest, self.to.name)
        self._last = last if last.digest == self._follows else NO_MANIFEST

    async def _record_part(self, index: ContentIndex) -> None:
        """Notes what was sent so far: the index up to where it is, and the old one from there."""
        whole = ContentIndex(index.chunks)
        whole.extend(index)
        whole.extend(self._index)
        self._index = whole
        await self._record(whole, "", "", self._last.encoded)

    async def _record(
        self, index: ContentIndex, makes: str, revision: str, manifest: bytes
    ) -> None:
        self._serial += 1
        record = PushRecord(
            self.to.server,
            self.to.save,
            self.to.name,
            self._follows,
            makes,
            self._generation,
            self._pushed_at,
            revision,
            " ".join(self._unconfirmed),
            index,
            self._encryption,
            manifest,
        )
        await write_push_record(self._storage, self._folder, record, self._serial)

    def _conflict_error(self, document: Mapping[str, Any]) -> SaveConflictError:
        return SaveConflictError(
            self.to.save,
            self.to.name,
            mine_generation=self._generation,
            mine_time=self._pushed_at,
            mine_device=self.to.device,
            theirs_generation=whole_or_zero(document.get("generation")),
            theirs_time=str(document.get("updated") or "")[:40],
            theirs_device=str(document.get("device") or "")[:200],
        )

    def _time(self) -> str:
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        return now.isoformat(timespec="seconds").replace("+00:00", "Z")


def _nothing() -> None:
    """There is nothing to end."""
