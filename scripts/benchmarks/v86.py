"""A real Debian booted in v86 over the shaped link: this project's disk against v86's own.

    scripts/bench --only v86

Each boot takes minutes, so this is not among the groups that run by default. Needs what
`debian_image` needs. The guest and its work are the same, so the differences are the disks'.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.browser import BenchPage
from benchmarks.results import Measure, table
from benchmarks.server import SHAPED, BenchServer
from samples.boot_traces import PROMPT

KIB, MB = 1 << 10, 1e6
PEER_CHUNKS = (64 * KIB, 256 * KIB, 1024 * KIB)
MODULE = "boot.mjs"


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot from the switch to the shell."""

    disk: str
    state: str
    seconds: float
    reads: int
    read_bytes: int
    requests: int
    bytes: int

    def row(self) -> list[str]:
        """The cells of the table."""
        return [
            self.disk,
            self.state,
            f"{self.seconds:.1f} s",
            str(self.reads),
            f"{self.read_bytes / MB:.1f}",
            str(self.requests),
            f"{self.bytes / MB:.1f}",
        ]


class BootBench:
    """Boots one image, again and again."""

    def __init__(self, page: BenchPage, server: BenchServer, image: Path) -> None:
        self._page = page
        self._server = server
        self._image = image
        self._keys = (f"boot-{number}" for number in itertools.count())

    def ours(self) -> Iterator[Boot]:
        """A first visit, a second one, and a first visit with the boot profile of the others."""
        key = next(self._keys)
        yield self._boot("ours", "cold", "bootOurs", key=key)
        profile = self._page.run(MODULE, "bootProfile")
        yield self._boot("ours", "warm", "bootOurs", key=key)
        yield self._boot("ours", "profile", "bootOurs", key=next(self._keys), profile=profile)

    def peer(self, chunk: int) -> Boot:
        """v86's own disk, which caches nothing between visits."""
        size = self._image.stat().st_size
        return self._boot("v86", f"{chunk // KIB} KiB", "bootPeer", size=size, chunk=chunk)

    def _boot(self, disk: str, state: str, name: str, **values: object) -> Boot:
        self._page.reload()
        self._server.shape(SHAPED)
        self._server.forget()
        # v86's disk uses the browser's own cache, so the URL must be new to it.
        url = f"{self._server.image_url(self._image.name)}?visit={next(self._keys)}"
        seen = self._page.run(MODULE, name, url=url, until=PROMPT, **values)
        traffic = self._server.traffic()
        return Boot(
            disk,
            state,
            seen["ms"] / 1000,
            seen["reads"],
            seen["readBytes"],
            traffic.requests,
            traffic.bytes,
        )


def boots_table(boots: Iterable[Boot]) -> str:
    """The boots side by side."""
    columns = ["disk", "state", "to the shell", "reads", "MB read", "requests", "MB sent"]
    return f"Debian in v86 · {SHAPED.name}\n{table(columns, [boot.row() for boot in boots])}"


def boot_measures(boots: Sequence[Boot]) -> list[Measure]:
    """Our disk against the best of v86's own."""
    peers = [boot.seconds for boot in boots if boot.disk == "v86"]
    best = min(peers) if peers else None
    return [
        Measure(f"Debian in v86, {boot.state}", boot.seconds, "s", best)
        for boot in boots
        if boot.disk == "ours"
    ]


def compare_boots(page: BenchPage, server: BenchServer, image: Path) -> Iterator[Boot]:
    """Our disk in its three states, and v86's own with each chunk size."""
    bench = BootBench(page, server, image)
    yield from bench.ours()
    yield from map(bench.peer, PEER_CHUNKS)
