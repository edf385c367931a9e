"""Compresses files once, when the site is built, instead of at every request."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from aero_browser_disk.formats.image_format import ZSTD
from aero_browser_disk.formats.zstandard import zstd_module
from building.wheels import run
from lib.project import BUILDING, CACHE

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
    module = zstd_module(ZSTD)
    level = 22 if small else 3
    parameter = module.CompressionParameter
    options = {parameter.compression_level: level, parameter.window_log: _WINDOW_LOG}

    def make(data: bytes) -> bytes:
        dictionary = module.ZstdDict(prefix, is_raw=True)
        return bytes(module.compress(data, options=options, zstd_dict=dictionary.as_prefix))

    if not small:
        return make(data)
    return _kept(data, f"-{hashlib.sha256(prefix).hexdigest()[:16]}.{level}.zst", make)


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
