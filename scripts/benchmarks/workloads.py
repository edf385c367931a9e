"""The workloads: recorded boots, and synthetic patterns that are the same each time."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from aero_browser_disk.testing.synthetic_image import SyntheticImage
from lib.project import SCRIPTS

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
TRACES = SCRIPTS / "benchmarks" / "traces"
SEED = 15
LONGEST_THINK_MS = 2000.0

Read = tuple[int, int, float]
"""Offset and length in bytes, and how long the guest is busy before the read, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Reads of one image, one after the other."""

    name: str
    image: str
    reads: tuple[Read, ...]

    @property
    def bytes(self) -> int:
        """Bytes read, including repeated ones."""
        return sum(length for _, length, _ in self.reads)

    @property
    def distinct_bytes(self) -> int:
        """Distinct bytes of the image that are read."""
        total = reached = 0
        for start, length, _ in sorted(self.reads):
            stop = start + length
            total += max(0, stop - max(start, reached))
            reached = max(reached, stop)
        return total

    @property
    def think_s(self) -> float:
        """The total time that the guest is busy."""
        return sum(think for _, _, think in self.reads) / 1000

    def ranges_to_check(self, max_count: int = 24) -> list[tuple[int, int]]:
        """Some of the ranges, few enough for a quick checksum."""
        step = max(1, len(self.reads) // max_count)
        return [(offset, min(length, 64 * KIB)) for offset, length, _ in self.reads[::step]]


def recorded_boot(name: str, think: float = 0.0) -> tuple[Workload, int]:
    """A boot from its trace, and the size of its image.

    `think` scales the time that the guest was busy between two reads, capped at two seconds: the
    emulator that recorded it ran on a busy machine.
    """
    trace = json.loads(gzip.decompress((TRACES / f"{name}.json.gz").read_bytes()))
    reads: Sequence[tuple[int, int, float]] = trace["reads"]
    pauses = [0.0, *(min(LONGEST_THINK_MS, b[2] - a[2]) for a, b in pairwise(reads))]
    timed = tuple(
        (offset, length, pause * think)
        for (offset, length, _), pause in zip(reads, pauses, strict=True)
    )
    title = "boot, thinking" if think else "boot"
    return Workload(title, "boot.img", timed), trace["size"]


def sequential(length: int) -> Workload:
    """1 MiB at a time, from 256 MiB on."""
    start = 256 * MIB
    reads = [(at, MIB, 0.0) for at in range(start, start + length, MIB)]
    return Workload("sequential", "data.img", tuple(reads))


def random_pages(count: int, size: int) -> Workload:
    """4 KiB anywhere."""
    chance = random.Random(SEED)  # noqa: S311 - it is to be the same each time
    reads = [(chance.randrange(size // 4096) * 4096, 4096, 0.0) for _ in range(count)]
    return Workload("random 4 KiB", "data.img", tuple(reads))


def strided(count: int) -> Workload:
    """4 KiB out of every 256 KiB, as a file system's tables are read."""
    reads = [(128 * MIB + index * 256 * KIB, 4096, 0.0) for index in range(count)]
    return Workload("strided", "data.img", tuple(reads))


def mixed(count: int, size: int) -> Workload:
    """Short files read as a whole, at random offsets; one read in four repeats an earlier one."""
    chance = random.Random(SEED + 1)  # noqa: S311 - it is to be the same each time
    reads: list[Read] = []
    while len(reads) < count:
        if reads and chance.random() < 0.25:
            reads.append(chance.choice(reads))
            continue
        at = chance.randrange(size // 4096 - 256) * 4096
        for _ in range(chance.choice((1, 1, 2, 4, 8))):
            length = chance.choice((4, 4, 16, 64, 128)) * KIB
            reads.append((at, length, 0.0))
            at += length
    return Workload("mixed", "data.img", tuple(reads[:count]))


DATA_SIZE = 512 * MIB
DATA = SyntheticImage(DATA_SIZE, seed=3)
