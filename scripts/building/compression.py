"""Compresses files once, when the site is built, instead of at every request."""

from __future__ import annotations

import gzip
import hashlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from building.wheels import run
from lib.project import BUILDING, CACHE

if sys.version_info >= (3, 14):
    from compression.zstd import CompressionParameter, ZstdDict, compress
else:
    from backports.zstd import CompressionParameter, ZstdDict, compress

COMPRESSIBLE = {
    ".css", ".html", ".json", ".map", ".mjs", ".svg", ".ts", ".mts", ".wasm", ".webmanifest", ".zip"
}  # fmt: skip
SMALLEST = 1024  # bytes; below that the header costs as much as compression saves
# The window has to cover the prefix, which comes before the data, and the data.
_WINDOW_LOG = 25
_KEPT = CACHE / "compressed"


def write_siblings(site: Path) -> None:
    """Writes `file.br` and `file.gz` next to each file that shrinks by at least a tenth."""
    for path in sorted(site.rglob("*")):
        if path.suffix not in COMPRESSIBLE or path.stat().st_size < SMALLEST:
            continue
        data = path.read_bytes()
        for suffix, small in ((".br", brotli(data)), (".gz", gzip.compress(data, 9, mtime=0))):
            if len(small) < 0.9 * len(data):
                path.with_name(path.name + suffix).write_bytes(small)


def brotli(data: bytes) -> bytes:
    """The data compressed by Node's built-in brotli; cached, because that is slow."""
    return _kept(data, ".11.br", _make_brotli)


def zstd(data: bytes, prefix: bytes, *, small: bool) -> bytes:
    """The data as a zstd frame that is decompressed with that prefix."""
    level = 22 if small else 3

    def make(data: bytes) -> bytes:
        options: dict[int, int] = {
            CompressionParameter.compression_level: level,
            CompressionParameter.window_log: _WINDOW_LOG,
        }
        return compress(data, options=options, zstd_dict=ZstdDict(prefix, is_raw=True).as_prefix)

    return _kept(data, f".{level}.zst", make) if small else make(data)


def _kept(data: bytes, suffix: str, make: Callable[[bytes], bytes]) -> bytes:
    kept = _KEPT / (hashlib.sha256(data).hexdigest() + suffix)
    if not kept.exists():
        _KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_KEPT) as folder:
            made = Path(folder, "made")
            made.write_bytes(make(data))
            made.rename(kept)
    return kept.read_bytes()


def _make_brotli(data: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder, "plain"), Path(folder, "small")
        plain.write_bytes(data)
        run(["node", BUILDING / "brotli.mjs", plain, small])
        return small.read_bytes()
