"""A Pyodide distribution: the core's files from npm, wheels, and the lock file that names them.

The lock file that comes with the core names wheels of other hashes, which npm does not carry.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from packaging.utils import parse_wheel_filename
from pyodide_lock import PyodideLockSpec
from pyodide_lock.utils import add_wheels_to_spec, update_package_sha256

from lib.project import PYODIDE, PYODIDE_WHEELS

CORE_FILES = (
    "pyodide.mjs",
    "pyodide.mjs.map",
    "pyodide.asm.mjs",
    "pyodide.asm.wasm",
    "python_stdlib.zip",
)
LOCK_FILE = "pyodide-lock.json"
# The folder of a distribution in a site, and the files that the disk worker loads from it.
FOLDER = "pyodide"
WORKER_FILES = (*(name for name in CORE_FILES if not name.endswith(".map")), LOCK_FILE)


def write_distribution(folder: Path, wheels: Iterable[Path], compiled: Iterable[Path] = ()) -> None:
    """Fills `folder` with the core and the wheels.

    A wheel in `compiled` is used in place of its source. The lock file is still made from the
    source, because pyodide-lock cannot see what a compiled wheel imports.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in CORE_FILES:
        shutil.copyfile(PYODIDE / name, folder / name)
    stock = json.loads((PYODIDE / LOCK_FILE).read_bytes())
    lock = folder / LOCK_FILE
    lock.write_text(json.dumps({"info": stock["info"], "packages": {}}))
    sources = {project_of(wheel): wheel.resolve() for wheel in wheels}
    with _without_pyodide():
        spec = add_wheels_to_spec(
            PyodideLockSpec.from_json(lock), sorted(sources.values()), base_path=Path("/")
        )
    for name, wheel in {**sources, **{project_of(wheel): wheel for wheel in compiled}}.items():
        shutil.copyfile(wheel, folder / wheel.name)
        spec.packages[name].file_name = wheel.name
        update_package_sha256(spec.packages[name], wheel)
    spec.to_json(lock)


@contextmanager
def _without_pyodide() -> Iterator[None]:
    """Hides pyodide-py if tests have loaded it: pyodide-lock would believe that it runs in Pyodide.

    It would then list the dependencies for this machine's Python.
    """
    loaded = sys.modules.pop("pyodide", None)
    try:
        yield
    finally:
        if loaded is not None:
            sys.modules["pyodide"] = loaded


def project_of(wheel: Path) -> str:
    """The normalised name of a wheel's project."""
    return parse_wheel_filename(wheel.name)[0]


def stock_wheel(name: str) -> Path:
    """The locked wheel of a package for Pyodide's Python."""
    (wheel,) = PYODIDE_WHEELS.glob(f"{name}-*.whl")
    return wheel
