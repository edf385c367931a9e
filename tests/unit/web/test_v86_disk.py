"""The adapter for v86 at the registers of v86's own drives; the cases are in the *.test.mjs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lib.project import BIOS, VGA_BIOS


@pytest.mark.timeout(600)
@pytest.mark.parametrize("cases", ["v86_disk", "v86_drives", "v86_clock"])
def test_a_guest_sees_the_disk_or_an_error(cases: str) -> None:
    path = Path(__file__).with_name(f"{cases}.test.mjs")
    command = ["node", "--test", "--test-reporter=spec", path]
    environment = dict(os.environ)
    if BIOS.exists() and VGA_BIOS.exists():  # the cases that boot need them
        environment |= {"BIOS": str(BIOS), "VGA_BIOS": str(VGA_BIOS)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=570, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fail 0" in done.stdout
