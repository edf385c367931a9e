"""Wheels of this project, and wheels whose modules are compiled for Pyodide's Python.

The same sources give the same bytes. `pyodide py-compile` does not promise that (it writes times
into the archive and the modules, and compiles for the Python that it runs on), so the modules are
compiled by Pyodide itself, on Node, and the wheels packed again by `wheel`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lib.project import BUILDING, PYODIDE, ROOT

# 2020-02-02, as hatchling has it: any constant that a zip archive can hold will do.
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


def compile_wheels(wheels: Sequence[Path], folder: Path) -> list[Path]:
    """Writes each pure-Python wheel into `folder` again, with .pyc files in place of its .py files.

    The new wheels are for Pyodide's Python alone, and their names say so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        trees = [_unpack(wheel, Path(made) / str(index)) for index, wheel in enumerate(wheels)]
        run(["node", BUILDING / "compile_modules.mjs", PYODIDE, made])
        return [_pack(tree, folder) for tree in trees]


def _unpack(wheel: Path, folder: Path) -> Path:
    run([sys.executable, "-m", "wheel", "unpack", "--dest", folder, wheel])
    (tree,) = folder.iterdir()
    return tree


def _pack(tree: Path, folder: Path) -> Path:
    for path in tree.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # modes are kept, and differ by umask
    before = set(folder.iterdir())
    run([sys.executable, "-m", "wheel", "pack", "--dest-dir", folder, tree])
    (wheel,) = set(folder.iterdir()) - before
    return wheel
