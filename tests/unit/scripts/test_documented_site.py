"""The page, the guide and both references in one site, as the full build writes them.

`./scripts/test` builds its site with `--quick`, without the guide and the references. Their tests
write each alone, so this one follows the links from one to another.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from lib.project import ROOT, SCRIPTS
from support.markup import Markup

# All but what takes wheels, which needs minutes and no documentation.
WRITE = """
import sys
from pathlib import Path
from building import site

folder = Path(sys.argv[1])
making = site.Making(folder / "site", folder, small=False, documented=True)
making.site.mkdir()
left_out = {site.write_wheels, site.write_snapshot, site.write_compressed}
for part in site.PARTS:
    if part not in left_out:
        part(making)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documented")
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    subprocess.run([sys.executable, "-c", WRITE, folder], env=environment, cwd=ROOT, check=True)
    return folder / "site"


def test_every_link_between_the_page_the_guide_and_the_references_leads_somewhere(site):
    broken = []
    pages = sorted(site.rglob("*.html"))
    assert {page.relative_to(site).parts[0] for page in pages} >= {"index.html", "guide", "api"}
    for page in pages:
        for link in Markup(page.read_text(encoding="utf-8")).links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not parts.path:
                continue
            target = (page.parent / unquote(parts.path)).resolve()
            if not (target / "index.html" if target.is_dir() else target).is_file():
                broken.append(f"{page.relative_to(site)}: {link}")
    assert not broken
