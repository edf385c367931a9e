"""What JavaScript makes of a file of the user; the cases are in local_file.test.mjs."""

from __future__ import annotations

import subprocess
from pathlib import Path


def test_a_file_is_taken_or_an_error_says_why_not() -> None:
    cases = Path(__file__).with_name("local_file.test.mjs")
    command = ["node", "--test", "--test-reporter=spec", cases]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fail 0" in done.stdout
