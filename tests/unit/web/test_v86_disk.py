"""The adapter for v86 at the registers of v86's own drives; the cases are in the *.test.mjs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.project import BIOS, VGA_BIOS
from support.node_cases import run_cases


@pytest.mark.timeout(600)
@pytest.mark.parametrize("cases", ["v86_disk", "v86_drives", "v86_clock"])
def test_a_guest_sees_the_disk_or_an_error(cases: str) -> None:
    path = Path(__file__).with_name(f"{cases}.test.mjs")
    can_boot = BIOS.exists() and VGA_BIOS.exists()  # the cases that boot need them
    files = {"BIOS": str(BIOS), "VGA_BIOS": str(VGA_BIOS)} if can_boot else {}
    run_cases(path, timeout_s=570, **files)
