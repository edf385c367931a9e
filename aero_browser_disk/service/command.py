"""The entry point of `aero-disk-service`, which says what to install where its extra is missing."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_PACKAGE = __name__.partition(".")[0]
_UNUSABLE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status, 2 when it cannot start as asked."""
    try:
        from .cli import main as run

        return run(arguments)
    except ModuleNotFoundError as error:
        missing = (error.name or _PACKAGE).partition(".")[0]
        if missing == _PACKAGE:
            raise
        print(
            f"aero-disk-service: {missing} is not installed. Install the extra `service`: "
            "pip install 'aero-browser-disk[service]'",
            file=sys.stderr,
        )
        return _UNUSABLE
