"""The adapter for v86 at the registers of v86's own drive; the cases are in v86_disk.test.mjs."""

from __future__ import annotations

import subprocess
from pathlib import Path


def test_a_guest_sees_the_disk_or_an_error() -> None:
    cases = Path(__file__).with_name("v86_disk.test.mjs")
    command = ["node", "--test", "--test-reporter=spec", cases]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fail 0" in done.stdout
