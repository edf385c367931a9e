"""A diagnosis as lines for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from .diagnosis import Finding

SERVERS: Final = ("nginx", "s3", "cloudfront", "caddy", "service")
_LEVELS: Final = {"ok": "ok", "note": "note", "fails": "FAILS"}
_INDENT: Final = " " * 6


def report_lines(finding: Finding, servers: Sequence[str] = SERVERS) -> list[str]:
    """What was found, what it means, and the remedy for each of `servers`."""
    lines = [f"{_LEVELS[finding.level]:5} {finding.what}"]
    lines += textwrap.wrap(finding.meaning, 94, initial_indent=_INDENT, subsequent_indent=_INDENT)
    lines += [
        f"{_INDENT}{server}: {finding.remedy[server]}"
        for server in servers
        if server in finding.remedy
    ]
    return lines
