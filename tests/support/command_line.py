"""The commands of `aero-disk`, as its parser has them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from aero_browser_disk.cli.main import build_parser


def all_commands(
    parser: argparse.ArgumentParser | None = None, name: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command with its parser; those of a group have its name before theirs."""
    parser = parser or build_parser()
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for word, command in action.choices.items():
                yield from all_commands(command, f"{name} {word}".strip())
    if parser.get_default("run"):
        yield name, parser
