"""Text that others wrote is shown without what hides in it, by one filter."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import aero_browser_disk
from aero_browser_disk.platform.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcödé 文", "plain ünïcödé 文"),
        ("a\x1b[31mred", "a\ufffd[31mred"),
        ("gpj.\u202eexe", "gpj.\ufffdexe"),
        ("two\nlines\x00\udc80", "two\ufffdlines\ufffd\ufffd"),
        ("", ""),
    ],
)
def test_what_does_not_print_is_replaced(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_the_filter_is_written_once() -> None:
    """`isprintable` inside a comprehension is a second filter; as a plain condition it is none."""
    filters = {
        path.name
        for path in Path(aero_browser_disk.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.GeneratorExp | ast.ListComp) and "isprintable" in ast.unparse(node)
    }
    assert filters == {"printable.py"}
