"""The figures of the panel: what is open, what it has done, and how full its cache is."""

from __future__ import annotations

from ..disk import DiskInfo, DiskStats
from ..units import format_bytes, format_count, format_percent
from . import panel_texts as texts

_UNKNOWN = "–"


def _row(label: str, value: str, note: str = "") -> dict[str, str]:
    return {"label": label, "value": value, "note": note}


def image_rows(info: DiskInfo | None) -> list[dict[str, str]]:
    if info is None:
        return [_row(label, _UNKNOWN) for label in texts.IMAGE_LABELS]
    size, block, version, access = texts.IMAGE_LABELS
    blocks = -(-info.size // info.block_size)
    return [
        _row(size, format_bytes(info.size), format_count(info.size, "byte")),
        _row(block, format_bytes(info.block_size), format_count(blocks, "block")),
        _row(version, info.version),
        _row(access, texts.READ_ONLY if info.read_only else texts.WRITABLE),
    ]


def cache_figures(
    stats: DiskStats | None, info: DiskInfo | None = None, *, is_local: bool = False
) -> dict[str, object]:
    """The cache of a remote disk, or what is written of a local one; `value` and `max` are bytes.

    The meter shows how much of the image is cached, the texts that and how full the cache is.
    """
    if stats is None:
        nothing = {"share": "", "limit": "", "note": ""}
        return {"value": 0, "max": 1, "text": texts.NOTHING_OPEN, **nothing}
    if is_local and info is not None:
        return {
            "value": min(stats.used_bytes, info.size),
            "max": info.size,
            "text": texts.ALL_HERE,
            "share": texts.WRITTEN.format(size=format_bytes(stats.used_bytes)),
            "limit": "",
            "note": texts.STORAGE_LOCAL,
        }
    size = info.size if info is not None else max(stats.cached_bytes, 1)
    cached = min(stats.cached_bytes, size)  # its last block may end beyond it
    return {
        "value": cached,
        "max": size,
        "text": texts.CACHED.format(
            size=format_bytes(stats.cached_bytes), blocks=format_count(stats.cached_blocks, "block")
        ),
        "share": texts.CACHE_SHARE.format(percent=format_percent(cached, size)),
        "limit": texts.CACHE_LIMIT.format(
            percent=format_percent(stats.cached_bytes, stats.cache_limit_bytes),
            limit=format_bytes(stats.cache_limit_bytes),
        ),
        "note": texts.STORAGE[stats.storage],
    }


def activity_rows(
    stats: DiskStats | None, info: DiskInfo | None, *, packed: bool
) -> list[dict[str, str]]:
    """The counters. Those of a `packed` disk say what was saved, zeros included."""
    if stats is None:
        return [_row(label, _UNKNOWN) for label in texts.ACTIVITY_LABELS]
    downloaded, requests, hit_rate, read = texts.ACTIVITY_LABELS
    lookups = stats.hits + stats.misses
    blocks = format_count(stats.blocks_downloaded, "block")
    if stats.kept_bytes:
        blocks = texts.KEPT.format(size=format_bytes(stats.kept_bytes))
    elif packed and info is not None:
        unpacked = min(stats.blocks_downloaded * info.block_size, info.size)
        blocks = texts.PACKED.format(size=format_bytes(unpacked))
    return [
        _row(downloaded, format_bytes(stats.bytes_downloaded), blocks),
        _row(
            requests,
            f"{stats.requests:,}",
            texts.IN_FLIGHT.format(count=stats.requests_in_flight)
            if stats.requests_in_flight
            else "",
        ),
        _row(
            hit_rate,
            format_percent(stats.hits, lookups) if lookups else _UNKNOWN,
            texts.HITS.format(hits=stats.hits, lookups=lookups) if lookups else "",
        ),
        _row(
            read,
            format_bytes(stats.bytes_read),
            texts.WRITTEN.format(size=format_bytes(stats.bytes_written))
            if stats.bytes_written
            else "",
        ),
    ]
