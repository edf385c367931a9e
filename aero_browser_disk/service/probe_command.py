"""The command `aero-disk-service probe`."""

from __future__ import annotations

import argparse
import asyncio

from aero_browser_disk.doctor.report import SERVERS, report_lines

from .probe import probe


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    command.add_argument("url", metavar="URL", help="the image's URL")
    command.add_argument(
        "--origin",
        default="https://app.example.com",
        help="origin of the page that will read it (default: %(default)s)",
    )
    command.add_argument("--authorization", metavar="VALUE", help="send this Authorization")
    command.add_argument("--server", choices=SERVERS, help="show remedies for this one only")


def run(options: argparse.Namespace) -> int:
    """Prints the findings and remedies; returns 1 if a browser cannot stream from there.

    Raises `ProbeError`.
    """
    servers = SERVERS if options.server is None else (options.server,)
    found = asyncio.run(probe(options.url, options.origin, options.authorization))
    for finding in found.findings:
        print("\n".join(report_lines(finding, servers)))
    return 0 if found.is_streamable else 1
