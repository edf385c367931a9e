"""Paths on a disk as `pathlib` has them, as far as they need no disk."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Generic, NoReturn, Self, TypeVar

FilesOfDisk = TypeVar("FilesOfDisk")


class PureFilePath(Generic[FilesOfDisk]):
    """A path on a disk: always absolute, `/1/etc` with the number of a volume first."""

    __slots__ = ("_files", "_path")

    def __init__(self, files: FilesOfDisk, path: str | PurePosixPath = "/") -> None:
        self._files = files
        self._path = PurePosixPath(f"/{str(path).lstrip('/')}")  # POSIX keeps two slashes apart

    def __str__(self) -> str:
        return str(self._path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._path)!r})"

    def __fspath__(self) -> NoReturn:
        raise TypeError("a path on a disk is not a path of the operating system: use open()")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._files is other._files and self._path == other._path

    def __lt__(self, other: Self) -> bool:
        return self._path < other._path

    def __hash__(self) -> int:
        return hash(self._path)

    def __truediv__(self, other: str | PurePosixPath) -> Self:
        return self._at(self._path / other)

    def joinpath(self, *others: str | PurePosixPath) -> Self:
        """This path with others behind it; one that begins with `/` replaces what is before it."""
        return self._at(self._path.joinpath(*others))

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self._path.name

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return self._path.stem

    @property
    def suffix(self) -> str:
        """The last suffix of the name, with its dot."""
        return self._path.suffix

    @property
    def suffixes(self) -> list[str]:
        """All suffixes of the name."""
        return self._path.suffixes

    @property
    def parts(self) -> tuple[str, ...]:
        """The names from the root."""
        return self._path.parts

    @property
    def parent(self) -> Self:
        """The folder that it is in."""
        return self._at(self._path.parent)

    @property
    def parents(self) -> tuple[Self, ...]:
        """The folders above it, the nearest first."""
        return tuple(self._at(path) for path in self._path.parents)

    def with_name(self, name: str) -> Self:
        """The path with another last part."""
        return self._at(self._path.with_name(name))

    def with_suffix(self, suffix: str) -> Self:
        """The path with another last suffix, or without one."""
        return self._at(self._path.with_suffix(suffix))

    def relative_to(self, other: Self | str) -> PurePosixPath:
        """What leads from a folder above to here; raises `ValueError` if it is none."""
        return self._path.relative_to(str(other))

    def is_relative_to(self, other: Self | str) -> bool:
        """Whether it is that path or below it."""
        return self._path.is_relative_to(str(other))

    def match(self, pattern: str) -> bool:
        """Whether the end of the path, or all of it, fits a pattern, as in `pathlib`."""
        return self._path.match(pattern)

    def as_posix(self) -> str:
        """The path as text."""
        return str(self._path)

    def _at(self, path: PurePosixPath) -> Self:
        return type(self)(self._files, path)


def pattern_parts(pattern: str) -> tuple[str, ...]:
    """The parts of a glob pattern; raises `ValueError` for one that is empty or absolute."""
    parts = PurePosixPath(pattern).parts
    if not parts or parts[0] == "/":
        raise ValueError(f"not a relative pattern: {pattern!r}")
    return tuple(
        part
        for number, part in enumerate(parts)
        if part != "**" or number == 0 or parts[number - 1] != "**"
    )
