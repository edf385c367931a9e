"""The cost of writing to an overlay, and of opening a large one."""

from __future__ import annotations

import random
import statistics

from benchmarks.browser import BenchPage
from benchmarks.results import Measure
from benchmarks.workloads import KIB, MIB

AREA = 64 * MIB
WRITES = 2048
EVERY = 64
ROUNDS = 7
WARM_UP = 10  # rounds until the browser has optimised Python's interpreter, as it is in use
MANY = 100_000
DISK = 40 << 30


def overlay_writes(page: BenchPage) -> list[Measure]:
    """Writes of 4 KiB, with a flush every 64, alternating with a bare file of the same size."""
    chance = random.Random(4)  # noqa: S311 - it is to be the same each time
    measures = []
    scattered = [chance.randrange(AREA // (4 * KIB)) * 4 * KIB for _ in range(WRITES)]
    for name, offsets in (("scattered", scattered), ("in a row", range(0, WRITES * 4096, 4096))):
        values = {"offsets": list(offsets), "every": EVERY, "size": AREA}
        bare, first, again = [], [], []
        for _ in range(WARM_UP + ROUNDS):
            bare.append(page.call("bare_writes", **values))
            ours = page.call("writes", **values)
            first.append(ours["first"])
            again.append(ours["again"])
        floor = statistics.median(bare[WARM_UP:]) * 1000 / WRITES
        for state, times in (("new", first), ("written over", again)):
            cost = statistics.median(times[WARM_UP:]) * 1000 / WRITES
            what = f"overlay write of 4 KiB, {name}, {state}, flush every {EVERY}"
            measures.append(Measure(what, cost, "µs", floor, goal=2.5))
    return measures


def many_written(page: BenchPage) -> list[Measure]:
    """Opens an overlay with 100,000 written blocks of a large disk."""
    chance = random.Random(5)  # noqa: S311 - it is to be the same each time
    offsets = [block * 4 * KIB for block in chance.sample(range(DISK // (4 * KIB)), MANY)]
    page.call("fill", offsets=offsets, every=EVERY, size=DISK)
    opened = page.call("opening")
    if opened["blocks"] != MANY:
        raise AssertionError(f"{opened['blocks']} of {MANY} blocks are there")
    return [
        Measure(f"opening an overlay of 100,000 blocks, {state}", opened[state], "ms", goal=500)
        for state in ("killed", "closed")
    ]


def writes(page: BenchPage) -> list[Measure]:
    """All measures of this module."""
    page.start("writes")
    return [*overlay_writes(page), *many_written(page)]
