"""Writes the reference of the ES modules, from the types in their comments: `api/js/` of the site.

TypeDoc makes it; `web/typedoc.json` lists the modules. If a public type refers to one that is not
exported, the build fails. Its pages load nothing from elsewhere and have no inline script:
they work under the site's own Content-Security-Policy. The same sources give the same bytes.
"""

from __future__ import annotations

import re
from pathlib import Path

from building.wheels import run
from lib.project import NODE_MODULES, WEB

FOLDER = Path("api", "js")
# TypeDoc writes the same header links on pages of every depth.
_SITE = "https://site.invalid/"
# TypeDoc hides the page until an inline script has run. A strict policy forbids that script, and
# the pages work without it.
_INLINE_SCRIPT = re.compile(r"<script>.*?</script>", re.DOTALL)


def write_script_reference(site: Path) -> None:
    """Writes the reference into the folder `api/js` of a site."""
    folder = site / FOLDER
    run([NODE_MODULES / ".bin" / "typedoc", "--options", WEB / "typedoc.json", "--out", folder])
    (folder / ".nojekyll").unlink(missing_ok=True)
    for page in folder.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        text = text.replace(_SITE, "../" * (len(page.relative_to(site).parts) - 1))
        page.write_text(_INLINE_SCRIPT.sub("", text), encoding="utf-8")
