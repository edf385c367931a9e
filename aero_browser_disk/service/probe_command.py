"""The command `aero-disk-service probe`."""

from __future__ import annotations

import argparse

from .probe import probe


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What it takes."""
    command.add_argument("url", metavar="URL", help="an image's address")
    command.add_argument(
        "--origin",
        default="https://app.example.com",
        help="origin of the page that will read it (default: %(default)s)",
    )
    command.add_argument("--authorization", metavar="VALUE", help="send this Authorization")


def run(options: argparse.Namespace) -> int:
    """Prints a line for each finding; 1 when a browser cannot stream from there.

    Raises `ProbeError`.
    """
    failed = False
    for finding in probe(options.url, options.origin, options.authorization):
        print(f"{finding.kind:5} {finding.text}")
        failed = failed or finding.kind == "FAILS"
    return 1 if failed else 0
