"""The memory snapshot that Python starts from in the browser: Pyodide and this package in it."""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from building.compression import brotli
from building.pyodide_distribution import FOLDER as PYODIDE_FOLDER
from building.pyodide_distribution import WORKER_FILES
from building.wheels import run
from lib.project import BUILDING, PYODIDE

FOLDER = "quick-start"
HEADER = "// Written by scripts/build: see web/lib/build.mjs in the sources.\n"


def write_build_module(site: Path, wheel: Path, *, small: bool) -> None:
    """Writes the snapshot of the site's wheel, compressed, and `build.mjs`, which names both.

    The worker undoes the compression itself, since a static host may not say that there is one.
    `small` takes the time for brotli too.
    """
    packed, facts = make_snapshot(wheel)
    digest = hashlib.sha256(packed).hexdigest()
    path = Path(FOLDER, f"python-{digest[:16]}.snapshot")
    encoded = compress(packed, small=small)
    (site / FOLDER).mkdir()
    for encoding, data in encoded.items():
        (site / f"{path}.{encoding}").write_bytes(data)
    wheel_path = wheel.relative_to(site).as_posix()
    build = {
        "wheel": wheel_path,
        "snapshot": {
            "path": path.as_posix(),
            "encodings": sorted(encoded),
            "bytes": len(packed),
            **facts,
        },
    }
    paths = [wheel_path, *(f"{path}.{encoding}" for encoding in sorted(encoded))]
    paths += [f"{PYODIDE_FOLDER}/{name}" for name in WORKER_FILES]
    urls = "".join(f'  "{name}": new URL("./{name}", import.meta.url).href,\n' for name in paths)
    text = f"export const files = {{\n{urls}}};\nexport const build = {json.dumps(build)};\n"
    (site / "build.mjs").write_text(HEADER + text)


def make_snapshot(wheel: Path) -> tuple[bytes, dict[str, object]]:
    """The packed snapshot, and what goes with it; the same for the same wheel."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "snapshot")
        run(["node", BUILDING / "make_snapshot.mjs", PYODIDE, wheel, made])
        facts: dict[str, object] = json.loads(made.with_suffix(".json").read_text())
        return made.read_bytes(), facts


def compress(data: bytes, *, small: bool) -> Mapping[str, bytes]:
    """The data by the encodings' names in `DecompressionStream`."""
    if not small:
        return {"gzip": gzip.compress(data, compresslevel=1, mtime=0)}
    return {"gzip": gzip.compress(data, compresslevel=9, mtime=0), "brotli": brotli(data)}
