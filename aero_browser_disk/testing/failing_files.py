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
from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn

from ..errors import StorageBusyError, StorageError, StorageFullError
from ..platform.base import FileFacts, StorageEstimate

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..platform.base import ReadableBuffer, WritableBuffer

Operation = Literal["open", "read", "write", "truncate", "allocate", "flush", "remove"]

Calls = list[tuple[Operation, str]]
Fragments = list[tuple["Fragment", bytes]]
"""With the bytes of each."""

Fate = Literal["kept", "lost", "zeros", "junk"]
"""What a power cut makes of a fragment that was not flushed: it is kept; it is lost, and the old
bytes are still there; its range has zeros, or bytes that nobody wrote."""
FATES: tuple[Fate, ...] = ("kept", "lost", "zeros", "junk")

ChangeKind = Literal["create", "write", "truncate", "allocate"]

SECTOR = 512
DEVICE_BLOCK = 4096
"""The size of a device's blocks in bytes."""

# Inverted bits are the worst junk: they never equal what was written.
_JUNK = bytes(byte ^ 0xA5 for byte in range(256))


class PowerCutError(BaseException):
    """The power was cut. Not an Exception, so that no handler in the code under test catches it."""


class Fragment(NamedTuple):  # the quickest to make: tests of crashes make millions
    """A part of a change that was not flushed, which the disk may or may not have kept.

    `create`, `truncate` and `allocate` are kept or lost whole (`zeros` and `junk` mean kept); a
    `write` comes in fragments that no disk tears, each within one sector of the file. `change`
    numbers the changes of a storage in the order they were made, `offset` and `length` are those of
    the fragment; of a `truncate`, `offset` is the new size.
    """

    path: str
    kind: ChangeKind
    change: int
    offset: int
    length: int


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
        self._atom = atom
        self._nodes: dict[str, _Node] = {}
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
            node = self._nodes[path] = _Node()
            node.unflushed.append(_Change("create", self._changes, 0, b""))
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
        node = self._nodes[path] = _Node()
        node.data[:] = node.durable[:] = data
        node.blocks.update(_blocks(0, len(data)))
        node.durable_blocks |= node.blocks

    def damage(self, path: str, offset: int, data: bytes) -> None:
        """Changes bytes of a file on the medium, open or not."""
        node = self._nodes[path]
        _store(node.data, offset, data)
        _store(node.durable, offset, data)

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

    def _restarted(self, nodes: dict[str, _Node]) -> FailingStorage:
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

    def _fitting(self, node: _Node, offset: int, length: int) -> int:
        """How many bytes of a write fit, by the quota and on the device."""
        fits = max(0, min(length, self._room() + len(node.data) - offset))
        free = (self.device - self.used_on_device) // DEVICE_BLOCK
        for block in _blocks(offset, fits):
            if block not in node.blocks:
                free -= 1
                if free < 0:
                    return max(0, block * DEVICE_BLOCK - offset)
        return fits


class FailingFile:
    """A `File` of a `FailingStorage`."""

    def __init__(self, storage: FailingStorage, path: str, node: _Node) -> None:
        self._storage = storage
        self._path = path
        self._node: _Node | None = node

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

    def _open(self) -> _Node:
        if self._node is None:
            raise StorageError(self._path, "the file is closed")
        return self._node


# ── what is behind a path ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Change:
    """A change that was not flushed. `offset` is the new size when it is a truncation.

    The data of an allocation are zeros.
    """

    kind: ChangeKind
    number: int
    offset: int
    data: bytes

    def fragments(self, path: str, atom: int) -> Fragments:
        """The untearable fragments with their bytes, cut where the file's atoms end."""
        if self.kind != "write":
            whole = Fragment(path, self.kind, self.number, self.offset, len(self.data))
            return [(whole, self.data)]
        stop = self.offset + len(self.data)
        starts = [self.offset, *range((self.offset // atom + 1) * atom, stop, atom)]
        return [
            (
                Fragment(path, "write", self.number, start, end - start),
                self.data[start - self.offset : end - self.offset],
            )
            for start, end in zip(starts, [*starts[1:], stop], strict=True)
        ]


class _Node:
    """A file's bytes as readers see them, as the medium has them, and the changes between.

    `blocks` are those of the device that it takes.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = bytearray()
        self.blocks: set[int] = set()
        self.durable_blocks: set[int] = set()
        self.unflushed: list[_Change] = []
        self.is_held = False

    def write(self, number: int, offset: int, data: bytes) -> None:
        if data:
            _store(self.data, offset, data)
            self.blocks.update(_blocks(offset, len(data)))
            self.unflushed.append(_Change("write", number, offset, data))

    def truncate(self, number: int, size: int) -> None:
        _resize(self.data, size)
        _cut_blocks(self.blocks, size)
        self.unflushed.append(_Change("truncate", number, size, b""))

    def allocate(self, number: int, offset: int, length: int) -> None:
        if length:
            _store(self.data, offset, bytes(length))
            self.blocks.update(_blocks(offset, length))
            self.unflushed.append(_Change("allocate", number, offset, bytes(length)))

    def flush(self) -> None:
        for change in self.unflushed:
            if change.kind in ("write", "allocate"):
                _store(self.durable, change.offset, change.data)
            elif change.kind == "truncate":
                _resize(self.durable, change.offset)
        self.durable_blocks = set(self.blocks)
        self.unflushed.clear()

    def after_power_cut(self) -> _Node:
        """The file with what was flushed."""
        after = _Node()
        after.data[:] = self.durable
        after.blocks |= self.durable_blocks
        return after

    def after_kill(self) -> _Node:
        """The file with all that was written."""
        after = _Node()
        after.data[:] = self.data
        after.blocks |= self.blocks
        return after

    def after_kill_in(self, fragments: Fragments) -> _Node:
        """The file with all that was written, but of the last change only these fragments."""
        after = self.after_power_cut()
        for change in self.unflushed[:-1]:
            whole = Fragment("", change.kind, change.number, change.offset, len(change.data))
            after.take(whole, change.data, "kept")
        for fragment, data in fragments:
            after.take(fragment, data, "kept")
        return after

    def take(self, fragment: Fragment, data: bytes, fate: Fate) -> None:
        """Lets a fragment, which held `data`, be there as its fate has it."""
        if fate == "lost":
            return
        if fragment.kind == "truncate":
            _resize(self.data, fragment.offset)
            _cut_blocks(self.blocks, fragment.offset)
        elif fragment.kind != "create":
            stored = _by_fate(data, fate) if fragment.kind == "write" else data
            _store(self.data, fragment.offset, stored)
            self.blocks.update(_blocks(fragment.offset, fragment.length))


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


def _blocks(offset: int, length: int) -> range:
    """The device's blocks that a range of a file lies in."""
    return range(offset // DEVICE_BLOCK, -(-(offset + length) // DEVICE_BLOCK) if length else 0)


def _cut_blocks(blocks: set[int], size: int) -> None:
    end = -(-size // DEVICE_BLOCK)
    blocks.difference_update([block for block in blocks if block >= end])


def _by_fate(data: bytes, fate: Fate) -> bytes:
    if fate == "zeros":
        return bytes(len(data))
    return data.translate(_JUNK) if fate == "junk" else data


def _store(target: bytearray, offset: int, data: bytes) -> None:
    if not data:
        return
    if offset > len(target):
        _resize(target, offset)
    target[offset : offset + len(data)] = data


def _resize(target: bytearray, size: int) -> None:
    if size < len(target):
        del target[size:]
    else:
        target.extend(bytes(size - len(target)))
