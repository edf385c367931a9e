"""Writes the guide of the site, `guide/`, from the pages in `web/guide`, by MkDocs.

Like the site's own, its pages load nothing from elsewhere and have no inline script or style. The
same sources give the same bytes.
"""

from __future__ import annotations

import logging
import os
import re
from importlib.resources import files
from pathlib import Path

import mkdocs.commands.build
import mkdocs.config
import pygments.formatters

from building.wheels import SOURCE_DATE_EPOCH
from lib.project import BUILDING

CONFIGURATION = BUILDING / "guide.yml"
FOLDER = "guide"
_PICTURE = re.compile(r'<p>(<img [^>]*src="([^"]+)"[^>]*>)</p>')
_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)


def write_guide(site: Path) -> None:
    """Writes the guide into the folder `guide` of a site.

    Raises `SystemExit` for a broken link or an unlisted page; MkDocs prints which.
    """
    folder = site / FOLDER
    logging.basicConfig(level=logging.WARNING)  # otherwise the reason for a failure is lost
    os.environ.setdefault("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH)  # otherwise the current time
    config = mkdocs.config.load_config(str(CONFIGURATION), site_dir=str(folder))
    config.plugins.run_event("startup", command="build", dirty=False)
    mkdocs.commands.build.build(config)
    for left in folder.glob("sitemap.xml*"):
        left.unlink()  # it would need the site's URL
    lunr = files("mkdocs.contrib.search").joinpath("templates/search/lunr.js")
    (folder / "lunr.js").write_bytes(lunr.read_bytes())
    (folder / "code.css").write_text(_code_styles(), encoding="utf-8")
    for page in folder.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        # Wide tables and long lines scroll on their own, by keyboard too.
        text = _TABLE.sub(r'<div class="scroll" tabindex="0">\g<0></div>', text)
        text = text.replace("<pre>", '<pre tabindex="0">')
        # On a phone a picture's text is small, so a tap opens the picture alone.
        text = _PICTURE.sub(r'<p><a href="\2">\1</a></p>', text)
        page.write_text(text, encoding="utf-8")


def _code_styles() -> str:
    def rules(style: str) -> str:
        formatter = pygments.formatters.HtmlFormatter(style=style, nobackground=True)
        return str(formatter.get_style_defs(".codehilite"))

    dark = rules("github-dark").replace("\n", "\n    ")
    return f"{rules('default')}\n@media (prefers-color-scheme: dark) {{\n    {dark}\n}}\n"
