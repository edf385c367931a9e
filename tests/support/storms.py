"""What rounds of the public API run on: storage that can be killed, time that hurries, a limit.

A round draws everything from one seed, so that its number repeats it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar, Literal, TypeVar

from aero_browser_disk.errors import DiskError
from aero_browser_disk.platform.base import HttpClient, Platform
from aero_browser_disk.platform.memory import MemoryLocks
from aero_browser_disk.testing.failing_files import FATES, FailingStorage, Operation

T = TypeVar("T")
Step = Callable[[], Awaitable[None]]

SECTOR = 512
PLENTY = 1 << 40
"""Bytes of free space that nothing fills."""

LONGEST_CALL_S = 100.0
"""A call that takes longer hangs: every wait in a round is short."""


class KilledError(Exception):
    """The process that did the call is dead."""


class HurriedClock:
    """The system's time, moved on by what is slept, which takes none."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)


class LastingStorage(FailingStorage):
    """A `FailingStorage` that says it lasts, and tells when its power is cut."""

    def __init__(self, **options: int) -> None:
        super().__init__(**options)
        self.cut = asyncio.Event()

    @property
    def kind(self) -> Literal["folder"]:  # type: ignore[override]
        return "folder"

    def _dies(self) -> bool:
        dies = super()._dies()
        if dies:
            self.cut.set()
        return dies

    def restarted(self, chance: random.Random, *, power: bool) -> LastingStorage:
        """What the next start finds, after a power cut or after the process was killed."""
        left = self.after_power_cut(lambda _: chance.choice(FATES)) if power else self.after_kill()
        after = LastingStorage(quota=self.quota, device=self.device, atom=self._atom)
        after._nodes = left._nodes
        return after


class Machine:
    """A process with its storage, which may be killed and started again."""

    def __init__(self, chance: random.Random, http: HttpClient) -> None:
        self.chance = chance
        self.clock = HurriedClock()
        self.storage = LastingStorage(atom=chance.choice([1, 512, 512]))
        self._http = http
        self.locks = MemoryLocks()
        self.log: list[str] = []

    @property
    def platform(self) -> Platform:
        return Platform(self._http, self.storage, self.locks, self.clock)

    def note(self, what: str) -> None:
        self.log.append(what)

    async def end_tasks(self) -> None:
        """Ends what a process does: it is dead."""
        while dead := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in dead:
                task.cancel()
            done, left = await asyncio.wait(dead, timeout=LONGEST_CALL_S)
            for task in done:
                if not task.cancelled():
                    task.exception()
            assert not left, f"cancelled, and does not end: {left}"

    async def restart(self) -> None:
        """A new process on what is left of the files; the tasks of the old one are gone."""
        await self.end_tasks()
        power = self.chance.random() < 0.5
        self.note(f"restart after {'a power cut' if power else 'a kill'}")
        self.storage = self.storage.restarted(self.chance, power=power)
        self.locks = MemoryLocks()

    def heal(self) -> None:
        """From now on its files neither fail nor fill nor are killed."""
        self.note("all is well")
        self.storage._faults.clear()
        self.storage._cut_at = None
        self.storage.quota = self.storage.device = PLENTY

    def damage(self, below: str = "") -> str | None:
        """Turns one bit of a file that is not empty."""
        paths = [p for p in self.storage.paths if p.startswith(below) and self.storage.content(p)]
        if not paths:
            return None
        path = self.chance.choice(paths)
        content = self.storage.content(path)
        at = self.chance.randrange(len(content))
        self.storage.damage(path, at, bytes([content[at] ^ 1 << self.chance.randrange(8)]))
        self.note(f"bit of {path} at {at} of {len(content)}")
        return path

    async def call(self, what: str, work: Coroutine[Any, Any, T]) -> T:
        """What a public call returns. Raises `DiskError` or `KilledError`; else it is a finding."""
        self.note(what)
        task = asyncio.ensure_future(work)
        dying = asyncio.ensure_future(self.storage.cut.wait())
        try:
            await asyncio.wait({task, dying}, timeout=LONGEST_CALL_S, return_when="FIRST_COMPLETED")
            if self.storage.cut.is_set():
                task.cancel()
                await asyncio.wait({task}, timeout=1)
                if task.done() and not task.cancelled():
                    task.exception()
                raise KilledError
            assert task.done(), f"{what} hangs"
            try:
                return task.result()
            except DiskError as error:
                self.note(f"  {type(error).__name__}: {str(error)[:150]}")
                raise
        finally:
            task.cancel()
            dying.cancel()
            await asyncio.wait({dying})


class Round:
    """Steps in an order by chance, on a machine that is killed now and then. See `rounds`."""

    operations: ClassVar[tuple[Operation, ...]] = (
        "open",
        "read",
        "write",
        "truncate",
        "allocate",
        "flush",
        "remove",
    )
    """Of files, which may fail."""
    most_steps = 40

    def __init__(self, seed: int, http: HttpClient) -> None:
        self.chance = random.Random(seed)
        self.machine = Machine(self.chance, http)

    async def run(self) -> None:
        """Raises when something does not hold."""
        await self._begin()
        steps = self._steps()
        for _ in range(self.chance.randrange(4, self.most_steps)):
            step = self.chance.choice(steps)
            try:
                with contextlib.suppress(DiskError):
                    await step()
            except KilledError:
                self._stop()
                await self.machine.restart()
                self._forget()
        await self._end()

    # what a kind of round says

    def _stop(self) -> None:
        """Lets what goes on by itself start nothing new: it is of a process that is gone."""

    async def _begin(self) -> None:
        """What comes before everything else."""

    def _steps(self) -> list[Step]:
        """What is done, as often as it is in there."""
        raise NotImplementedError

    def _forget(self) -> None:
        """The process with its disks is dead."""
        raise NotImplementedError

    async def _end(self) -> None:
        """All is well again, so all must be there."""
        raise NotImplementedError

    # steps and parts of them

    def _a_range(self, size: int, *lengths: int) -> tuple[int, int]:
        offset = self.chance.randrange(size)
        longest = size - offset
        length = self.chance.choice([1, SECTOR, *lengths, self.chance.randrange(longest + 1)])
        return offset, min(length, longest)

    async def _fail_storage(self) -> None:
        operation = self.chance.choice(self.operations)
        at, times = self.chance.randrange(1, 5), self.chance.choice([1, 3, 1000])
        self.machine.note(f"storage: {operation} fails from call {at} on, {times} times")
        self.machine.storage.fail(operation, at=at, times=times)

    async def _fill(self) -> None:
        """By quota or on the device, to the last byte or nearly; or makes room."""
        storage = self.machine.storage
        free = self.chance.choice([0, 4096, 65536, PLENTY, PLENTY])
        self.machine.note(f"{free} bytes free")
        storage.quota = storage.used + free if self.chance.random() < 0.5 else PLENTY
        storage.device = storage.used_on_device + free

    async def _kill(self) -> None:
        at = self.chance.randrange(1, 12)
        self.machine.note(f"killed in change {at} from here")
        self.machine.storage.cut_power_at(at)
        if self.chance.random() < 0.3:
            raise KilledError
