"""The demo serves a site that nobody else writes to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from demo_site import main as demo
from lib.project import ROOT


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
