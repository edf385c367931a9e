"""Writes the reference of this package's public API, from its docstrings: `api/` of the site.

It loads nothing from elsewhere and has no script, so it works under the site's own
Content-Security-Policy and without the network.
"""

from __future__ import annotations

import importlib
import re
import warnings
from pathlib import Path

import jinja2
import pdoc.doc
import pdoc.render
import pygments.formatters

from lib.project import BUILDING, WEB_FOLDERS

TEMPLATES = BUILDING / "reference_templates"
FOLDER = "api"

# The public modules; tests/unit/test_public_names.py has the names. Everything else may change with
# any version.
MODULES = (
    "aero_browser_disk",
    "aero_browser_disk.errors",
    "aero_browser_disk.file_systems",
    "aero_browser_disk.formats",
    "aero_browser_disk.integrations.obspec",
    "aero_browser_disk.notebook",
    "aero_browser_disk.platform",
    "aero_browser_disk.saves",
    "aero_browser_disk.sync",
    "aero_browser_disk.testing",
)
SCRIPT_MODULES = (
    "aero-disk",
    "library",
    "saves",
    "files",
    "doctor",
    "v86-disk",
    "boot",
    "shared-blocks",
    "offline",
)

_STYLES = (
    "resources/bootstrap-reboot.min.css",
    "syntax-highlighting.css",
    "theme.css",
    "layout.css",
    "content.css",
    "custom.css",
)
# A base class or type that is not public has no anchor to link to.
_TO_PRIVATE = re.compile(r'<a href="[^"]*#(?:\w+\.)?_[A-Za-z]\w*">([^<]*)</a>')
_FIRST_COMMENT = re.compile(r"\A/\*\*\n(?P<text>.*?)\*/", re.DOTALL)


def write_reference(site: Path) -> None:
    """Writes the reference into the folder `api` of a site, the same bytes for the same sources."""
    folder = site / FOLDER
    pdoc.render.configure(
        docformat="markdown",
        search=False,  # it needs a script in each page
        show_source=False,
        template_directory=TEMPLATES,
    )
    environment = pdoc.render.env
    environment.globals["script_modules"] = [(name, summary_of(name)) for name in SCRIPT_MODULES]
    modules = {name: _module(name) for name in MODULES}
    pages = {"index.html": pdoc.render.html_index(modules), "reference.css": _styles(environment)}
    with warnings.catch_warnings():
        # A method `list` hides the type from pdoc, which then shows the annotation as written.
        warnings.filterwarnings("ignore", "Error parsing type annotation", UserWarning)
        for name, module in modules.items():
            pages[f"{name.replace('.', '/')}.html"] = pdoc.render.html_module(module, modules)
    for name, page in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_TO_PRIVATE.sub(r"\1", page), encoding="utf-8")


def _module(name: str) -> pdoc.doc.Module:
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        setattr(module, public, getattr(module, public))  # pdoc misses lazily loaded names
    return pdoc.doc.Module(module)


def summary_of(script: str) -> str:
    """The first paragraph of an ES module's first comment."""
    (path,) = (path for folder in WEB_FOLDERS for path in folder.glob(f"{script}.mjs"))
    source = path.read_text(encoding="utf-8")
    found = _FIRST_COMMENT.match(source)
    assert found is not None, f"{script}.mjs does not begin with what it is"
    lines = (line.strip().removeprefix("*").strip() for line in found["text"].splitlines())
    return " ".join(lines).split("  ")[0]


def _styles(environment: jinja2.Environment) -> str:
    sheets = [environment.get_template(name).render() for name in _STYLES]
    dark = pygments.formatters.HtmlFormatter(style="github-dark")
    rules = dark.get_style_defs(".pdoc-code").replace("\n", "\n    ")
    return "\n".join([*sheets, f"@media (prefers-color-scheme: dark) {{\n    {rules}\n}}\n"])
