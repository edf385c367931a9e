"""The reference in the built site: complete, the same each time, and all of it from there."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import aero_browser_disk
from building import api_reference
from lib.project import ROOT, SCRIPTS, WEB_FOLDERS
from support.markup import Markup


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    api_reference.write_reference(site)
    return site / "api"


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[Path, Markup]:
    return {path: Markup(path.read_text()) for path in folder.rglob("*.html")}


def test_pages_are_markup_that_the_sites_policy_allows(pages):
    assert len(pages) == len(api_reference.MODULES) + 1
    for path, page in pages.items():
        assert not page.forbidden, path
        assert "<script" not in path.read_text(), path
        assert "&lt;p&gt;" not in path.read_text(), path


def test_every_link_leads_to_something_in_the_site(pages, folder):
    elsewhere = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                elsewhere += [] if link == "data:," else [link]
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target == folder.parent / "guide" / "index.html":
                continue  # tests/unit/scripts/test_guide_pages.py writes it
            if target == folder / "js" / "index.html":
                continue  # tests/unit/scripts/test_script_reference.py writes it
            if target.parent == folder.parent:  # an ES module, whose types the build makes of it
                name = target.name.replace(".d.mts", ".mjs")
                assert any((folder / name).is_file() for folder in WEB_FOLDERS), link
            else:
                assert target.is_file(), f"{path}: {link}"
            if parts.fragment and target in pages:
                name = unquote(parts.fragment)
                # What a class has from Python's own is not listed: then the class will do.
                is_there = {name, name.rpartition(".")[0]} & pages[target].anchors
                assert is_there, f"{path}: {link}"
    assert not elsewhere


def test_everything_public_is_explained(pages, folder):
    home = pages[folder / "aero_browser_disk.html"]
    assert set(aero_browser_disk.__all__) - {"errors"} <= home.anchors
    errors = pages[folder / "aero_browser_disk" / "errors.html"]
    assert "ImageChangedError" in errors.anchors
    text = (folder / "aero_browser_disk.html").read_text()
    assert "without it no request is sent" in re.sub(r"\s+", " ", text)


WRITE = """
import sys; from pathlib import Path; from building import api_reference
api_reference.MODULES = ("aero_browser_disk.errors", "aero_browser_disk.remote.retry")
api_reference.write_reference(Path(sys.argv[1]))
"""


def test_the_same_sources_give_the_same_bytes(tmp_path):
    digests = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(SCRIPTS)}
        site = tmp_path / seed
        subprocess.run([sys.executable, "-c", WRITE, site], env=environment, cwd=ROOT, check=True)
        files = sorted(path for path in site.rglob("*") if path.is_file())
        assert len(files) == 4
        digests.add(hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest())
    assert len(digests) == 1
