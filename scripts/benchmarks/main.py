"""Measures this project, its peers and the bound: micro, local link, shaped link, boots.

`--only emulators` measures reads through the Emscripten mount, and short boots in v86 and DOSBox.
`--only v86` boots a real Debian in v86 instead, which takes most of an hour; `--only packing` makes
a prepared image of it, and `--only prepared` replays its boot from one. `--only saves` pushes a
session of 30 MB to the image service and opens it elsewhere, and boots it if Debian's image is
there. `--only miss` measures what a miss costs over a local link, in two minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from aero_browser_disk.testing.synthetic_image import SyntheticImage
from benchmarks.browser import SITE, BenchPage, bench_page
from benchmarks.emulators import emulator_images, emulators
from benchmarks.images import images
from benchmarks.micro import SIZES, cached_reads, image_name, micro
from benchmarks.packing import packing
from benchmarks.prepared import prepared
from benchmarks.results import Measure, Run, measures_table, runs_table
from benchmarks.runs import Runner, say
from benchmarks.server import LOCAL, SHAPED, BenchServer
from benchmarks.shared import shared
from benchmarks.start import measure_start
from benchmarks.v86 import Boot, boot_measures, boots_table, compare_boots
from benchmarks.visit import measure_visits
from benchmarks.workloads import (
    DATA,
    DATA_SIZE,
    MIB,
    mixed,
    random_pages,
    recorded_boot,
    sequential,
    strided,
)
from benchmarks.writes import writes
from lib.project import CACHE
from samples.debian_image import debian_image, make_debian_image
from samples.emulator import can_boot

GROUPS = ("start", "micro", "shared", "images", "writes", "local", "shaped", "boot", "thinking")
EMULATORS = "emulators"  # the mount, and short boots in v86 and DOSBox
REAL_BOOTS = "v86"
PACKING = "packing"  # a prepared image, without a browser
MISS = "miss"  # what a miss costs, and a hit: over a local link
PREPARED = "prepared"  # a boot from one, and from a qcow2 file
SERVICE = "service"  # against nginx, without a browser
SAVES = "saves"  # pushes and pulls, and the boot of a save where the Debian image is there
VISIT = "visit"  # with everything on the shaped link, in Chromium and Firefox
SEPARATE_GROUPS = (EMULATORS, REAL_BOOTS, MISS, PACKING, PREPARED, SAVES, SERVICE, VISIT)
SEQUENTIAL_GOAL = 0.9  # of the bare loop's speed, over a local link
THINK = 0.1  # as if the guest ran ten times faster than when it was recorded


class Bench:
    """One run of the bench."""

    def __init__(self, page: BenchPage, server: BenchServer, runner: Runner, repeat: int) -> None:
        self.measures: list[Measure] = []
        self.runs: list[Run] = []
        self.boots: list[Boot] = []
        self._page = page
        self._server = server
        self._runner = runner
        self._repeat = repeat

    def do(self, group: str) -> None:
        """Measures a group."""
        groups: dict[str, Callable[[], None]] = {
            "start": self._start,
            "micro": self._micro,
            "shared": self._shared,
            "images": self._images,
            "writes": self._writes,
            "local": self._local,
            "shaped": self._shaped,
            "boot": self._boot,
            "thinking": self._thinking,
            EMULATORS: self._emulators,
            REAL_BOOTS: self._real_boots,
            MISS: self._miss,
            PACKING: self._packing,
            PREPARED: self._prepared,
            SAVES: self._saves,
            SERVICE: self._service,
            VISIT: self._visit,
        }
        groups[group]()

    def link(self) -> None:
        """Prints what a client without a browser gets from the server."""
        for link in (LOCAL, SHAPED):
            seconds, rate = self._server.measure(link, "data.img")
            nominal = link.bandwidth_bytes_per_s
            trip = link.latency_s * 1000 or None
            self.measures.append(Measure(f"round trip, {link.name}", seconds * 1000, "ms", trip))
            mb = nominal / 1e6 if nominal else None
            self.measures.append(Measure(f"throughput, {link.name}", rate / 1e6, "MB/s", mb))

    def _start(self) -> None:
        say("start")
        self.measures += measure_start(self._page.chromium, SITE, self._repeat)

    def _micro(self) -> None:
        say("micro")
        self.measures += micro(self._page, self._server)

    def _shared(self) -> None:
        say("shared")
        self.measures += shared(self._page, self._server)

    def _images(self) -> None:
        say("images")
        self.measures += images(self._page.page, self._page.site_url, 2 * self._repeat - 1)

    def _writes(self) -> None:
        say("writes")
        self.measures += writes(self._page)

    def _local(self) -> None:
        compare, repeat = self._runner.compare, self._repeat
        self.runs += compare(sequential(192 * MIB), LOCAL, repeat=repeat)
        self.runs += compare(random_pages(300, DATA_SIZE), LOCAL, repeat=repeat)
        self.runs += compare(strided(300), LOCAL, repeat=repeat)
        self.runs += compare(mixed(300, DATA_SIZE), LOCAL, repeat=repeat)
        self._compare_sequential(LOCAL.name, SEQUENTIAL_GOAL)

    def _shaped(self) -> None:
        compare, repeat = self._runner.compare, self._repeat
        self.runs += compare(sequential(64 * MIB), SHAPED, repeat=repeat)
        self.runs += compare(random_pages(100, DATA_SIZE), SHAPED, repeat=1)
        self.runs += compare(strided(100), SHAPED, repeat=1)
        self.runs += compare(mixed(200, DATA_SIZE), SHAPED, repeat=1)
        self._compare_sequential(SHAPED.name, 0.98)

    def _service(self) -> None:
        # Here, since obstore takes a while to load.
        from benchmarks.service import GIB, service_measures

        say("the image service")
        rounds = max(1, self._repeat)
        self.measures += service_measures(4 * GIB, 2.0 if rounds == 1 else 5.0, rounds)

    def _saves(self) -> None:
        # Here, as it needs what the service does.
        from benchmarks.saved_guest import guest_saves
        from benchmarks.saves import saves

        say("saves")
        self.measures += saves(2.0 if self._repeat == 1 else 10.0)
        if (image := debian_image()).exists() and can_boot():
            self.measures += guest_saves(self._page, image)
        else:
            say("    without a guest: scripts/demo --debian makes the image that it needs")

    def _packing(self) -> None:
        say("packing")
        self.measures += packing(make_debian_image(), is_quick=self._repeat == 1)

    def _prepared(self) -> None:
        say("a boot from a prepared image")
        runs, found = prepared(self._page, make_debian_image(), self._repeat)
        self.runs += runs
        self.measures += found

    def _emulators(self) -> None:
        say("emulators")
        for measure in emulators(self._page, self._server, self._repeat):
            say(f"    {measure.name} {measure.value:.3g} {measure.unit}")
            self.measures.append(measure)

    def _visit(self) -> None:
        say("visits")
        self.measures += measure_visits(self._page.playwright, self._repeat)

    def _compare_sequential(self, link: str, goal: float) -> None:
        runs = {
            r.client: r
            for r in self.runs
            if (r.workload, r.link) == ("sequential", link) and r.state == "cold" and r.seconds
        }
        if {"ours", "bare loop"} <= runs.keys():
            ours, bare = (
                runs[n].distinct_bytes / runs[n].median_s / 1e6 for n in ("ours", "bare loop")
            )
            name = f"sequential cold, {link}"
            self.measures.append(Measure(name, ours, "MB/s", bare, goal, at_least=True))

    def _boot(self) -> None:
        workload, _ = recorded_boot("debian-boot")
        runs = self._runner.compare(workload, SHAPED, repeat=self._repeat, profile=True)
        self.runs += runs
        for run in runs:
            if run.client == "ours" and run.seconds and run.state != "warm":
                goal = 1.1 if run.state == "profile" else 2.5
                name = f"boot, {run.state}: time"
                self.measures.append(Measure(name, run.median_s, "s", run.bound_s, goal))
                if run.state == "cold":
                    sent, distinct = run.bytes[-1] / 1e6, run.distinct_bytes / 1e6
                    self.measures.append(Measure("boot, cold: bytes", sent, "MB", distinct, 1.8))
        self._local_boot()

    def _local_boot(self) -> None:
        workload, _ = recorded_boot("debian-boot")
        runs = self._runner.compare(workload, LOCAL, repeat=self._repeat, profile=True)
        self.runs += runs
        cold = {run.client: run for run in runs if run.state == "cold" and run.seconds}
        ours = cold.pop("ours", None)
        peers = [run.median_s for name, run in cold.items() if name != "bare loop"]
        if ours is not None and peers:
            name = "boot, cold, local: time, against the best other client"
            self.measures.append(Measure(name, ours.median_s, "s", min(peers), 1))

    def _miss(self) -> None:
        say("what a miss costs")
        self._server.shape(LOCAL)
        self.measures += cached_reads(self._page, self._server)
        runs = self._runner.compare(sequential(192 * MIB), LOCAL, repeat=self._repeat, peers=())
        self.runs += runs
        self._compare_sequential(LOCAL.name, SEQUENTIAL_GOAL)
        self._local_boot()

    def _thinking(self) -> None:
        workload, _ = recorded_boot("debian-boot", THINK)
        self.runs += self._runner.compare(workload, SHAPED, repeat=1, profile=True)

    def _real_boots(self) -> None:
        for boot in compare_boots(self._page, self._server, make_debian_image()):
            say(f"    {boot.disk}, {boot.state} {boot.seconds:.0f} s")
            self.boots.append(boot)
        self.measures += boot_measures(self.boots)


def data_file() -> Path:
    """The bytes of `DATA` in a file; generating them on the fly would be the bottleneck."""
    path = CACHE / "bench" / "data.img"
    if not path.exists() or path.stat().st_size != DATA_SIZE:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.writelines(DATA.chunks())
        fresh.rename(path)
    return path


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=(*GROUPS, *SEPARATE_GROUPS), default=GROUPS)
    parser.add_argument("--repeat", type=int, default=3, help="of ours and the bare loop")
    parser.add_argument("--quick", action="store_true", help="each thing once")
    parser.add_argument("--out", type=Path, default=CACHE / "bench", help="where the results go")
    options = parser.parse_args()
    boot = SyntheticImage(recorded_boot("debian-boot")[1], seed=1)
    sizes = {image_name(size): SyntheticImage(size, seed=2) for size in SIZES.values()}
    contents = {"boot.img": boot, "data.img": DATA}
    synthetic = {"boot.img": boot, **sizes}
    files = [data_file(), *([make_debian_image()] if REAL_BOOTS in options.only else [])]
    files += emulator_images() if EMULATORS in options.only else []
    with BenchServer(synthetic, files) as server, bench_page() as page:
        repeat = 1 if options.quick else options.repeat
        bench = Bench(page, server, Runner(page, server, contents), repeat)
        bench.link()
        text = ""
        for group in options.only:
            bench.do(group)
            text = report(bench, page.browser, options.out)
    print(text)
    print(f"written to {options.out}/results.json and results.txt", file=sys.stderr)
    return 0


def report(bench: Bench, browser: str, out: Path) -> str:
    """Writes the results so far, as tables and as JSON; returns the tables."""
    machine = f"{browser}, {os.cpu_count()} cores, {platform.machine()}"
    tables = [runs_table(bench.runs), measures_table(bench.measures)]
    if bench.boots:
        tables.insert(1, boots_table(bench.boots))
    text = "\n\n".join([machine, *tables]) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    results = {
        "machine": machine,
        "runs": [run.to_json() for run in bench.runs],
        "boots": [asdict(boot) for boot in bench.boots],
        "measures": [measure.to_json() for measure in bench.measures],
    }
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "results.txt").write_text(text)
    return text


if __name__ == "__main__":
    sys.exit(main())
