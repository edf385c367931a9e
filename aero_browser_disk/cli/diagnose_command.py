"""`diagnose`: why a URL can or cannot be streamed."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ..doctor.diagnosis import diagnose
from ..doctor.report import SERVERS, report_lines
from .documents import load_headers
from .opening import add_header_option, opened_platform
from .output import print_result
from .parser import Commands


def add_commands(commands: Commands) -> None:
    """Adds the command."""
    command = commands.add("diagnose", "say whether a URL can be streamed, and why not", _diagnose)
    command.add_argument("url", metavar="URL", help="an image's address (http or https)")
    command.add_argument(
        "--origin",
        metavar="ORIGIN",
        help="look as a browser does on a page of this origin: https://app.example.com",
    )
    command.add_argument("--server", choices=SERVERS, help="show the remedies for this one only")
    add_header_option(command)


async def _diagnose(options: argparse.Namespace) -> int:
    servers = SERVERS if options.server is None else (options.server,)
    async with opened_platform(options) as platform:
        found = await diagnose(
            options.url,
            allow_remote=True,
            origin=options.origin,
            headers=dict(load_headers(options.header)) or None,
            platform=platform,
        )
    lines = [line for finding in found.findings for line in report_lines(finding, servers)]
    result = {**asdict(found), "is_streamable": found.is_streamable, "fault": found.fault}
    print_result(options, result, "\n".join(lines))
    return 0 if found.is_streamable else 1
