"""The boot profiles of the demo: made from a recorded boot, offered by the image service."""

from __future__ import annotations

import gzip
import json
import urllib.request
from pathlib import Path

from aero_browser_disk.streaming.boot_profile import BootProfile
from lib.image_service import ImageService
from samples.boot_profiles import BLOCK_SIZE, blocks_read, offer_boot_profile

SIZE = 40 * BLOCK_SIZE


def a_trace(folder: Path, size: int = SIZE) -> Path:
    """A boot that reads the last block, then the first, then the last again."""
    reads = [[SIZE - 512, 512, 0.0], [0, 4096, 10.0], [SIZE - 1024, 1024, 20.0]]
    trace = folder / "boot.json.gz"
    trace.write_bytes(gzip.compress(json.dumps({"size": size, "reads": reads}).encode()))
    return trace


def test_each_block_is_there_once_in_the_order_of_its_first_use() -> None:
    reads = [(3 * BLOCK_SIZE - 1, 2), (0, 1), (2 * BLOCK_SIZE, BLOCK_SIZE)]
    assert blocks_read(reads) == (2, 3, 0)


def test_the_service_offers_the_profile_of_this_very_file(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    image = images / "disk.img"
    image.write_bytes(bytes(SIZE))
    with ImageService(images, "127.0.0.1", []) as service:
        assert offer_boot_profile(service, image, a_trace(tmp_path))
        with urllib.request.urlopen(service.url + "/v1/images/disk.img/boot-profile") as answer:
            profile = BootProfile.decode(answer.read())
    assert profile.blocks == (39, 0)
    assert profile.block_size == BLOCK_SIZE


def test_the_boot_of_another_image_is_no_profile(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    image = images / "disk.img"
    image.write_bytes(bytes(SIZE))
    with ImageService(images, "127.0.0.1", []) as service:
        assert not offer_boot_profile(service, image, a_trace(tmp_path, size=SIZE + 512))
    assert list(images.iterdir()) == [image]
