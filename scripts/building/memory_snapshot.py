"""The memory snapshot that Python starts from in the browser: Pyodide and this package in it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from building.compression import zstd
from building.pyodide_distribution import FOLDER as PYODIDE_FOLDER
from building.pyodide_distribution import WORKER_FILES
from building.wheels import run
from lib.project import BUILDING, PYODIDE

FOLDER = "quick-start"
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
    snapshot = make_snapshot(source)
    digest = hashlib.sha256(snapshot.packed).hexdigest()
    path = Path(FOLDER, f"python-{digest[:16]}.snapshot.zst")
    (site / FOLDER).mkdir()
    (site / path).write_bytes(zstd(snapshot.packed, snapshot.data, small=small))
    wheel_path = wheel.relative_to(site).as_posix()
    build = {
        "wheel": wheel_path,
        "snapshot": {
            "path": path.as_posix(),
            "bytes": len(snapshot.packed),
            **snapshot.facts,
        },
    }
    paths = [wheel_path, path.as_posix(), *(f"{PYODIDE_FOLDER}/{name}" for name in WORKER_FILES)]
    urls = "".join(f'  "{name}": new URL("./{name}", import.meta.url).href,\n' for name in paths)
    sizes = {name: (site / name).stat().st_size for name in paths}
    text = (
        f"export const files = {{\n{urls}}};\nexport const sizes = {json.dumps(sizes)};\n"
        f"export const build = {json.dumps(build)};\n"
    )
    (site / "build.mjs").write_text(HEADER + text)


def make_snapshot(wheel: Path) -> Snapshot:
    """The snapshot; the same for the same wheel."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "snapshot")
        run(["node", BUILDING / "make_snapshot.mjs", PYODIDE, wheel, made])
        return Snapshot(
            made.read_bytes(),
            made.with_suffix(".data").read_bytes(),
            json.loads(made.with_suffix(".json").read_text()),
        )
