"""Puts v86 with its BIOS files, and DOSBox, into a site, for the demo, the tests and the bench.

The site that `scripts/build` makes has none of them: redistributing DOSBox (GPL-2.0) and SeaBIOS
(LGPL-3.0) requires offering their source, and redistributing v86 its licence text (BSD-2-Clause).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from lib.project import BIOS, DEBIAN, NODE_MODULES, VGA_BIOS

FOLDER = "v86"
V86 = NODE_MODULES / "v86"
DOSBOX_FOLDER = "emulators"
EMULATORS = NODE_MODULES / "emulators"
_DOSBOX_BUILDS = ("wdosbox", "wdosbox-x", "wdosbox-x-jspi")
DOSBOX_FILES = (
    "emulators.js",
    *(f"{build}.{kind}" for build in _DOSBOX_BUILDS for kind in ("js", "wasm")),
)
SEABIOS_LICENCE = DEBIAN / "usr" / "share" / "doc" / "seabios" / "copyright"


def can_boot(bios: Path = BIOS, vga_bios: Path = VGA_BIOS) -> bool:
    """Whether all the files that a machine needs are there."""
    return bios.is_file() and vga_bios.is_file()


def write_emulator(site: Path, bios: Path = BIOS, vga_bios: Path = VGA_BIOS) -> None:
    """Puts the emulator into the site, where `boot.mjs` looks for it, with the licences."""
    folder = site / FOLDER
    folder.mkdir()
    for name in ("libv86.mjs", "v86.wasm"):
        shutil.copyfile(V86 / "build" / name, folder / name)
    shutil.copyfile(V86 / "LICENSE", folder / "LICENSE.v86.txt")
    shutil.copyfile(bios, folder / "bios.bin")
    shutil.copyfile(vga_bios, folder / VGA_BIOS.name)
    if bios == BIOS and SEABIOS_LICENCE.is_file():
        shutil.copyfile(SEABIOS_LICENCE, folder / "LICENSE.seabios.txt")


def write_dosbox(site: Path) -> None:
    """Puts DOSBox and DOSBox-X into the site, where the page looks for them, with the licence."""
    folder = site / DOSBOX_FOLDER
    folder.mkdir()
    for name in DOSBOX_FILES:
        shutil.copyfile(EMULATORS / "dist" / name, folder / name)
    shutil.copyfile(EMULATORS / "LICENSE", folder / "LICENSE.emulators.txt")
