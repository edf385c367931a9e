"""Errors of image files and of the library."""

from __future__ import annotations

from .base import DiskError


class UnsupportedImageError(DiskError):
    """A file of a known format that cannot be opened as a disk here."""

    def __init__(self, format: str, title: str, advice: str) -> None:  # noqa: A002
        super().__init__(f"This is {title}. {advice}")
        self.format = format
        self.advice = advice


class DamagedImageError(DiskError):
    """A file whose header or tables contradict themselves."""

    def __init__(self, title: str, reason: str) -> None:
        super().__init__(f"This is {title}, and it is damaged or cut off: {reason}.")
        self.reason = reason


class OddSizeError(DiskError):
    """A disk whose size is not a multiple of 512 bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(
            f"The size, {size} bytes, is not a multiple of 512 bytes. The file may be cut off. "
            "If it is complete, have it padded with zeros (pad=True in Python, pad: true in "
            "JavaScript)."
        )
        self.size = size


class HybridImageError(DiskError):
    """The image of a CD that is a disk as well, and nobody said as which it is imported."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is a CD and a disk as well. Say as which it is imported: media='cd' for one "
            "that is read-only, media='disk' for one that can be written."
        )
        self.image = name


class SourceError(DiskError):
    """A file that is imported or looked at cannot be read."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} cannot be read: {reason}.")
        self.reason = reason


class SourceChangedError(DiskError):
    """An import cannot be continued with a different file."""

    def __init__(self, name: str, what: str, begun: str, found: str) -> None:
        super().__init__(
            f"The import of {name!r} was started with a different file: its {what} was {begun}, "
            f"and is {found} now. Choose the same file, or remove the unfinished import and start "
            "again."
        )
        self.image = name
        self.what = what
        self.begun = begun
        self.found = found


class NoSuchImageError(DiskError):
    """There is no image, overlay or cache of that name.

    `recovered` names those whose record was damaged, so that their names are lost.
    """

    def __init__(self, what: str, name: str, recovered: tuple[str, ...] = ()) -> None:
        advice = "See the library's list for what there is."
        if recovered:
            advice = (
                f"The record of another was damaged; it may be this one: {', '.join(recovered)}. "
                "Rename it to go on with it."
            )
        super().__init__(f"There is no {what} {name!r}. {advice}")
        self.image = name
        self.recovered = ", ".join(recovered)


class RecoveredOverlayError(DiskError):
    """An overlay was requested that may be one whose name is lost."""

    def __init__(self, name: str, base: str, recovered: tuple[str, ...]) -> None:
        super().__init__(
            f"There is no overlay {name!r} over {base!r}, but the data of an overlay over it whose "
            f"record was damaged: {', '.join(recovered)}. Rename it to {name!r} to go on with it, "
            "or to another name to begin a new overlay."
        )
        self.image = name
        self.recovered = ", ".join(recovered)


class NameTakenError(DiskError):
    """Another image, or another overlay of the same image, has the name."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"There is an {what} {name!r} already. Choose another name, or remove it.")
        self.image = name


class UnfinishedImportError(DiskError):
    """The image is still being imported, or its import was interrupted."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The import of {name!r} is not finished. Continue it with the same file, or remove it."
        )
        self.image = name


class ImageBusyError(DiskError):
    """The image, overlay or cache is open."""

    def __init__(self, name: str, *, is_base: bool = False) -> None:
        why = "two that write to one disk would destroy it."
        if is_base:
            why = (
                "overlays over one disk can be open together in one tab, while nobody has the disk "
                "itself open to write."
            )
        super().__init__(f"{name!r} is open, here or in another tab. Close it there first: {why}")
        self.image = name


class HasOverlaysError(DiskError):
    """A change would make the overlays of an image unusable."""

    def __init__(self, name: str, overlays: list[str], consent: str) -> None:
        listed = ", ".join(map(repr, overlays))
        super().__init__(
            f"{name!r} has overlays: {listed}. They store the differences from it as it is now, "
            "so a change would make them unusable. Commit, export or remove them first, open one "
            f"of them instead, or agree to lose them ({consent})."
        )
        self.image = name
        self.overlays = ", ".join(overlays)


class UnversionedBaseError(DiskError):
    """An overlay needs an image whose versions can be distinguished."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"{url} has neither a strong ETag nor Last-Modified, so a change of the image would go "
            "unnoticed and destroy an overlay over it. Import the image, or have the server send "
            "one of them."
        )
        self.url = url
