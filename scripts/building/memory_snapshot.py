"""The memory snapshot that Python starts from in the browser: Pyodide and this package in it.

Modules that few pages use are not in it. They are in an archive that is fetched when the first of
them is imported.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from building.compression import zstd
from building.pyodide_distribution import FOLDER as PYODIDE_FOLDER
from building.pyodide_distribution import WORKER_FILES
from building.wheels import run
from lib.project import BUILDING, PYODIDE

FOLDER = "quick-start"
# In the archive: files of the wheel whose paths begin so.
LATER = (
    "aero_browser_disk/disk_html.py",
    "aero_browser_disk/saves/",
    "aero_browser_disk/transfer/image_pack.py",
    "aero_browser_disk/transfer/pack_",
    "aero_browser_disk/ui/save_texts.py",
    "aero_browser_disk/worker/panel_save_operations.py",
    "aero_browser_disk/worker/save_operations.py",
)
HEADER = "// Written by scripts/build: see web/lib/build.mjs in the sources.\n"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot before it is compressed."""

    packed: bytes
    data: bytes  # WebAssembly's initial data, the prefix for compression
    facts: dict[str, Any]  # for the code that restores it


def write_build_module(site: Path, source: Path, wheel: Path, *, small: bool) -> None:
    """Writes the snapshot of the wheel `source`, and `build.mjs`: its name and that of `wheel`.

    The worker decompresses it itself, since a static server may not send its Content-Encoding.
    `small` takes the time that the best compression needs.
    """
    (site / FOLDER).mkdir()
    later = write_later_modules(wheel, site / FOLDER)
    snapshot = make_snapshot(source, later)
    digest = hashlib.sha256(snapshot.packed).hexdigest()
    path = Path(FOLDER, f"python-{digest[:16]}.snapshot.zst")
    (site / path).write_bytes(zstd(snapshot.packed, snapshot.data, small=small))
    wheel_path, later_path = (file.relative_to(site).as_posix() for file in (wheel, later))
    build = {
        "wheel": wheel_path,
        "snapshot": {
            "path": path.as_posix(),
            "bytes": len(snapshot.packed),
            "later": later_path,
            **snapshot.facts,
        },
    }
    made = [wheel_path, path.as_posix(), later_path]
    paths = [*made, *(f"{PYODIDE_FOLDER}/{name}" for name in WORKER_FILES)]
    urls = "".join(f'  "{name}": new URL("./{name}", import.meta.url).href,\n' for name in paths)
    sizes = {name: (site / name).stat().st_size for name in paths}
    text = (
        f"export const files = {{\n{urls}}};\nexport const sizes = {json.dumps(sizes)};\n"
        f"export const build = {json.dumps(build)};\n"
    )
    (site / "build.mjs").write_text(HEADER + text)


def write_later_modules(wheel: Path, folder: Path) -> Path:
    """Writes the archive of the modules that are fetched later, out of the compiled wheel."""
    with tempfile.TemporaryDirectory() as made:
        archive = Path(made, "later.zip")
        copy_files(wheel, archive, is_later)
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        path = folder / f"later-{digest[:16]}.zip"
        path.write_bytes(archive.read_bytes())
        return path


def is_later(name: str) -> bool:
    """Whether the file of the wheel is not in the snapshot, but in the archive."""
    return name.startswith(LATER)


def copy_files(archive: Path, out: Path, chosen: Callable[[str], bool]) -> None:
    """Copies the chosen files of a zip archive to another, with their dates."""
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(out, "w") as part:
        for file in whole.infolist():
            if chosen(file.filename):
                part.writestr(file, whole.read(file))


def make_snapshot(wheel: Path, later: Path) -> Snapshot:
    """The snapshot of a wheel; the same for the same wheel. `later` is the archive of the rest."""
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder, wheel.name)
        copy_files(wheel, first, lambda name: not is_later(name))
        made = Path(folder, "snapshot")
        run(["node", BUILDING / "make_snapshot.mjs", PYODIDE, first, later, made])
        return Snapshot(
            made.read_bytes(),
            made.with_suffix(".data").read_bytes(),
            json.loads(made.with_suffix(".json").read_text()),
        )
