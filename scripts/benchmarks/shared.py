"""The cost of a read for an emulator in a worker: from shared memory, and through Python."""

from __future__ import annotations

import random
import statistics

from benchmarks.browser import BenchPage
from benchmarks.micro import image_name
from benchmarks.results import Measure
from benchmarks.server import LOCAL, BenchServer
from benchmarks.workloads import KIB, MIB

REGION = 32 * MIB
ROUNDS = 9
READS = 4000
BLOCK = 16 * KIB
FEW_FRAMES = 512 * KIB  # in a region this large nearly every read misses the frames
MUCH = 1 << 30


def offsets_in(size: int, seed: int) -> list[int]:
    """Pages at random, the same each time."""
    chance = random.Random(seed)  # noqa: S311 - the same each time
    return [chance.randrange(size // (4 * KIB)) * 4 * KIB for _ in range(READS)]


def from_frames(page: BenchPage, server: BenchServer) -> list[Measure]:
    """Reads from shared memory, alternating with a bare lookup and copy."""
    page.start("shared")
    page.call("open", url=server.image_url("data.img"), key="shared", options={})
    page.call("sweep", offset=0, length=REGION, step=MIB)
    page.call("sweep", offset=0, length=REGION, step=4 * KIB)
    offsets = offsets_in(REGION, 1)
    page.call("bare_copies", size=64 * MIB, block=BLOCK)
    ours, bare = [], []
    for _ in range(ROUNDS):
        bare.append(page.call("bare_copy", offsets=offsets, length=4 * KIB))
        ours.append(page.call("try_reads", offsets=offsets, length=4 * KIB))
    page.call("close")
    costs = statistics.median(ours), "µs", statistics.median(bare)
    return [Measure("cached read of 4 KiB, shared memory", *costs, goal=1.5)]


def through_python(page: BenchPage, server: BenchServer) -> list[Measure]:
    """Synchronous reads from OPFS, alternating with a JavaScript worker that does the same."""
    page.start("shared")
    url = server.image_url("data.img")
    page.call("open", url=url, key="shared", options={}, sharedMemoryBytes=FEW_FRAMES)
    page.call("sweep", offset=0, length=2 * REGION, step=MIB)
    page.call("start_bare", size=2 * REGION)
    offsets = offsets_in(2 * REGION, 2)
    ours, bare = [], []
    for _ in range(ROUNDS):
        bare.append(page.call("bare_round_trips", offsets=offsets, length=4 * KIB))
        ours.append(page.call("read_sync", offsets=offsets, length=4 * KIB))
    page.call("end_bare")
    page.call("close")
    costs = statistics.median(ours), "µs", statistics.median(bare)
    return [Measure("synchronous read of 4 KiB, OPFS through Python", *costs, goal=1.6)]


def memory(page: BenchPage, server: BenchServer) -> list[Measure]:
    """Memory of the page and its workers, frames included: at rest, and after many reads."""
    page.start("shared")
    page.call("open", url=server.image_url(image_name(MUCH)), key="shared-much", options={})
    rest = page.memory()
    page.call("sweep", offset=0, length=MUCH, step=64 * KIB)
    after = page.memory()
    page.call("close")
    return [
        Measure("memory with a disk open", rest / 1e6, "MB"),
        Measure("memory after 1 GiB read", after / 1e6, "MB"),
    ]


def shared(page: BenchPage, server: BenchServer) -> list[Measure]:
    """All measures of this module."""
    server.shape(LOCAL)
    return [*from_frames(page, server), *through_python(page, server), *memory(page, server)]
