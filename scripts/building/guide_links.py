"""A hook of MkDocs: links out of the guide's folder lead to the repository."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """The page with these links replaced."""
    docs = Path(config.docs_dir)
    here = docs / page.file.src_uri

    def replaced(found: re.Match[str]) -> str:
        target, anchor = found[2], found[3] or ""
        path = (here.parent / target).resolve()
        if "://" in target or path.is_relative_to(docs):
            return found[0]
        return f"{found[1]}{repository()}/blob/main/{path.relative_to(ROOT).as_posix()}{anchor})"

    return _LINK.sub(replaced, markdown)


@cache
def repository() -> str:
    """The repository's URL, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Source"])
