"""A Debian boot from a prepared image and a qcow2 file, against the raw image and v86's own disks.

    scripts/bench --only prepared

Replays what a boot of the image reads, without the guest's own time, over the shaped link and over
a local one. Times include opening the disk. Needs what `samples.debian_image` needs, `qemu-img`,
`zstd`, nginx, and Firefox for the cost of unpacking there. The first run makes the images, which
takes some minutes.
"""

from __future__ import annotations

import itertools
import random
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aero_browser_disk.testing.site_server import SiteServer
from benchmarks.boot_images import (
    PART_FILE,
    PREPARED,
    QCOW2,
    RAW,
    UPDATED,
    WITH_BOOT,
    BootImages,
    make_boot_images,
)
from benchmarks.browser import SITE, BenchPage
from benchmarks.first_visit import first_visits
from benchmarks.micro import time_reads
from benchmarks.packing import CHUNK
from benchmarks.packing import GOAL as UPDATE_GOAL
from benchmarks.results import MB, Measure, Run
from benchmarks.runs import PEER_CHUNK, say
from benchmarks.server import LOCAL, SHAPED, Link
from benchmarks.shaped_link import ShapedLink
from benchmarks.workloads import MIB, SEED
from lib import browsers
from lib.nginx_server import StaticNginx
from samples.boot_profiles import blocks_read

COLD = "cold"
BUNDLE = "boot bundle"
UNPACKED_CHUNKS = 64
CACHED_READS = 4000
CACHED_TURNS = 4
WHOLE_CACHE = 2 << 30
EMPTY_STORAGE = """async () => {
  const root = await navigator.storage.getDirectory();
  for await (const name of root.keys()) await root.removeEntry(name, { recursive: true });
}"""


@dataclass(frozen=True, slots=True)
class Contender:
    """A client and the image that it boots from. Goals are for the shaped link."""

    name: str
    worker: str
    image: str
    state: str = COLD
    options: Mapping[str, Any] = field(default_factory=dict)
    times_bound: float | None = None
    max_mb: float | None = None


OURS: Mapping[str, Any] = {"options": {}}
V86 = {"chunk": PEER_CHUNK}
OURS_RAW = Contender("ours, raw", "ours", RAW, options=OURS)
OURS_PREPARED = Contender(
    "ours, prepared", "ours", PREPARED, options=OURS, times_bound=1.5, max_mb=45
)
CONTENDERS = (
    OURS_RAW,
    OURS_PREPARED,
    Contender(
        "ours, prepared", "ours", WITH_BOOT, BUNDLE, options=OURS, times_bound=0.6, max_mb=25
    ),
    Contender("ours, qcow2 (zstd)", "ours", QCOW2, options=OURS, times_bound=1.7),
)
PEERS = (
    Contender("v86, raw", "v86", RAW, options=V86),
    Contender("v86, .zst parts", "v86", PART_FILE, options={**V86, "parts": True}),
)


class PreparedBench:
    """Boots over the links, and what else a prepared image costs."""

    def __init__(self, page: BenchPage, images: BootImages, nginx: StaticNginx) -> None:
        self._page = page
        self._images = images
        self._nginx = nginx
        self._keys = (f"prepared-{number}" for number in itertools.count())

    def boots(self, repeat: int) -> list[Run]:
        """Every client over the shaped link, and ours over the local one."""
        runs: dict[tuple[str, str, str], Run] = {}
        for turn in range(repeat):
            for contender in (*CONTENDERS, *(PEERS if turn == 0 else ())):
                self._boot(runs, contender, SHAPED)
            for contender in CONTENDERS:
                self._boot(runs, contender, LOCAL)
        return list(runs.values())

    def _boot(
        self, runs: dict[tuple[str, str, str], Run], contender: Contender, link: Link
    ) -> None:
        work = self._images.workload
        bound = link.bound_s(work.distinct_bytes)
        new = Run(work.name, link.name, contender.name, contender.state, bound, work.distinct_bytes)
        run = runs.setdefault((link.name, contender.name, contender.state), new)
        say(f"    {contender.name}, {contender.state}, {link.name}", end=" ")
        self._page.start(contender.worker)
        with self._over(link) as (url, shaped):
            open_ms = self._open(contender, url, next(self._keys))
            replayed = self._page.call("replay", reads=work.reads)
            requests, sent = self._nginx.traffic()
            received = shaped.received_bytes if shaped else sent
            self._check(contender)
            self._close()
        seconds = (open_ms + replayed["ms"]) / 1000
        run.seconds.append(seconds)
        run.open_ms.append(open_ms)
        run.requests.append(requests)
        run.bytes.append(received)
        say(f"{seconds:.2f} s, {received / MB:.1f} MB, {requests} requests")

    @contextmanager
    def _over(self, link: Link) -> Iterator[tuple[str, ShapedLink | None]]:
        """The address of the server over a link. A new port is a new origin to the HTTP cache."""
        self._nginx.traffic()
        if link.bandwidth_bytes_per_s is None:
            yield self._nginx.url, None
        else:
            with ShapedLink(link) as shaped:
                yield f"http://127.0.0.1:{shaped.to(self._nginx.port)}", shaped

    def _open(self, contender: Contender, url: str, key: str) -> float:
        """Opens the image; milliseconds, of which a client that says nothing takes none."""
        values = {"url": f"{url}/{contender.image}?visit={key}", "key": key, **contender.options}
        if contender.worker == "v86":
            values |= {"url": f"{url}/{contender.image}", "size": self._size}
        opened = self._page.call("open", **values)
        return float(opened["ms"]) if opened else 0.0

    def _close(self) -> None:
        """Ends the client and empties the storage: a disk looks at the caches of all images."""
        self._page.call("close")
        self._page.end()
        self._page.page.evaluate(EMPTY_STORAGE)

    @property
    def _size(self) -> int:
        return (self._images.folder / RAW).stat().st_size

    def _check(self, contender: Contender) -> None:
        """Raises `AssertionError` unless the client has the bytes of the raw image."""
        ranges = self._images.workload.ranges_to_check()
        with (self._images.folder / RAW).open("rb") as file:
            wanted = []
            for offset, length in ranges:
                file.seek(offset)
                wanted.append(zlib.crc32(file.read(length)))
        if self._page.call("check", ranges=ranges) != wanted:
            raise AssertionError(f"{contender.name}: not the image's bytes")

    def cached_reads(self) -> Measure:
        """The same cached reads of a prepared image and of a raw one, in turn, in new workers."""
        costs: dict[str, list[float]] = {RAW: [], PREPARED: []}
        chance = random.Random(SEED)  # noqa: S311 - the same each time
        reads = self._images.workload.reads[::4]
        offsets = [chance.choice(reads)[0] for _ in range(CACHED_READS)]
        for _ in range(CACHED_TURNS):
            for contender in (OURS_RAW, OURS_PREPARED):
                self._page.start("ours")
                self._open(contender, self._nginx.url, next(self._keys))
                self._page.call("replay", reads=reads)
                costs[contender.image].append(time_reads(self._page, offsets))
                self._close()
        name = "cached read of 4 KiB, prepared against raw"
        return Measure(name, min(costs[PREPARED]), "µs", min(costs[RAW]), 1.05)

    def update(self) -> list[Measure]:
        """The download of an update that changes 1 % of the chunks, with all of the disk cached."""
        say("    update", end=" ")
        key, sent = next(self._keys), {}
        reads = [
            (at, min(4 * MIB, offset + length - at), 0)
            for offset, length in self._images.data
            for at in range(offset, offset + length, 4 * MIB)
        ]
        for image in (PREPARED, UPDATED):
            self._page.start("ours")
            self._nginx.traffic()
            options = {"cache_limit_bytes": WHOLE_CACHE}
            url = f"{self._nginx.url}/{image}"
            self._page.call("open", url=url, key=key, options=options)
            self._page.call("replay", reads=reads)
            _, sent[image] = self._nginx.traffic()
            self._page.call("close")
        self._close()
        say(f"{sent[PREPARED] / MB:.1f} MB, then {sent[UPDATED] / MB:.2f} MB")
        packed = self._images.packed_bytes / MB
        name = "update of 1 % of the chunks: downloaded"
        return [Measure(name, sent[UPDATED] / MB, "MB", packed, UPDATE_GOAL)]

    def unpacking(self, page: BenchPage, browser: str) -> Measure:
        """Milliseconds in the worker's Python for each MB of disk that a boot unpacks."""
        chunks = blocks_read(self._boot_reads(), CHUNK)
        chunks = chunks[:: -(-len(chunks) // UNPACKED_CHUNKS)]  # the first are a packed kernel
        page.start("ours")
        url = f"{self._nginx.url}/{PREPARED}"
        ms = page.call("unpacking", url=url, offsets=[number * CHUNK for number in chunks])
        page.end()
        return Measure(f"unpacking 1 MB of a prepared image, {browser}, in Python", ms, "ms")

    def _boot_reads(self) -> Sequence[tuple[int, int]]:
        return [(offset, length) for offset, length, _ in self._images.workload.reads]


def goals(runs: Sequence[Run]) -> list[Measure]:
    """Times and bytes against the raw bound and the goals; over the local link, against raw."""
    found = {(run.link, run.client, run.state): run for run in runs}
    measures = []
    for contender in CONTENDERS:
        run = found[SHAPED.name, contender.name, contender.state]
        name = f"boot of a Debian, {contender.name.removeprefix('ours, ')}"
        if contender.state != COLD:
            name += f" with a {contender.state}"
        goal = contender.times_bound
        measures.append(Measure(f"{name}: time", run.median_s, "s", run.bound_s, goal))
        most = contender.max_mb
        sent = run.bytes[-1] / MB
        measures.append(Measure(f"{name}: bytes", sent, "MB", most, most and 1))
    raw, prepared = (found[LOCAL.name, c.name, c.state] for c in (OURS_RAW, OURS_PREPARED))
    name = "boot of a Debian, local link, prepared against raw"
    return [*measures, Measure(name, prepared.median_s, "s", raw.median_s, 1)]


def prepared(page: BenchPage, image: Path, repeat: int) -> tuple[list[Run], list[Measure]]:
    """All of this module."""
    images = make_boot_images(image)
    with (
        tempfile.TemporaryDirectory(prefix="bench-nginx-") as folder,
        StaticNginx(Path(folder), images.folder) as nginx,
    ):
        bench = PreparedBench(page, images, nginx)
        runs = bench.boots(repeat)
        measures = goals(runs)
        measures += first_visits(page.playwright, SITE, images, nginx, repeat)
        measures += [bench.cached_reads(), *bench.update()]
        measures.append(bench.unpacking(page, "Chromium"))
        with firefox_page(page) as other:
            measures.append(bench.unpacking(other, "Firefox"))
    return runs, measures


@contextmanager
def firefox_page(page: BenchPage) -> Iterator[BenchPage]:
    """The bench's page in Firefox."""
    kind = page.playwright.firefox
    with SiteServer(SITE, isolated=True) as site:
        browser = kind.launch(**browsers.launch_options(kind))
        try:
            yield BenchPage(browser.new_page(), site.url, page.playwright)
        finally:
            browser.close()
