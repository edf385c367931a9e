"""Wheels of this project, and wheels whose modules are compiled for Pyodide's Python.

pyodide-build compiles them, inside Pyodide on Node: the bytecode is then exactly Pyodide's,
whatever the version of this machine's Python. The same sources give the same bytes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lib.project import BUILDING, PYODIDE, PYODIDE_BUILD_WHEELS, ROOT

# 2020-02-02, hatchling's default: any constant that a zip archive can represent will do.
SOURCE_DATE_EPOCH = "1580601600"


def run(command: Sequence[str | Path], cwd: Path = ROOT) -> None:
    """Runs a build step, silent unless it fails."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise subprocess.CalledProcessError(done.returncode, command)


def build_wheel(folder: Path) -> Path:
    """Builds this project's wheel into `folder`, without the network."""
    with tempfile.TemporaryDirectory() as made:
        options = ["--wheel", "--no-isolation", "--outdir", made]
        run([sys.executable, "-m", "build", *options, str(ROOT)])
        (wheel,) = Path(made).glob("*.whl")
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(wheel, folder))


def build_distributions(folder: Path) -> tuple[Path, Path]:
    """Builds the sdist, and from it the wheel for every Python, into an empty `folder`."""
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT])
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def compile_wheels(wheels: Sequence[Path], folder: Path) -> list[Path]:
    """Writes each pure-Python wheel into `folder` again, with .pyc files in place of its .py files.

    The new wheels are only for Pyodide's Python, and are named accordingly.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        for wheel in wheels:
            shutil.copy(wheel, made)
        run(["node", BUILDING / "compile_wheels.mjs", PYODIDE, PYODIDE_BUILD_WHEELS, made])
        compiled = {path.name.partition("-")[0]: path for path in Path(made).glob("*.whl")}
        names = [wheel.name.partition("-")[0] for wheel in wheels]
        return [Path(shutil.copy(compiled[name], folder)) for name in names]
