"""Shared by the operations: the table of open disks, and reading plain values."""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, Generic, TypeVar

from ..disk import Disk
from ..errors import DiskClosedError, InvalidOptionError
from ..platform.failures import Value, camel_keys

_MAX_BYTES = 1 << 63

Operation = Callable[..., Awaitable[Value]]

AnyDisk = TypeVar("AnyDisk", bound=Disk)


class OpenDisks(Generic[AnyDisk]):
    """The open disks of the page, by number."""

    def __init__(self) -> None:
        self._disks: dict[int, AnyDisk] = {}
        self._dependents: dict[int, list[Callable[[], None]]] = {}
        self._numbers = itertools.count(1)

    def add(self, disk: AnyDisk) -> int:
        """Adds a disk; returns its number, which is never used again."""
        number = next(self._numbers)
        self._disks[number] = disk
        return number

    def __iter__(self) -> Iterator[AnyDisk]:
        """All that are open."""
        return iter(tuple(self._disks.values()))

    def __getitem__(self, number: Value) -> AnyDisk:
        """The disk of that number; raises `DiskClosedError` when there is none any more."""
        if not isinstance(number, int) or number not in self._disks:
            raise DiskClosedError
        return self._disks[number]

    def remove(self, number: int) -> AnyDisk | None:
        """Removes a disk from the table; returns it unless it was removed before."""
        for end in self._dependents.pop(number, ()):
            end()
        return self._disks.pop(number, None)

    def when_removed(self, number: int, end: Callable[[], None]) -> None:
        """Calls `end` when that disk is removed, before it is closed."""
        self._dependents.setdefault(number, []).append(end)


def whole(name: str, value: Value) -> int:
    """`value`, a number of bytes; raises `InvalidOptionError` when it is none."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= _MAX_BYTES:
        raise InvalidOptionError(name, value, "a whole number of bytes")
    return value


def checked(name: str, value: Value, types: tuple[type, ...], expected: str) -> Value:
    """`value` if it is of one of `types`, where a bool is no number; else `InvalidOptionError`."""
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise InvalidOptionError(name, value, expected)
    return value


def text(name: str, value: Value) -> str:
    """`value`, a text; raises `InvalidOptionError` when it is none."""
    return str(checked(name, value, (str,), "text"))


def plain(found: Any) -> dict[str, Value]:
    """The fields of a dataclass, with keys as JavaScript has them."""
    return camel_keys(asdict(found))


def function(name: str, value: Any) -> Callable[..., Awaitable[Any]]:
    """`value`, which the page can be called through; raises `InvalidOptionError` when it cannot."""
    if not callable(value):
        raise InvalidOptionError(name, value, "a function")
    called: Callable[..., Awaitable[Any]] = value
    return called


def snake_keys(values: Mapping[str, Value]) -> dict[str, Value]:
    """`values` with keys as Python has them."""
    return {re.sub("([A-Z])", lambda m: f"_{m[1].lower()}", key): v for key, v in values.items()}
