"""Boot profiles for the images of the demo, so that a first visit boots quickly.

A profile belongs to one version of an image, and the version includes the file's time. So it is
made where the image is served, from the reads of a boot that was recorded before.
"""

from __future__ import annotations

import gzip
import json
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from aero_browser_disk.streaming.boot_profile import BootProfile
from lib.image_service import ImageService

BLOCK_SIZE = 16 << 10  # the client's default block size
TIMEOUT_S = 30

Read = tuple[int, int]
"""Offset and length in bytes."""


def recorded_reads(trace: Path) -> tuple[int, list[Read]]:
    """The size of the image that was booted, and the reads of the boot, in order."""
    recorded = json.loads(gzip.decompress(trace.read_bytes()))
    return recorded["size"], [(offset, length) for offset, length, *_ in recorded["reads"]]


def blocks_read(reads: Iterable[Read], block_size: int = BLOCK_SIZE) -> tuple[int, ...]:
    """The blocks that the reads touch, each once, in the order of their first use."""
    blocks: dict[int, None] = {}
    for offset, length in reads:
        first, last = offset // block_size, (offset + length - 1) // block_size
        blocks.update(dict.fromkeys(range(first, last + 1)))
    return tuple(blocks)


def offer_boot_profile(service: ImageService, image: Path, trace: Path) -> bool:
    """Writes a profile next to the image, for the service, if the trace is from this image."""
    size, reads = recorded_reads(trace)
    with urllib.request.urlopen(service.facts_url(image), timeout=TIMEOUT_S) as response:
        facts = json.load(response)
    if size != facts["size_bytes"]:
        return False
    profile = BootProfile(size, facts["etag"], BLOCK_SIZE, blocks_read(reads))
    profile_of(image).write_bytes(profile.encode())
    return True


def withdraw_boot_profile(image: Path) -> None:
    """Removes the profile next to the image, if there is one."""
    profile_of(image).unlink(missing_ok=True)


def profile_of(image: Path) -> Path:
    """Where the service looks for the boot profile of an image."""
    return image.with_name(f"{image.name}.boot-profile")
