"""What tests of crashes share: what a disk may hold after one, and a machine that has them."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import ClassVar, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from aero_browser_disk.errors import StorageFullError
from aero_browser_disk.testing.failing_files import (
    FATES,
    FailingStorage,
    Fate,
    Fragment,
    PowerCutError,
)

T = TypeVar("T")

SECTOR = 512
PLENTY = 1 << 40
"""Bytes of free space that nothing fills."""


def now(coroutine: Coroutine[object, object, T]) -> T:
    """What a coroutine returns that waits for nothing: a loop for each would take most time."""
    while True:
        try:
            assert coroutine.send(None) is None, "it waits"  # else it only lets others go on
        except StopIteration as done:
            return done.value


# ── what may be there ─────────────────────────────────────────────────────────────────────────────


class Expected:
    """What a disk holds, and what each of its sectors may hold after a crash."""

    def __init__(self, content: bytes) -> None:
        self.content = bytearray(content)
        self._may_be: dict[int, set[bytes]] = {}  # of sectors written since the last flush

    def copy(self) -> Expected:
        """Another one, which may be checked without changing this one."""
        copy = Expected(self.content)
        copy._may_be = {sector: set(contents) for sector, contents in self._may_be.items()}
        return copy

    def begin(self, offset: int, data: bytes) -> bytearray:
        """The content after a write that has begun: a crash may leave each sector old or new."""
        after = bytearray(self.content)
        after[offset : offset + len(data)] = data
        if data:
            for sector in range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1):
                part = slice(sector * SECTOR, (sector + 1) * SECTOR)
                may_be = self._may_be.setdefault(sector, {bytes(self.content[part])})
                may_be.add(bytes(after[part]))
        return after

    def flushed(self) -> None:
        """Notes that a crash changes nothing of the content as it is."""
        self._may_be.clear()

    def take_either(self, found: bytes, after: bytes) -> None:
        """Takes over what a failed write left: each sector is the old one or that of `after`."""
        for sector, part in self._changed(found):
            assert part == _sector(after, sector), f"sector {sector} is wrong after a failed write"
        self.content[:] = found

    def observe(self, found: bytes) -> None:
        """Takes over what one or more failed writes left: each sector is one that was written."""
        assert len(found) == len(self.content), "another size"
        for sector, part in self._changed(found):
            assert part in self._may_be.get(sector, ()), f"sector {sector} is wrong"
        self.content[:] = found

    def check_after_crash(self, found: bytes) -> None:
        """Takes over what is there after a crash, which must be what was promised."""
        self.observe(found)
        self.flushed()

    def _changed(self, found: bytes) -> Iterator[tuple[int, bytes]]:
        """The sectors that are not as they were, with what was found."""
        if found != self.content:
            for sector in range(-(-len(self.content) // SECTOR)):
                part = _sector(found, sector)
                if part != _sector(self.content, sector):
                    yield sector, part


def _sector(content: bytes | bytearray, number: int) -> bytes:
    return bytes(content[number * SECTOR : (number + 1) * SECTOR])


# ── how it ends ───────────────────────────────────────────────────────────────────────────────────


def all_left_by_kill(storage: FailingStorage) -> Iterator[FailingStorage]:
    """All sorts of what may be there after a process died in the last change of a storage."""
    fragments = sum(f.change == storage.changes for f in storage.unflushed())
    for kept in {0, 1, fragments // 2, fragments - 1, fragments}:
        yield storage.after_kill(kept)


def all_left_by_power_cut(storage: FailingStorage, usual: Fate) -> Iterator[FailingStorage]:
    """All sorts of what may be there after a power cut, when most fragments have one fate."""
    for odd in (0.0, 0.3, 0.7):
        chance = random.Random(f"{storage.changes}/{odd}")
        yield storage.after_power_cut(mostly(usual, odd, chance))


def mostly(usual: Fate, odd: float, chance: random.Random) -> Callable[[Fragment], Fate]:
    """One fate for most fragments, any for the share that is `odd`."""
    return lambda _: chance.choice(FATES) if chance.random() < odd else usual


def a_power_cut(storage: FailingStorage, chance: random.Random) -> Callable[[Fragment], Fate]:
    """Mostly one fate, so that every mixture comes, and the pure ones often.

    Or all but one change are there: a medium takes up writes in an order of its own.
    """
    changes = sorted({fragment.change for fragment in storage.unflushed()})
    if changes and chance.random() < 0.5:
        odd_one, fate = chance.choice(changes), chance.choice(FATES)
        return lambda fragment: fate if fragment.change == odd_one else "kept"
    return mostly(chance.choice(FATES), chance.choice([0.0, 0.1, 0.5, 1.0]), chance)


# ── any order of anything ─────────────────────────────────────────────────────────────────────────

FREE = st.one_of(st.just(PLENTY), st.integers(-2048, 4096), st.integers(-8192, 65536))


class DyingMachine(RuleBasedStateMachine):
    """Files that fail, fill up, and are left by kills and power cuts, for what a subclass does.

    It calls `begin` first, does what may die within `perhaps_dying`, and has `reopen`.
    """

    paths: ClassVar[tuple[str | None, ...]] = (None,)
    """Of files that may fail alone; None is any."""

    def begin(self, atom: int) -> None:
        self.storage = FailingStorage(atom=atom)
        self.kills = True
        self.randomness = random.Random(0)

    @rule(
        operation=st.sampled_from(["open", "read", "write", "truncate", "allocate", "flush"]),
        at=st.integers(1, 4),
        path=st.integers(0, 2),
        written=st.integers(0, 8192),
        full=st.booleans(),
    )
    def fail(self, operation, at, path, written, full) -> None:
        can_be_full = operation in ("write", "truncate", "allocate")
        error = StorageFullError("told") if full and can_be_full else None
        path = self.paths[path % len(self.paths)]
        self.storage.fail(operation, at=at, path=path, written=written, error=error)

    @rule(free=FREE)
    def change_quota(self, free: int) -> None:
        self.storage.quota = max(0, self.storage.used + free)

    @rule(free=FREE)
    def change_device(self, free: int) -> None:
        """Others fill the device, or leave it: what was reserved stays."""
        self.storage.device = max(0, self.storage.used_on_device + free)

    @precondition(lambda self: self.may_crash())
    @rule(change=st.integers(1, 8), kills=st.booleans(), seed=st.integers(0, 1 << 16))
    def plan_a_crash(self, change: int, kills: bool, seed: int) -> None:
        self.kills, self.randomness = kills, random.Random(seed)
        self.storage.cut_power_at(change)

    @rule()
    def kill(self) -> None:
        self.kills = True
        self.crash(in_a_change=False)
        self.reopen()

    @rule(seed=st.integers(0, 1 << 16))
    def cut_power(self, seed: int) -> None:
        self.kills, self.randomness = False, random.Random(seed)
        self.crash(in_a_change=False)
        self.reopen()

    @contextmanager
    def perhaps_dying(self) -> Iterator[None]:
        try:
            yield
        except PowerCutError:
            self.crash(in_a_change=True)
            self.reopen()

    def crash(self, *, in_a_change: bool) -> None:
        """Takes the storage as a crash leaves it, and checks what is in it."""
        self.before_crash(is_power_cut=not self.kills)
        if not self.kills:
            after = self.storage.after_power_cut(a_power_cut(self.storage, self.randomness))
        elif in_a_change:
            after = self.storage.after_kill(self.randomness.randrange(12))
        else:
            after = self.storage.after_kill()
        quota, device = self.storage.quota, self.storage.device
        self.storage = after
        self.storage.quota = self.storage.device = PLENTY
        self.check_after_crash()
        self.storage.quota, self.storage.device = quota, device

    def may_crash(self) -> bool:
        """Whether there are changes to come."""
        return True

    def before_crash(self, *, is_power_cut: bool) -> None:
        """Notes what is promised until then."""

    def check_after_crash(self) -> None:
        """Looks at what is there, before anything is opened."""

    def reopen(self) -> None:
        """Opens what is there, and checks it."""
        raise NotImplementedError


def for_crashes(examples: int) -> settings:
    """How Hypothesis runs such a machine."""
    return settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
