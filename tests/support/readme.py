"""The README and the guide, taken apart."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from lib.project import ROOT, WEB

README = ROOT / "README.md"
GUIDE = WEB / "guide"
# Everything that a reader is told, in the order of their names.
PAGES = (README, *sorted(GUIDE.rglob("*.md")), *sorted((ROOT / ".github").glob("*.md")))
EXAMPLE_URL = "https://images.example/win.img"
EXAMPLE_SAVES = "https://images.example/v1/saves"

_BLOCK = re.compile(r"^(?P<indent> *)```(\w*)\n(.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code in a page."""

    page: Path
    number: int  # among all blocks of the page, from 1
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}-{self.number}"


def all_blocks() -> list[Block]:
    """Every block of code, page by page."""
    return [
        Block(page, number, language, textwrap.dedent(text))
        for page in PAGES
        for number, (_, language, text) in enumerate(_BLOCK.findall(source_of(page)), 1)
    ]


def blocks(language: str) -> list[Block]:
    """The blocks of code in a language."""
    return [block for block in all_blocks() if block.language == language]


def source_of(page: Path) -> str:
    """A page as it is written."""
    return page.read_text(encoding="utf-8")


def section(page: Path, title: str) -> str:
    """A section of a page, from its heading to the next of the same level."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*)", source_of(page), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{page.name} has no section {title!r}"
    level = len(found[1])
    return re.split(rf"^#{{1,{level}}} ", found[2], maxsplit=1, flags=re.MULTILINE)[0]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _BLOCK.sub("", source_of(page))


def links(page: Path) -> set[str]:
    """What a page links to in this tree, and where in it."""
    targets = set(re.findall(r"\]\(([^)\s]+)\)", prose(page)))
    return {target for target in targets if "://" not in target}


def slugs(page: Path, level: int | None = None) -> set[str]:
    """The anchors of a page's headings, of one level or of all, as GitHub names them."""
    marks = "#" * level if level else "#+"
    titles = re.findall(rf"^{marks} (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def named_tests(text: str) -> tuple[set[str], set[str]]:
    """The test files and the test functions that a text names."""
    files = set(re.findall(r"`(tests/[\w/]+\.(?:py|mjs))", text))
    return files, set(re.findall(r"`(test_\w+)`", text))
