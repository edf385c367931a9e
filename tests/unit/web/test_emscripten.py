"""The adapter for Emscripten under a real program; the cases are in the *.test.mjs beside it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.mark.timeout(600)
@pytest.mark.parametrize("cases", ["adapter_suite", "emscripten", "sync_calls"])
def test_a_program_sees_the_disk_or_an_error(cases: str) -> None:
    path = Path(__file__).with_name(f"{cases}.test.mjs")
    command = ["node", "--test", "--test-reporter=spec", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=570)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fail 0" in done.stdout
