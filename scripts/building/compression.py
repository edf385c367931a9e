"""Files compressed once, when the site is built, in place of at every request."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
from pathlib import Path

from building.wheels import run
from lib.project import BUILDING, CACHE

COMPRESSIBLE = {
    ".css", ".html", ".json", ".map", ".mjs", ".svg", ".ts", ".mts", ".wasm", ".webmanifest", ".zip"
}  # fmt: skip
SMALLEST = 1024  # bytes; below that a header costs as much as is saved
_KEPT = CACHE / "compressed"


def write_siblings(site: Path) -> None:
    """Writes `file.br` and `file.gz` next to each file that gets at least a tenth smaller."""
    for path in sorted(site.rglob("*")):
        if path.suffix not in COMPRESSIBLE or path.stat().st_size < SMALLEST:
            continue
        data = path.read_bytes()
        for suffix, small in ((".br", brotli(data)), (".gz", gzip.compress(data, 9, mtime=0))):
            if len(small) < 0.9 * len(data):
                path.with_name(path.name + suffix).write_bytes(small)


def brotli(data: bytes) -> bytes:
    """The data in brotli, by Node, which has it built in; kept, because it takes its time."""
    digest = hashlib.sha256(data).hexdigest()
    kept = _KEPT / f"{digest}.br"
    if not kept.exists():
        _KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_KEPT) as folder:
            plain, small = Path(folder, "plain"), Path(folder, "small")
            plain.write_bytes(data)
            run(["node", BUILDING / "brotli.mjs", plain, small])
            small.rename(kept)
    return kept.read_bytes()
