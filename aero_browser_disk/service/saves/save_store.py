"""Where the chunks and manifests of saves are: in a folder, or in a bucket.

A key is written once and never again. Every call blocks; raises `StoreError` when the store fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from ..stores.image_store import StoreError


class SaveStore(Protocol):
    """Objects by key, a relative path of letters, digits, dots and slashes."""

    def put(self, key: str, data: bytes) -> None:
        """Stores an object: after a crash it is there as a whole, or not at all.

        Once this returns it is there after a power failure too.
        """

    def get(self, key: str) -> bytes | None:
        """The object, None if it is not there."""

    def remove(self, key: str) -> None:
        """Removes the object and what a crash left of it; does nothing if it is not there."""

    def check(self) -> None:
        """Raises `StoreError` if the store cannot be used."""


class FolderSaveStore:
    """A folder, which must be there. Raises `OSError`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if not folder.is_dir():
            raise NotADirectoryError(f"saves.folder: {folder} is not a folder")

    def put(self, key: str, data: bytes) -> None:
        """As `SaveStore.put`."""
        # A folder that vanished, as with its mount, must not be made anew.
        self.check()
        path = self._folder / key
        with _errors_mapped():
            descriptor = self._create(path)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            _partial(path).rename(path)
            for folder in self._folders(path):
                _sync_folder(folder)

    def get(self, key: str) -> bytes | None:
        """As `SaveStore.get`."""
        with _errors_mapped():
            try:
                return (self._folder / key).read_bytes()
            except FileNotFoundError:
                return None

    def remove(self, key: str) -> None:
        """As `SaveStore.remove`."""
        path = self._folder / key
        with _errors_mapped():
            for file in (_partial(path), path):
                file.unlink(missing_ok=True)
        for folder in self._folders(path)[:-1]:
            # Not empty, or gone already.
            with suppress(OSError):
                folder.rmdir()

    def check(self) -> None:
        """As `SaveStore.check`."""
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise StoreError("the folder of saves is not there, or may not be written")

    def _create(self, path: Path) -> int:
        """Opens a new file for writing, in a folder that is made if it is not there."""
        while True:
            # `remove` may remove the folder with its last file at any moment.
            with suppress(FileNotFoundError):
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                return os.open(_partial(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

    def _folders(self, path: Path) -> list[Path]:
        """The folders that it is in, the innermost first, up to that of the store."""
        parents = list(path.parents)
        return parents[: parents.index(self._folder) + 1]


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _sync_folder(folder: Path) -> None:
    """Makes the names in it durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _errors_mapped() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Without the path: the reason reaches logs and clients of /readyz.
        raise StoreError(f"the folder of saves: {error.strerror}") from error
