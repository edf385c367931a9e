"""The command `aero-disk-service probe`."""

from __future__ import annotations

import argparse
import asyncio
import textwrap

from aero_browser_disk.doctor.diagnosis import Finding

from .probe import probe

_SERVERS = ("nginx", "s3", "cloudfront", "caddy", "service")
_LEVELS = {"ok": "ok", "note": "note", "fails": "FAILS"}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What it takes."""
    command.add_argument("url", metavar="URL", help="an image's address")
    command.add_argument(
        "--origin",
        default="https://app.example.com",
        help="origin of the page that will read it (default: %(default)s)",
    )
    command.add_argument("--authorization", metavar="VALUE", help="send this Authorization")
    command.add_argument("--server", choices=_SERVERS, help="show remedies for this one only")


def run(options: argparse.Namespace) -> int:
    """Prints what was found and how to mend it; 1 when a browser cannot stream from there.

    Raises `ProbeError`.
    """
    servers = _SERVERS if options.server is None else (options.server,)
    found = asyncio.run(probe(options.url, options.origin, options.authorization))
    for finding in found.findings:
        print("\n".join(_lines(finding, servers)))
    return 0 if found.is_streamable else 1


def _lines(finding: Finding, servers: tuple[str, ...]) -> list[str]:
    lines = [f"{_LEVELS[finding.level]:5} {finding.what}"]
    lines += textwrap.wrap(finding.meaning, 94, initial_indent=" " * 6, subsequent_indent=" " * 6)
    for server in servers:
        if server in finding.remedy:
            lines.append(f"      {server}: {finding.remedy[server]}")
    return lines
