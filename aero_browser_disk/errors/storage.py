"""Errors of the storage, and of the local images and overlays in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from .base import DiskError


class StorageError(DiskError):
    """The browser's storage failed, or in CPython the folder."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"The storage failed at {path}: {reason}")
        self.path = path
        self.reason = reason


class StorageFullError(StorageError):
    """The storage is full."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "no space is left. Free some, or set a smaller cache limit.")


class StorageBusyError(StorageError):
    """Another tab or worker has the file open."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "another tab or worker has it open. Close that first.")


class DamagedDiskError(StorageError):
    """What is stored of a local image or an overlay is damaged; nothing of it was changed.

    `offset` and `length` are the bytes of the disk that cannot be read, where it is not the whole.
    `image` is its name in the library, if it has one there.
    """

    RECOVER: ClassVar[str] = "Save what is intact with the library's recover()."
    """The usual advice, in which the page names its button."""

    def __init__(
        self,
        path: str,
        reason: str,
        *,
        offset: int | None = None,
        length: int | None = None,
        image: str | None = None,
        advice: str = RECOVER,
    ) -> None:
        part = "" if offset is None else f" (bytes {offset:,} to {offset + (length or 0):,})"
        DiskError.__init__(
            self,
            f"{repr(image) if image else path} is damaged{part}: {reason}. Nothing was changed or "
            f"deleted. {advice}",
        )
        self.path = path
        self.reason = reason
        self.offset = offset
        self.length = length
        self.image = image


class StorageUnavailableError(StorageError):
    """This browser, or this window, has no such storage."""

    def __init__(self, reason: str) -> None:
        super().__init__("OPFS", f"it is not available here ({reason}).")


class BaseChangedError(DiskError):
    """An overlay was made over another version of its base. It was left as it is."""

    def __init__(self, pinned: str, found: str) -> None:
        super().__init__(
            f"This overlay was made over another version of its image ({pinned} then, {found} "
            "now) and fits only that version. It is kept as it is. Open it over that version "
            "again, export it, start another overlay under a new name, or reset this one, which "
            "deletes what was written to it."
        )
        self.pinned = pinned
        self.found = found


class RebaseRefusedError(DiskError):
    """An overlay cannot be moved to the present version of its image. It was left as it is."""

    def __init__(self, overlay: str, reason: str) -> None:
        super().__init__(
            f"The overlay {overlay!r} cannot be moved to the present version of its image: "
            f"{reason}. It is kept as it is. Open it over the version that it was made over, make "
            "an image of it, or export it."
        )
        self.overlay = overlay
        self.reason = reason


class MissingBaseError(DiskError):
    """Parts of an overlay's base are neither cached here nor on the server any more.

    `ranges` are offset and length in bytes.
    """

    def __init__(self, overlay: str, ranges: Sequence[tuple[int, int]]) -> None:
        missing = sum(length for _, length in ranges)
        first = ", ".join(f"{start}-{start + length - 1}" for start, length in ranges[:5])
        super().__init__(
            f"No image can be made of the overlay {overlay!r}: {missing:,} bytes of the version "
            f"that it was made over are neither cached here nor on the server (bytes {first}"
            f"{' and others' if len(ranges) > 5 else ''}). It is kept as it is: export it."
        )
        self.overlay = overlay
        self.ranges = tuple(ranges)


class DataCutError(DiskError):
    """Making an image smaller would cut off data."""

    def __init__(self, size: int, needed: int) -> None:
        super().__init__(
            f"The image holds data up to byte {needed}: cut to {size} bytes it would lose some. "
            "Make the partitions in it smaller first, or ask for the cut (cut=True)."
        )
        self.size = size
        self.needed = needed
