"""The bytes counted while Python is downloaded; the cases are in start_progress.test.mjs."""

from __future__ import annotations

import subprocess
from pathlib import Path


def test_what_is_downloaded_is_counted() -> None:
    cases = Path(__file__).with_name("start_progress.test.mjs")
    command = ["node", "--test", "--test-reporter=spec", cases]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fail 0" in done.stdout
