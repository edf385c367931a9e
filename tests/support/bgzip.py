"""Files that `bgzip` compressed, and other tools that tests need."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Runs a tool that writes such files; without it the test is skipped."""
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is missing: run scripts/setup test")
    subprocess.run(command, check=True, cwd=cwd, capture_output=True)


def bgzip(path: Path) -> tuple[Path, Path]:
    """The file as `bgzip` compresses it, and its index."""
    run("bgzip", "-i", "-k", path)
    return path.with_name(f"{path.name}.gz"), path.with_name(f"{path.name}.gz.gzi")
