"""Which part of the package may import which: down only, without circles, and `js` in one place.

Read with `ast`, imports inside functions and for type checkers included.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import aero_browser_disk

PACKAGE = Path(aero_browser_disk.__file__).parent
NAME = "aero_browser_disk"

# From the ground up. A part may import from lower layers, not from its own or from higher ones.
LAYERS = (
    {"errors", "units"},
    {"platform"},
    {"disk"},
    {"disk_html", "records"},
    {"cache", "formats", "remote"},
    {"streaming", "writable"},
    {"disk_file", "file_systems", "progress", "transfer"},
    {"library", "doctor"},
    {"notebook", "open_disk"},
    {"saves"},
    {"service", "sync", "testing", "ui"},
    {"cli", "integrations", "worker"},
    {NAME},  # the package's own __init__
)
NEVER_IMPORTED = {"integrations", "service", "testing"}
ROOT_MODULES = 10


def modules() -> dict[str, Path]:
    """All modules by their dotted names, without the name of the package."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(p for p in parts if p != "__init__")] = path
    return found


MODULES = modules()


@cache
def imports_of(name: str) -> tuple[tuple[str, bool], ...]:
    """The dotted names that a module imports, and whether they are of this package."""
    return tuple(read_imports(name))


def read_imports(name: str) -> Iterator[tuple[str, bool]]:
    """The same, read anew."""
    path = MODULES[name]
    here = name.split(".") if name else []
    package = here if path.name == "__init__.py" else here[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top, _, rest = alias.name.partition(".")
                yield (rest, True) if top == NAME else (alias.name, False)
        elif isinstance(node, ast.ImportFrom):
            own = node.level > 0
            parts = package[: len(package) - node.level + 1] if own else []
            parts += (node.module or "").split(".") if node.module else []
            if not own and parts[0] == NAME:
                own, parts = True, parts[1:]
            for alias in node.names:
                full = ".".join([*parts, alias.name])
                yield (full if own and full in MODULES else ".".join(parts), own)


@cache
def listed(part: str) -> frozenset[str]:
    """What the docstring of a subpackage names."""
    said = ast.get_docstring(ast.parse(MODULES[part].read_text(encoding="utf-8"))) or ""
    return frozenset(re.findall(r"`([\w.]+)`", said))


def part_of(module: str) -> str:
    """The subpackage or root module that a module belongs to."""
    return module.partition(".")[0] or NAME


def test_every_part_of_the_package_has_a_layer() -> None:
    assert {part_of(name) for name in MODULES} == set().union(*LAYERS)


def test_imports_run_down() -> None:
    layer = {part: number for number, parts in enumerate(LAYERS) for part in parts}
    upward = {
        f"{name} -> {target}"
        for name in MODULES
        for target, own in imports_of(name)
        if own and part_of(name) != part_of(target)
        if layer[part_of(target)] >= layer[part_of(name)]
    }
    assert not upward


def test_a_subpackage_lists_what_others_use() -> None:
    unlisted = set()
    for name in MODULES:
        for target, own in imports_of(name):
            part, _, module = target.partition(".")
            # A folder within a subpackage is named as a whole.
            names = {module, module.partition(".")[0]}
            if own and module and part != part_of(name) and not names & listed(part):
                unlisted.add(target)
    assert not unlisted


def test_nothing_imports_the_service_or_the_test_equipment() -> None:
    users = {
        f"{name} -> {target}"
        for name in MODULES
        for target, own in imports_of(name)
        if own and part_of(target) in NEVER_IMPORTED and part_of(name) != part_of(target)
    }
    assert not users


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: {t for t, own in imports_of(name) if own and t != name} for name in MODULES}
    while free := {name for name, targets in graph.items() if not targets & graph.keys()}:
        graph = {name: targets for name, targets in graph.items() if name not in free}
    assert not graph


@pytest.mark.parametrize("foreign", ["js", "pyodide", "pyodide_js"])
def test_only_the_browser_platform_imports_javascript(foreign: str) -> None:
    users = {
        name
        for name in MODULES
        for target, own in imports_of(name)
        if not own and part_of(target) == foreign
    }
    assert all(name.startswith("platform.browser") for name in users)


def test_the_root_holds_only_the_public_modules() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= ROOT_MODULES
