"""What emulators see of a disk: reads through the Emscripten mount, and boots over the shaped link.

    scripts/bench --only emulators

Each boot is compared with the best of the ways in which its emulator loads an image by itself.
"""

from __future__ import annotations

import itertools
import math
import shutil
import statistics
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

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
    name = "cached read of 4 KiB, Emscripten mount"
    return [
        Measure(f"{name}, against a bare Atomics round trip", mount, "µs", bare, 1),
        Measure(f"{name}, against MEMFS", mount, "µs", memory),
    ]


class EmulatorBoots:
    """Boots over the shaped link, each on a page of its own."""

    def __init__(self, page: BenchPage, server: BenchServer, repeat: int) -> None:
        self._page = page
        self._server = server
        self._repeat = repeat
        self._keys = (f"emulators-{number}" for number in itertools.count())

    def v86(self, image: Path) -> list[Measure]:
        """From the first call to GRUB's menu."""
        own = {
            f"v86's own, {chunk // KIB} KiB": self._own("v86Own", image, chunk=chunk, until=GRUB)
            for chunk in CHUNKS
        }
        own["v86's own, the whole image first"] = self._own("v86Own", image, chunk=0, until=GRUB)
        return self._compare("GRUB in v86", own, lambda key: self._ours("v86Ours", image, key))

    def dosbox(self, image: Path, bundle: Path) -> list[Measure]:
        """From the first call until a program has read 4 MiB."""
        more: dict[str, object] = {"commands": DOS_COMMANDS, "until": DOS_END}
        own = {
            "js-dos, the whole image": self._own(
                "dosboxOwn", image, config=DOS_CONFIG, until=DOS_END
            ),
            "js-dos, a bundle": self._own("dosboxOwn", bundle, config="", until=DOS_END),
        }
        return self._compare(
            "4 MiB in DOSBox", own, lambda key: self._ours("dosboxOurs", image, key, **more)
        )

    def _compare(
        self, name: str, own: dict[str, float], ours: Callable[[str], float]
    ) -> list[Measure]:
        keys = [next(self._keys) for _ in range(self._repeat)]
        best = min(own.values())
        return [
            Measure(f"{name}, cold", statistics.median(map(ours, keys)), "s", best),
            Measure(f"{name}, warm", statistics.median(map(ours, keys)), "s", best),
            *(Measure(f"{name}, {way}", seconds, "s") for way, seconds in own.items()),
        ]

    def _own(self, function: str, image: Path, **values: object) -> float:
        size = image.stat().st_size
        return statistics.median(
            self._seconds(function, image, size=size, **values) for _ in range(self._repeat)
        )

    def _ours(self, function: str, image: Path, key: str, **values: object) -> float:
        return self._seconds(function, image, key=key, **{"until": GRUB, **values})

    def _seconds(self, function: str, image: Path, **values: object) -> float:
        self._page.reload()
        self._server.shape(SHAPED)
        # The browser has cached nothing of it.
        visit = "" if "key" in values else f"?visit={next(self._keys)}"
        url = f"{self._server.image_url(image.name)}{visit}"
        return float(self._page.run(MODULE, function, url=url, **values)) / 1000


def emulators(page: BenchPage, server: BenchServer, repeat: int) -> Iterator[Measure]:
    """All measures of this module."""
    grub, dos, bundle = emulator_images()
    yield from mount_reads(page, server)
    boots = EmulatorBoots(page, server, repeat)
    yield from boots.v86(grub)
    yield from boots.dosbox(dos, bundle)
