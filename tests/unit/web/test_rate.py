"""How fast work goes on, as the page says it; the cases are in rate.test.mjs."""

from __future__ import annotations

import subprocess
from pathlib import Path


def test_the_rate_and_the_time_left() -> None:
    cases = Path(__file__).with_name("rate.test.mjs")
    command = ["node", "--test", "--test-reporter=spec", cases]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fail 0" in done.stdout
