"""Runs the package's unit tests on every other supported Python of this machine.

python -m lib.other_pythons [pytest's arguments]

Each has its own environment under .cache, made from the same lock. Pythons are looked for on the
PATH and among pyenv's. A missing one is reported and skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lib.project import CACHE, ROOT
from lib.provisioning import REQUIREMENTS, STAMP, digest, run, stamp_of

SUPPORTED = ((3, 11), (3, 12), (3, 13), (3, 14))
# These tests run code in Node, or on the Python that builds.
LEFT_OUT = ("tests/unit/scripts", "tests/unit/web")


def candidates(version: str) -> Iterator[str]:
    """The paths where a Python of that version may be."""
    if found := shutil.which(f"python{version}"):
        yield found
    for root in (os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv")):
        if root:
            yield from map(str, sorted(Path(root, "versions").glob(f"{version}.*/bin/python")))


def find_python(version: str) -> str | None:
    """A working Python of that version, such as `3.12`; None if there is none."""
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    for python in candidates(version):
        found = subprocess.run([python, "-c", ask], capture_output=True, text=True)
        if found.stdout.strip() == version:
            return python
    return None


def provide_environment(python: str, folder: Path) -> Path:
    """Makes an environment for the tests unless it is up to date; returns its Python."""
    program = folder / "bin" / "python"
    wanted = digest(REQUIREMENTS, ROOT / "pyproject.toml", str(ROOT))
    if stamp_of(folder) != wanted:
        run([python, "-m", "venv", "--clear", str(folder)])
        pip = (str(program), "-m", "pip", "--disable-pip-version-check", "--quiet", "install")
        run([*pip, "--require-hashes", "-r", REQUIREMENTS])
        run([*pip, "--no-deps", "--no-build-isolation", "--editable", ROOT])
        (folder / STAMP).write_text(wanted)
    return program


def main() -> int:
    """Runs the tests; returns how many Pythons failed."""
    failed = 0
    for version in SUPPORTED:
        name = ".".join(map(str, version))
        if version == sys.version_info[:2]:
            continue
        python = find_python(name)
        if python is None:
            print(f"Python {name}: not on this machine", flush=True)
            continue
        print(f"Python {name}: unit tests", flush=True)
        program = provide_environment(python, CACHE / f"python-{name}")
        tests = ["tests/unit", *(f"--ignore={folder}" for folder in LEFT_OUT)]
        command = [str(program), "-m", "pytest", "--quiet", *tests, *sys.argv[1:]]
        failed += subprocess.run(command, cwd=ROOT).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
