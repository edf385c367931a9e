"""The README, taken apart."""

from __future__ import annotations

import re
from pathlib import Path

from lib.project import ROOT

README = ROOT / "README.md"
EXAMPLE_URL = "https://images.example/win.img"

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """The blocks of code in a language, in their order."""
    found = _BLOCK.findall(README.read_text(encoding="utf-8"))
    return [text for name, text in found if name == language]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


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
