"""The demo serves a site that nobody else writes to."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from pathlib import Path

import pytest

from aero_browser_disk.formats.local_file import open_file_disk
from aero_browser_disk.transfer.pack_check import check_image, open_folder
from demo_site import main as demo
from lib.project import ROOT
from samples.prepared_samples import prepare_sample


class BuiltError(Exception):
    """Ends the demo once it has its site."""


def test_no_build_replaces_what_a_running_demo_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(512))
    folders: list[Path] = []

    def build_site(out: Path, **options: bool) -> None:
        out.mkdir()
        folders.append(out)
        raise BuiltError

    monkeypatch.setattr(demo, "build_site", build_site)
    monkeypatch.setattr(sys, "argv", ["demo", "--images", str(tmp_path)])
    for _ in range(2):
        with pytest.raises(BuiltError):
            demo.main()
    first, second = folders
    # Neither where ./scripts/build writes to nor where another demo does.
    assert first != second
    assert not first.is_relative_to(ROOT)
    # And nothing is left of it.
    assert not first.exists()


async def test_a_sample_is_prepared_with_its_boot(tmp_path: Path) -> None:
    image, trace = tmp_path / "disk.img", tmp_path / "trace.json.gz"
    content = b"one " * 100_000 + bytes(600_000) + b"end" * 7
    image.write_bytes(content)
    trace.write_bytes(gzip.compress(json.dumps({"size": len(content), "reads": [[5, 9]]}).encode()))
    folder = await asyncio.to_thread(prepare_sample, image, trace)
    layout = open_folder(folder / "manifest.json")
    assert layout.manifest.boot is not None
    async with await open_file_disk(folder / "manifest.json") as disk:
        assert await disk.read(0, len(content)) == content
    # Nothing of an earlier image is left, and no boot of another one is taken.
    image.write_bytes(content[:-1])
    assert await asyncio.to_thread(prepare_sample, image, trace) == folder
    layout = open_folder(folder / "manifest.json")
    assert layout.manifest.boot is None
    assert (await check_image(layout)).is_whole
    assert len([*folder.glob("chunks/*/*")]) == 1 + layout.manifest.stored_chunks
