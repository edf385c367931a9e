"""Binds an overlay to a version of its base, across commits that a crash interrupted.

An overlay belongs to one version of its base. A commit of the overlay changes that version, and can
be cut short by a crash. So the overlay and the base both note a mark before it: while the base has
the mark, nothing but that commit wrote to it, and the overlay still fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

from ..disk import Disk
from ..errors import BaseChangedError, StorageError
from .sector_reader import Range
from .sector_store import SectorStore


def identity_of(disk: Disk) -> str:
    """The identity of a writable disk, which is part of all of its versions."""
    return str(getattr(disk, "identity", disk.info.version))


@runtime_checkable
class Reserving(Protocol):
    """A disk that can reserve space for what is about to be written."""

    def reserve(self, ranges: Iterable[Range]) -> Iterator[None]:
        """Reserves little by little: iterate to the end. Raises `StorageFullError`."""


@runtime_checkable
class CommitTarget(Protocol):
    """A disk that knows whether anything but the commit of an overlay wrote to it."""

    @property
    def commit_mark(self) -> str | None:
        """The mark of the commit that wrote here last, if nothing else did since."""

    def begin_commit(self, mark: str) -> None:
        """Notes whose writes follow. Raises `StorageError`."""

    def end_commit(self) -> None:
        """The writes of the commit are over. Idempotent."""


class StoreCommitTarget:
    """A disk over a sector store as the base of an overlay: `Reserving` and `CommitTarget`."""

    _store: SectorStore

    def reserve(self, ranges: Iterable[Range]) -> Iterator[None]:
        """Reserves space for coming writes: see `SectorStore.reserve`."""
        return self._store.reserve(ranges)

    @property
    def commit_mark(self) -> str | None:
        """The mark of the commit that wrote here last, if nothing else did since."""
        return self._store.contents.commit_mark

    def begin_commit(self, mark: str) -> None:
        """Notes whose writes follow: see `SectorStore.begin_commit`."""
        self._store.begin_commit(mark)

    def end_commit(self) -> None:
        """The writes of the commit are over. Idempotent."""
        self._store.end_commit()


def bind(store: SectorStore, base: Disk, folder: str) -> None:
    """Checks that a store is an overlay of this version of its base.

    An interrupted commit is recognised: the base has another version then, but everything that
    differs is in the overlay too. Raises `BaseChangedError` and `StorageError`.
    """
    contents = store.contents
    info = base.info
    if contents.base is None:
        raise StorageError(folder, "there is an image, not an overlay")
    # The mark of the commit; earlier versions wrote the name of the base.
    marks = getattr(base, "commit_mark", None), identity_of(base)
    if contents.base_identity is not None and contents.base_identity in marks:
        # A commit was interrupted. Whatever it wrote to the base is in the overlay too, which takes
        # precedence.
        store.rebind(info.version)
    elif contents.base != info.version or contents.size != info.size:
        raise BaseChangedError(contents.base, info.version)
