"""The adapter for DOSBox under real DOSBox; the cases are in dosbox.test.mjs."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import dos_images, file_images
from support.node_cases import run_cases


@pytest.mark.timeout(600)
def test_a_guest_in_dosbox_reads_and_writes_the_disk(tmp_path: Path) -> None:
    tree = dos_images.make_tree(tmp_path)
    volumes = {name: dos_images.make_volume(tmp_path, tree, name) for name in dos_images.VOLUMES}
    dos_images.make_disk(tmp_path, volumes["volume"])
    file_images.make_iso(tmp_path / "disc.iso", tree)
    cases = Path(__file__).with_name("dosbox.test.mjs")
    run_cases(cases, timeout_s=570, DOS_IMAGES=str(tmp_path))
