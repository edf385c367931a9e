"""The Python of the README and the guide: scripts that run, and that type checkers accept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from aero_browser_disk.testing.image_server import ImageServer
from lib.project import ROOT
from support import file_images
from support.qemu import qemu_img
from support.readme import EXAMPLE_SAVES, EXAMPLE_URL, Block, blocks
from support.saves import SaveService

# Cells of a notebook in a browser: tests/browser/test_elsewhere.py does what they say.
IN_A_BROWSER_ONLY = "import micropip"
CELLS = [block for block in blocks("python") if IN_A_BROWSER_ONLY in block.text]
SCRIPTS = [block for block in blocks("python") if IN_A_BROWSER_ONLY not in block.text]
# What a page cannot know: the system's and the user's.
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


def test_all_but_micropips_python_runs_here():
    assert {block.page.name for block in CELLS} == {"README.md", "python.md"}
    assert len(CELLS) == 2
    assert len(SCRIPTS) >= 13


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk with an ext4 partition and a file in it."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "tree" / "etc").mkdir(parents=True)
    (folder / "tree" / "etc" / "fstab").write_text("proc /proc proc defaults 0 0\n")
    volume = file_images.make_ext(folder / "ext4", folder / "tree", "ext4", size=8 << 20)
    script = "label: dos\nstart=2048, size=16384, type=83\n"
    return file_images.partition(folder / "disk.img", script, 10 << 20, {2048: volume})


@pytest.fixture
def url(image: Path) -> Iterator[str]:
    with ImageServer({"win.img": image}) as server:
        yield server.url("win.img")


@pytest.fixture
def saves() -> Iterator[str]:
    with SaveService() as service:
        yield service.url


@pytest.mark.parametrize("block", SCRIPTS, ids=str)
def test_python_runs_as_a_script(block: Block, url, saves, tmp_path):
    """As a reader runs it who copied it into a file and put an address of their own in."""
    qemu_img("create", "-q", "-f", "qcow2", str(tmp_path / "disk.qcow2"), "1M")
    script = tmp_path / "script.py"
    text = block.text.replace(EXAMPLE_URL, url).replace(EXAMPLE_SAVES, saves)
    script.write_text(text, encoding="utf-8")
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    folders = {f"XDG_{kind}_HOME": str(tmp_path / kind) for kind in ("CACHE", "DATA")}
    command = [sys.executable, "-W", "error", "script.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**kept, **folders}, capture_output=True, text=True, timeout=250
    )
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of the pages' Python as modules; cells of a notebook in functions that await."""
    folder = tmp_path_factory.mktemp("samples")
    for block in blocks("python"):
        text = block.text
        if block in CELLS:
            text = f"async def cell() -> None:\n{textwrap.indent(text, '    ')}"
        (folder / f"{str(block).replace('.', '_').replace('-', '_')}.py").write_text(text)
    (folder / "micropip.py").write_text("async def install(requirements: str) -> None: ...\n")
    (folder / "protocols.py").write_text(PROTOCOLS)
    return folder


# What the guide says of obspec, for a type checker.
PROTOCOLS = """
from obspec import GetRange, GetRangeAsync, GetRanges, GetRangesAsync

from aero_browser_disk.integrations.obspec import AsyncFileRanges, FileRanges


def one(ranges: FileRanges) -> GetRange:
    return ranges


def many(ranges: FileRanges) -> GetRanges:
    return ranges


def one_async(ranges: AsyncFileRanges) -> GetRangeAsync:
    return ranges


def many_async(ranges: AsyncFileRanges) -> GetRangesAsync:
    return ranges
"""
# These have no types at all.
MYPY = "[mypy]\nstrict = True\n[mypy-fsspec.*,pandas.*]\nignore_missing_imports = True\n"
_CACHE = f"--cache-dir={ROOT / '.cache' / 'mypy-samples'}"
CHECK_BY_MYPY = ("mypy", "--config-file=mypy.ini", _CACHE)
PYRIGHT = ("pyright", "--pythonpath", sys.executable)


def check_types(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, timeout=280
    )
    return f"{done.stdout}{done.stderr}" if done.returncode else ""


def test_mypy_accepts_the_python(samples):
    (samples / "mypy.ini").write_text(MYPY)
    assert check_types(samples, *CHECK_BY_MYPY, ".") == ""


def test_pyright_accepts_the_python(samples):
    # The expression at the end of a cell is what a notebook shows.
    rules = {"reportUnusedExpression": "none", "pythonVersion": "3.11"}
    (samples / "pyrightconfig.json").write_text(json.dumps(rules))
    assert check_types(samples, *PYRIGHT) == ""


def test_a_type_checker_would_find_what_is_wrong(samples):
    wrong = samples / "wrong.py"
    wrong.write_text("from aero_browser_disk.sync import open_disk\nopen_disk(5).reed(0)\n")
    (samples / "mypy.ini").write_text(MYPY)
    try:
        for checker in ([*CHECK_BY_MYPY, "wrong.py"], [*PYRIGHT, "wrong.py"]):
            found = check_types(samples, *checker)
            assert "reed" in found
            assert "5" in found or "int" in found
    finally:
        wrong.unlink()
