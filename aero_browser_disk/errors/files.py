"""Errors of the files on a disk."""

from __future__ import annotations

from .base import DiskError


class UnknownFileSystemError(DiskError):
    """A volume whose files cannot be read here."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"The files of this volume cannot be shown: it has {found}. FAT, exFAT, NTFS, ext2, "
            "ext3, ext4 and ISO 9660 can be read."
        )
        self.found = found


class DamagedFileSystemError(DiskError):
    """A file system that contradicts itself."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The file system is damaged, or in use with changes not yet written: {what}. Check it "
            "with the system that it belongs to."
        )
        self.what = what


class NoSuchFileError(DiskError):
    """No file or folder has that path."""

    def __init__(self, path: str) -> None:
        super().__init__(f"There is no {path} on this disk.")
        self.path = path


class UnreadableFileError(DiskError):
    """The file is there, but its content cannot be read this way."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be read: {reason}.")
        self.path = path
        self.reason = reason


class UnreadableImageError(DiskError):
    """A local file cannot be opened or read as a disk image."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be read as a disk image: {reason}.")
        self.path = path
        self.reason = reason


class CannotWaitError(DiskError):
    """Bytes that are not cached were read where the caller cannot wait for them."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"These bytes are not cached, and this call cannot wait for them: {reason}"
        )
        self.reason = reason
