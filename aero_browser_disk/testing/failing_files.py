"""Files in memory that fail, tear and forget as real ones do when a disk is full or power goes.

    storage = FailingStorage()
    storage.cut_power_at(7)                        # in the seventh change from now
    with contextlib.suppress(PowerCutError):
        await something_that_writes(storage)
    after = storage.after_power_cut(lambda fragment: random.choice(FATES))
    ...  # open `after`: what must hold then?

Everything is deterministic. With Hypothesis let it draw the fates, and the number of the change:
`st.randoms(use_true_random=False)` gives a `random` that shrinks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

from ..errors import StorageBusyError, StorageError, StorageFullError
from ..platform.base import FileFacts, StorageEstimate
from .power_cuts import (
    DEVICE_BLOCK,
    FATES,
    SECTOR,
    Change,
    Fate,
    FileState,
    Fragment,
    Fragments,
    device_blocks,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..platform.base import ReadableBuffer, WritableBuffer

__all__ = [
    "DEVICE_BLOCK",
    "FATES",
    "FailingFile",
    "FailingStorage",
    "Fate",
    "Fragment",
    "PowerCutError",
]

Operation = Literal["open", "read", "write", "truncate", "allocate", "flush", "remove"]

Calls = list[tuple[Operation, str]]


class PowerCutError(BaseException):
    """The power was cut. Not an Exception, so that no handler in the code under test catches it."""


class FailingStorage:
    """A `Storage` that remembers which bytes are durable: those that a `flush()` followed.

    By default it does not fail. `quota` is in bytes of file content, holes included;
    `device` is in bytes of the blocks that were written or allocated: there a file may be longer
    than what it takes, and a write into its hole may be refused. A write that does not fit stores
    the part that does, as Chromium does, then raises `StorageFullError`. Removing is durable at
    once. A power cut keeps or loses unflushed changes in any combination and order; `atom` is the
    number of bytes that are never torn (a sector; 1 for the worst disk there is).
    """

    def __init__(self, *, quota: int = 1 << 40, device: int = 1 << 40, atom: int = SECTOR) -> None:
        self.quota = quota
        self.device = device
        self.operations: Calls = []
        """Every call so far that may fail, with its path. Closing and sizes never fail."""
        self.failures = 0
        """How many of them met a fault."""
        self._atom = atom
        self._nodes: dict[str, FileState] = {}
        self._faults: list[_Fault] = []
        self._changes = 0
        self._cut_at: int | None = None
        self._is_cut = False

    # ── the storage ──

    @property
    def kind(self) -> Literal["memory"]:
        return "memory"

    async def open(self, path: str, *, create: bool = True) -> FailingFile:
        self._begin("open", path)
        node = self._nodes.get(path)
        if node is None:
            if not create:
                raise FileNotFoundError(path)
            if self._dies():
                raise PowerCutError
            node = self._nodes[path] = FileState()
            node.unflushed.append(Change("create", self._changes, 0, b""))
        elif node.is_held:
            raise StorageBusyError(path)
        node.is_held = True
        return FailingFile(self, path, node)

    async def list(self, path: str) -> list[str]:
        self._check_power()
        prefix = f"{path}/" if path else ""
        below = (name.removeprefix(prefix) for name in self._nodes if name.startswith(prefix))
        return sorted({name.split("/", 1)[0] for name in below})

    async def facts(self, path: str) -> FileFacts | None:
        self._check_power()
        node = self._nodes.get(path)
        return None if node is None else FileFacts(len(node.data), 0.0)

    async def remove(self, path: str) -> None:
        self._begin("remove", path)
        gone = [name for name in self._nodes if name == path or name.startswith(f"{path}/")]
        for name in gone:
            if self._nodes[name].is_held:
                raise StorageBusyError(name)
        if gone and self._dies():
            raise PowerCutError
        for name in gone:
            del self._nodes[name]

    async def estimate(self) -> StorageEstimate:
        self._check_power()
        return StorageEstimate(usage=self.used, quota=max(self.quota, self.used))

    # ── behind its back ──

    @property
    def used(self) -> int:
        """Bytes in all files, holes included."""
        return sum(len(node.data) for node in self._nodes.values())

    @property
    def used_on_device(self) -> int:
        """Bytes of the device's blocks that all files take."""
        return sum(len(node.blocks) for node in self._nodes.values()) * DEVICE_BLOCK

    @property
    def paths(self) -> tuple[str, ...]:
        """All files, sorted."""
        return tuple(sorted(self._nodes))

    def content(self, path: str) -> bytes:
        """The content of a file as a reader would see it. Raises KeyError."""
        return bytes(self._nodes[path].data)

    def put(self, path: str, data: bytes) -> None:
        """Creates or replaces a closed file; durable at once."""
        node = self._nodes[path] = FileState()
        node.data[:] = node.durable[:] = data
        node.blocks.update(device_blocks(0, len(data)))
        node.durable_blocks |= node.blocks

    def damage(self, path: str, offset: int, data: bytes) -> None:
        """Changes bytes of a file on the medium, open or not."""
        self._nodes[path].damage(offset, data)

    # ── faults ──

    def fail(
        self,
        operation: Operation,
        *,
        at: int = 1,
        times: int = 1,
        path: str | None = None,
        error: Exception | None = None,
        written: int = 0,
    ) -> None:
        """Makes the `at`-th such call from now, and the next `times - 1` after it, raise `error`.

        `path` counts the calls on one file only. A write stores its first `written` bytes before.
        The default error is a `StorageError`.
        """
        self._faults.append(_Fault(operation, at - 1, times, path, error, written))

    def cut_power_at(self, change: int) -> None:
        """Cuts the power in the `change`-th change from now: that call and all later ones raise.

        Changes are writes, truncations, allocations, flushes, removals and creations; see
        `changes`. The interrupted write may be kept; an interrupted flush, removal or creation has
        not happened.
        """
        self._cut_at = self._changes + change

    @property
    def changes(self) -> int:
        """How many changes there were: run once, then cut the power at each of them."""
        return self._changes

    # ── after it ──

    def unflushed(self) -> tuple[Fragment, ...]:
        """The fragments whose fate a power cut decides now, in the order they were written."""
        return tuple(fragment for fragment, _ in self._fragments())

    def after_power_cut(self, fate: Callable[[Fragment], Fate]) -> FailingStorage:
        """The storage as the next start finds it, all of it durable and nothing open.

        `fate` is asked about each of `unflushed()`, in that order. A file whose creation was lost
        does not exist. This storage is not changed: ask for as many outcomes as you like.
        """
        left = {path: node.after_power_cut() for path, node in self._nodes.items()}
        for fragment, data in self._fragments():
            chosen = fate(fragment)
            if fragment.path not in left:
                continue
            if fragment.kind == "create" and chosen == "lost":
                del left[fragment.path]
            else:
                left[fragment.path].take(fragment, data, chosen)
        return self._restarted(left)

    def after_kill(self, kept: int | None = None) -> FailingStorage:
        """The storage after the process died but the system did not: every write is there.

        With `kept`, it died in the last change, of which only so many fragments are there.
        """
        left = {}
        for path, node in self._nodes.items():
            last = node.unflushed[-1] if node.unflushed else None
            if kept is None or last is None or last.number < self._changes:
                left[path] = node.after_kill()
            elif kept or last.kind != "create":
                left[path] = node.after_kill_in(last.fragments(path, self._atom)[:kept])
        return self._restarted(left)

    def _fragments(self) -> Fragments:
        """All that is not flushed, in the order it was written."""
        fragments = [
            fragment
            for path, node in self._nodes.items()
            for change in node.unflushed
            for fragment in change.fragments(path, self._atom)
        ]
        fragments.sort(key=lambda fragment: fragment[0].change)
        return fragments

    def _restarted(self, nodes: dict[str, FileState]) -> FailingStorage:
        after = FailingStorage(quota=self.quota, device=self.device, atom=self._atom)
        for node in nodes.values():
            node.durable[:] = node.data
            node.durable_blocks |= node.blocks
        after._nodes = nodes
        return after

    # ── for its files ──

    def _begin(self, operation: Operation, path: str) -> _Fault | None:
        """Counts a call; raises, or for a write returns, the fault that meets it."""
        self._check_power()
        self.operations.append((operation, path))
        if not self._faults:
            return None
        met = [fault for fault in self._faults if fault.meets(operation, path)]
        self._faults = [fault for fault in self._faults if fault.times > 0]
        self.failures += bool(met)
        if met and operation != "write":
            raise met[0].error or StorageError(path, f"{operation} is set to fail")
        return met[0] if met else None

    def _dies(self) -> bool:
        """Counts a change; whether the power goes in it."""
        self._changes += 1
        self._is_cut = self._changes == self._cut_at
        return self._is_cut

    def _check_power(self) -> None:
        if self._is_cut:
            raise PowerCutError

    def _room(self) -> int:
        return max(0, self.quota - self.used)

    def _fitting(self, node: FileState, offset: int, length: int) -> int:
        """How many bytes of a write fit, by the quota and on the device."""
        fits = max(0, min(length, self._room() + len(node.data) - offset))
        free = (self.device - self.used_on_device) // DEVICE_BLOCK
        for block in device_blocks(offset, fits):
            if block not in node.blocks:
                free -= 1
                if free < 0:
                    return max(0, block * DEVICE_BLOCK - offset)
        return fits


class FailingFile:
    """A `File` of a `FailingStorage`."""

    def __init__(self, storage: FailingStorage, path: str, node: FileState) -> None:
        self._storage = storage
        self._path = path
        self._node: FileState | None = node

    def size(self) -> int:
        return len(self._open().data)

    def read_into(self, target: WritableBuffer, offset: int) -> int:
        node = self._open()
        self._storage._begin("read", self._path)
        found = node.data[offset : offset + len(target)]
        target[: len(found)] = found
        return len(found)

    def write(self, data: ReadableBuffer, offset: int) -> None:
        node = self._open()
        fault = self._storage._begin("write", self._path)
        dies = self._storage._dies()
        fits = bytes(data[: self._storage._fitting(node, offset, len(data))])
        stored = fits if fault is None else fits[: fault.written]
        node.write(self._storage.changes, offset, stored)
        if dies:
            raise PowerCutError
        if fault is not None:
            raise fault.error or StorageError(self._path, "a write is set to fail")
        if len(fits) < len(data):
            raise StorageFullError(self._path)

    def truncate(self, size: int) -> None:
        node = self._open()
        self._storage._begin("truncate", self._path)
        dies = self._storage._dies()
        if size - len(node.data) > self._storage._room():
            self._refuse(dies)
        node.truncate(self._storage.changes, size)
        if dies:
            raise PowerCutError

    def allocate(self, offset: int, length: int) -> None:
        node = self._open()
        self._storage._begin("allocate", self._path)
        dies = self._storage._dies()
        if self._storage._fitting(node, offset, length) < length:
            self._refuse(dies)
        node.allocate(self._storage.changes, offset, length)
        if dies:
            raise PowerCutError

    def flush(self) -> None:
        node = self._open()
        self._storage._begin("flush", self._path)
        if self._storage._dies():
            raise PowerCutError
        node.flush()

    def close(self) -> None:
        if self._node is not None:
            self._node.is_held = False
            self._node = None

    def _refuse(self, dies: bool) -> NoReturn:
        """Raises what a change that does not fit raises."""
        if dies:
            raise PowerCutError
        raise StorageFullError(self._path)

    def _open(self) -> FileState:
        if self._node is None:
            raise StorageError(self._path, "the file is closed")
        return self._node


@dataclass(slots=True)
class _Fault:
    """A failure of some calls to come: after `before` more, of the next `times`."""

    operation: Operation
    before: int
    times: int
    path: str | None
    error: Exception | None
    written: int

    def meets(self, operation: Operation, path: str) -> bool:
        """Counts a call; whether it fails."""
        if operation != self.operation or self.path not in (None, path):
            return False
        if self.before > 0:
            self.before -= 1
            return False
        self.times -= 1
        return True
