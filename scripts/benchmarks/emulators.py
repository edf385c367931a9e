"""What emulators see of a disk: reads through the Emscripten mount, and boots over the shaped link.

    scripts/bench --only emulators

Each boot is compared with the best of the ways in which its emulator loads an image by itself. Our
times include the start of Python. With v86 most of the time is the emulator's own work, which a
busy machine stretches several times: how much of it the disk took is measured apart.
"""

from __future__ import annotations

import itertools
import math
import shutil
import statistics
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.browser import BenchPage
from benchmarks.results import Measure
from benchmarks.server import LOCAL, SHAPED, BenchServer
from benchmarks.shared import offsets_in
from benchmarks.workloads import KIB, MIB
from lib.project import CACHE, GRUB_RESCUE_IMAGE
from samples.sample_image import make_sample_disk

MODULE = "emulators.mjs"
REGION = 32 * MIB
ROUNDS = 9
CHUNKS = (64 * KIB, 256 * KIB, 1024 * KIB)
GRUB = "GNU GRUB"
DOS_COMMANDS = ("c:", "type readme.txt", "copy payload\\010.bin nul", "echo the end")
DOS_END = "\nthe end"
DOS_SIZE = 64 * MIB
HEADS, TRACK = 255, 63  # as `make_sample_disk` has it
CYLINDERS = math.ceil(DOS_SIZE / 512 / HEADS / TRACK)
# What DOSBox is told when it loads the image by itself.
DOS_CONFIG = "\n".join(
    [
        "[autoexec]",
        "@echo off",
        f"imgmount c disk.img -t hdd -size 512,{TRACK},{HEADS},{CYLINDERS}",
        "echo on",
        *DOS_COMMANDS,
        "",
    ]
)
FOLDER = CACHE / "bench"


def emulator_images() -> list[Path]:
    """GRUB's rescue disk, a disk of 64 MiB for DOSBox, and that in a bundle of js-dos."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    grub, dos, bundle = FOLDER / "grub.img", FOLDER / "dos.img", FOLDER / "dos.jsdos"
    shutil.copyfile(GRUB_RESCUE_IMAGE, grub)
    if not (dos.exists() and bundle.exists()):
        make_sample_disk(dos, DOS_SIZE)
        with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.write(dos, "disk.img")
            packed.writestr(".jsdos/dosbox.conf", DOS_CONFIG)
    return [grub, dos, bundle]


def mount_reads(page: BenchPage, server: BenchServer) -> list[Measure]:
    """Cached reads of 4 KiB, in turns with a bare round trip and Emscripten's own memory."""
    server.shape(LOCAL)
    page.start("mount")
    page.call("open", url=server.image_url("data.img"), key="mount", size=REGION)
    found: dict[str, list[float]] = {"mount": [], "bare": [], "memory": []}
    for index in range(ROUNDS):
        offsets = offsets_in(REGION, index)
        for name, times in found.items():
            times.append(page.call("reads", **{"from": name, "offsets": offsets}))
    page.call("close")
    page.end()
    mount, bare, memory = (statistics.median(times) for times in found.values())
    name = "Emscripten mount, cached 4 KiB"
    return [
        Measure(f"{name}, against a bare round trip", mount, "µs", bare, 1),
        Measure(f"{name}, against MEMFS", mount, "µs", memory),
    ]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to load an image: a function of the module, and what it gets."""

    name: str
    function: str
    image: Path
    values: Mapping[str, object]

    @property
    def is_ours(self) -> bool:
        """Whether it is this project's, which has a cache for later visits."""
        return self.function.endswith("Ours")


class EmulatorBoots:
    """Boots over the shaped link, each on a page of its own.

    The ways take turns, so that what else the machine does meets all of them.
    """

    def __init__(self, page: BenchPage, server: BenchServer, repeat: int) -> None:
        self._page = page
        self._server = server
        self._repeat = repeat
        self._visits = itertools.count()

    def v86(self, image: Path) -> list[Measure]:
        """From the first call to GRUB's menu."""
        values = {"size": image.stat().st_size, "until": GRUB}
        own = [
            Way(f"v86's own, {chunk // KIB} KiB", "v86Own", image, {**values, "chunk": chunk})
            for chunk in CHUNKS
        ]
        whole = Way("v86's own, the whole image first", "v86Own", image, {**values, "chunk": 0})
        return self._compare("GRUB in v86", [*own, whole], Way("", "v86Ours", image, values))

    def dosbox(self, image: Path, bundle: Path) -> list[Measure]:
        """From the first call until a program has read 4 MiB."""
        until = {"until": DOS_END}
        own = [
            Way("js-dos, the whole image", "dosboxOwn", image, {**until, "config": DOS_CONFIG}),
            Way("js-dos, a bundle", "dosboxOwn", bundle, {**until, "config": ""}),
        ]
        ours = Way("", "dosboxOurs", image, {**until, "commands": DOS_COMMANDS})
        return self._compare("4 MiB in DOSBox", own, ours)

    def _compare(self, name: str, own: Sequence[Way], ours: Way) -> list[Measure]:
        found: dict[str, list[dict[str, Any]]] = {}
        for _ in range(self._repeat):
            for way in own:
                found.setdefault(way.name, []).append(self._boot(way))
            key = f"emulators-{next(self._visits)}"
            cold = self._boot(ours, key=key)
            found.setdefault("cold", []).append(cold)
            found.setdefault("warm", []).append(self._boot(ours, key=key))
            if profile := cold.get("profile"):
                other = f"emulators-{next(self._visits)}"
                boot = self._boot(ours, key=other, profile=profile)
                found.setdefault("cold with a boot profile", []).append(boot)
        return list(self._measures(name, [way.name for way in own], found))

    def _measures(
        self, name: str, own: Sequence[str], found: Mapping[str, list[dict[str, Any]]]
    ) -> Iterator[Measure]:
        parts = {"ms": "", "waitedMs": ", of it before the start and waiting for the disk"}
        for field, part in parts.items():
            seconds = {
                way: statistics.median(boot[field] for boot in boots) / 1000
                for way, boots in found.items()
                if field in boots[0]
            }
            best = min((seconds[way] for way in own if way in seconds), default=None)
            for way, value in seconds.items():
                against = None if way in own else best
                yield Measure(f"{name}, {way}{part}", value, "s", against)

    def _boot(self, way: Way, **values: object) -> dict[str, Any]:
        self._page.reload()
        self._server.shape(SHAPED)
        # The browser has cached nothing of it.
        visit = "" if way.is_ours else f"?visit={next(self._visits)}"
        url = f"{self._server.image_url(way.image.name)}{visit}"
        boot: dict[str, Any] = self._page.run(
            MODULE, way.function, url=url, **{**way.values, **values}
        )
        return boot


def emulators(page: BenchPage, server: BenchServer, repeat: int) -> Iterator[Measure]:
    """All measures of this module."""
    grub, dos, bundle = emulator_images()
    yield from mount_reads(page, server)
    boots = EmulatorBoots(page, server, repeat)
    yield from boots.v86(grub)
    yield from boots.dosbox(dos, bundle)
