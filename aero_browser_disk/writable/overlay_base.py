"""What an overlay needs to know of its base: which version it is, and who wrote to it last.

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
    """What a disk that takes writes is called in each of its versions."""
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


def bind(store: SectorStore, base: Disk, folder: str) -> None:
    """Checks that a store is an overlay of this version of its base.

    A commit that was cut short is taken note of: the base is another version then, but what differs
    is in the overlay too. Raises `BaseChangedError` and `StorageError`.
    """
    contents = store.contents
    info = base.info
    if contents.base is None:
        raise StorageError(folder, "there is an image, not an overlay")
    # The mark of the commit, or, of an earlier version of ours, the name of the base.
    marks = getattr(base, "commit_mark", None), identity_of(base)
    if contents.base_identity is not None and contents.base_identity in marks:
        # A commit was cut short. Whatever of it is in the base is here too, and goes before.
        store.rebind(info.version)
    elif contents.base != info.version or contents.size != info.size:
        raise BaseChangedError(contents.base, info.version)
