"""The guide in the built site: complete, the same each time, and all of it from there."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from building import guide, guide_links
from lib.project import ROOT, SCRIPTS
from support.markup import Markup
from support.readme import GUIDE

WRITE = "import sys; from pathlib import Path; from building.guide import write_guide; "
WRITE += "write_guide(Path(sys.argv[1]))"


def write(site: Path, **variables: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), **variables}
    subprocess.run([sys.executable, "-c", WRITE, site], env=environment, cwd=ROOT, check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    write(site)
    return site / guide.FOLDER


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[Path, Markup]:
    return {path: Markup(path.read_text()) for path in folder.rglob("*.html")}


def test_every_page_is_there(pages, folder):
    sources = {path.relative_to(GUIDE).with_suffix(".html") for path in GUIDE.rglob("*.md")}
    assert {path.relative_to(folder) for path in pages} == sources


def test_nothing_in_a_page_needs_more_than_the_policy_allows(pages):
    for path, page in pages.items():
        assert not page.forbidden, path
        assert "script-src 'self'; style-src 'self'" in path.read_text()


def test_every_link_leads_to_the_site_or_to_the_sources(pages, folder):
    site = folder.parent
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            if parts.scheme:
                of_ours = link.removeprefix(f"{guide_links.repository()}/blob/main/")
                assert of_ours == link or (ROOT / unquote(urlsplit(of_ours).path)).exists(), link
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target in {site / "index.html", site / "api" / "index.html"}:
                continue
            assert target.is_file(), f"{path}: {link}"
            if parts.fragment:
                assert unquote(parts.fragment) in pages[target].anchors, f"{path}: {link}"


def test_nothing_is_loaded_from_elsewhere(pages):
    for path, page in pages.items():
        assert page.loaded
        assert not [link for link in page.loaded if urlsplit(link).scheme not in {"", "data"}], path


def test_the_index_knows_every_section(pages, folder):
    index = json.loads((folder / "search" / "search_index.json").read_bytes())
    found = {entry["location"] for entry in index["docs"]}
    assert "local-images.html#overlays" in found
    assert {location.partition("#")[0] for location in found} == {
        path.relative_to(folder).as_posix() for path in pages
    }


def test_the_same_sources_give_the_same_bytes(folder, tmp_path):
    write(tmp_path, PYTHONHASHSEED="1", TZ="Asia/Tokyo")
    digests = [
        {
            path.relative_to(made): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in made.rglob("*")
            if path.is_file()
        }
        for made in (folder, tmp_path / guide.FOLDER)
    ]
    assert digests[0] == digests[1]


def test_a_link_that_leads_nowhere_stops_the_build(tmp_path, monkeypatch):
    source = tmp_path / "guide"
    source.mkdir()
    (source / "index.md").write_text("# Guide\n\n[nowhere](nowhere.md)\n")
    configuration = (guide.CONFIGURATION.read_text()).replace("../../web/guide", str(source))
    configuration = configuration.partition("nav:")[0]
    for name in ("guide_theme", "guide_links.py"):
        configuration = configuration.replace(name, str(guide.CONFIGURATION.parent / name))
    (tmp_path / "guide.yml").write_text(configuration)
    monkeypatch.setattr(guide, "CONFIGURATION", tmp_path / "guide.yml")
    with pytest.raises(SystemExit):
        guide.write_guide(tmp_path / "site")
