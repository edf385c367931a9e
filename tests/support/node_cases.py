"""Cases in JavaScript that Node's test runner runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def run_cases(path: Path, *, timeout_s: int = 120, **environment: str) -> None:
    """Fails with what the runner printed, unless all cases of a file have passed."""
    command = ["node", "--test", "--test-reporter=spec", path]
    given = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fail 0" in done.stdout
