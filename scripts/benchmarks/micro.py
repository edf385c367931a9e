"""The cost of a cached read and of opening, which may not depend on the image's size."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence

from benchmarks.browser import BenchPage
from benchmarks.results import Measure
from benchmarks.server import LOCAL, BenchServer
from benchmarks.workloads import DATA_SIZE, KIB, MIB

REGION = 64 * MIB
ROUNDS = 9
WARM_UP = 30  # rounds until the browser has optimised Python's interpreter, as it is in use
MANY_BLOCKS = 100_000
SMALL_BLOCK = 4 * KIB
SIZES = {"1 GiB": 1 << 30, "32 GiB": 1 << 35, "1 TiB": 1 << 40}
SPREAD_BLOCKS = 64


def image_name(size: int) -> str:
    """The name of the synthetic image of a size."""
    return f"synthetic-{size}.img"


def cached_reads(page: BenchPage, server: BenchServer) -> list[Measure]:
    """Cached reads from Python, alternating with the bare loop in the same worker."""
    page.start("ours")
    page.call("open", url=server.image_url("data.img"), key="micro", options={})
    fill = [(at, 8 * MIB, 0) for at in range(0, REGION, 8 * MIB)]
    page.call("replay", reads=fill)
    page.call("make_bare", size=REGION)
    small = compare_reads(page, 4 * KIB, 4000)
    large = compare_reads(page, MIB, 120)
    page.call("end_bare")
    page.call("close")
    return [
        Measure("cached read of 4 KiB, from Python", *small, goal=4.0),
        Measure("cached read of 1 MiB, from Python", *large, goal=1.15),
    ]


def compare_reads(page: BenchPage, length: int, count: int) -> tuple[float, str, float]:
    """The median of a read here, the unit, and the median of the bare loop; in microseconds."""
    chance = random.Random(length)  # noqa: S311 - it is to be the same each time
    offsets = [chance.randrange((REGION - length) // length) * length for _ in range(count)]
    ours, bare = [], []
    for _ in range(WARM_UP + ROUNDS):
        bare.append(page.call("bare_reads", offsets=offsets, length=length))
        ours.append(page.call("cached_reads", offsets=offsets, length=length))
    return statistics.median(ours[WARM_UP:]), "µs", statistics.median(bare[WARM_UP:])


def image_sizes(page: BenchPage, server: BenchServer) -> list[Measure]:
    """The same reads of a small image and of large ones."""
    costs = {}
    for name, size in SIZES.items():
        page.start("ours")
        url = server.image_url(image_name(size))
        page.call("open", url=url, key=f"micro-{size}", options={"read_ahead": False})
        step = size // SPREAD_BLOCKS // (64 * KIB) * (64 * KIB)
        offsets = [index * step for index in range(SPREAD_BLOCKS)]
        page.call("replay", reads=[(offset, 4 * KIB, 0) for offset in offsets])
        costs[name] = time_reads(page, offsets * 40)
        page.call("close")
    first = costs["1 GiB"]
    return [
        Measure(f"cached read of 4 KiB, image of {name}", cost, "µs", first, goal=1.25)
        for name, cost in costs.items()
        if name != "1 GiB"
    ]


def time_reads(page: BenchPage, offsets: Sequence[int]) -> float:
    """Microseconds for a read, best of several rounds: the best is the least disturbed."""
    values = {"offsets": offsets, "length": 4 * KIB}
    return min(float(page.call("cached_reads", **values)) for _ in range(WARM_UP + ROUNDS))


def many_blocks(page: BenchPage, server: BenchServer) -> list[Measure]:
    """Opens and reads an image with 100,000 cached blocks."""
    options = {"block_size": SMALL_BLOCK, "read_ahead": False}
    url = server.image_url("data.img")
    assert MANY_BLOCKS * SMALL_BLOCK <= DATA_SIZE
    few = open_filled(page, url, "micro-few", options, 1000)
    many = open_filled(page, url, "micro-many", options, MANY_BLOCKS)
    page.start("ours")
    index = page.call("index_bytes", url=url, key="micro-many", options=options)
    page.call("close")
    return [
        Measure("opening with 100,000 cached blocks", many[0], "ms", goal=500),
        Measure("opening with 1,000 cached blocks", few[0], "ms"),
        Measure("memory for the index, a block", index, "bytes", goal=100),
        Measure("cached read of 4 KiB, 100,000 blocks", many[1], "µs", few[1], goal=1.25),
    ]


def open_filled(
    page: BenchPage, url: str, key: str, options: Mapping[str, object], blocks: int
) -> tuple[float, float]:
    """Fills a cache and reopens it in a new worker: milliseconds to open, and µs for a read."""
    page.start("ours")
    page.call("open", url=url, key=key, options=options)
    length = blocks * SMALL_BLOCK
    step = 4 * MIB
    page.call("replay", reads=[(at, min(step, length - at), 0) for at in range(0, length, step)])
    page.call("close")
    chance = random.Random(blocks)  # noqa: S311 - it is to be the same each time
    offsets = [chance.randrange(blocks) * SMALL_BLOCK for _ in range(4000)]
    visits = []
    for _ in range(3):
        page.start("ours")
        opened = page.call("open", url=url, key=key, options=options)
        if opened["blocks"] < blocks:
            raise AssertionError(f"{opened['blocks']} of {blocks} blocks were kept")
        visits.append((opened["ms"], time_reads(page, offsets)))
        page.call("close")
    return min(ms for ms, _ in visits), min(cost for _, cost in visits)


def micro(page: BenchPage, server: BenchServer) -> list[Measure]:
    """All measures of this module."""
    server.shape(LOCAL)
    return [*cached_reads(page, server), *image_sizes(page, server), *many_blocks(page, server)]
