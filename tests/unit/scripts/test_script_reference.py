"""The reference of the ES modules: complete, and all of it from the site."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from building.script_reference import write_script_reference
from lib.project import WEB_LIB
from support.markup import Markup


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    write_script_reference(site)
    return site / "api" / "js"


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[Path, Markup]:
    return {path: Markup(path.read_text()) for path in folder.rglob("*.html")}


def test_everything_that_the_main_module_exports_has_a_page(folder):
    source = (WEB_LIB / "aero-disk.mjs").read_text()
    exported = {
        name.strip()
        for names in re.findall(r"^export \{ (.*) \} from", source, re.MULTILINE)
        for name in names.split(",")
    }
    exported |= set(re.findall(r"^export (?:async )?function (\w+)", source, re.MULTILINE))
    assert len(exported) >= 9
    written = {path.name.split(".")[-2] for path in folder.rglob("aero-disk.mjs.*.html")}
    assert exported <= written
    text = (folder / "classes" / "aero-disk.mjs.Disk.html").read_text()
    for method in ("read", "tryRead", "readSync", "write", "flush", "close"):
        assert f'id="{method.lower()}"' in text
    assert "An open disk." in text


def test_pages_are_markup_that_the_sites_policy_allows(pages):
    assert len(pages) > 40
    for path, page in pages.items():
        assert not page.forbidden, path


def test_every_link_leads_to_something_in_the_site(pages, folder):
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not parts.path:
                # What MDN says of a type of the browser is the one thing elsewhere.
                assert not parts.netloc or parts.netloc == "developer.mozilla.org", link
                continue
            target = (path.parent / unquote(parts.path)).resolve()
            if folder not in target.parents:
                site = folder.parent.parent  # Python's reference, or the guide
                assert target in {site / "api" / "index.html", site / "guide" / "index.html"}, link
            else:
                assert target.is_file(), f"{path}: {link}"
