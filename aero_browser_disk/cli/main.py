"""The command `aero-disk`: disk images at a URL, in a file, or in the library of this computer."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from ..errors import DiskError, InvalidOptionError, InvalidUrlError
from . import (
    cache_commands,
    completion_command,
    diagnose_command,
    disk_commands,
    file_commands,
    library_commands,
    mount_command,
    overlay_commands,
    prepared_commands,
)
from .messages import message_of
from .output import CommandError, UsageError
from .parser import CommandParser, Commands, Run

_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130
_EXIT_STATUS = """exit status:
  0    done
  1    the image, its server or the storage did not allow it, or there is a difference or a fault
  2    usage error
  130  interrupted
"""
_GROUPS = (
    disk_commands,
    file_commands,
    mount_command,
    cache_commands,
    library_commands,
    overlay_commands,
    diagnose_command,
    prepared_commands,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0, 1, 2 or 130, as `--help` says."""
    given = sys.argv[1:] if arguments is None else arguments
    is_json = "--json" in given
    try:
        options = build_parser().parse_args(given)
        run: Run = options.run
        return asyncio.run(run(options))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except UsageError as error:
        _complain("UsageError", str(error), {}, is_json=is_json)
        return _USAGE
    except CommandError as error:
        _complain("CommandError", str(error), {}, is_json=is_json)
        return _FAILED
    except DiskError as error:
        _complain(type(error).__name__, message_of(error), error.fields(), is_json=is_json)
        return _USAGE if isinstance(error, (InvalidOptionError, InvalidUrlError)) else _FAILED
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        _complain("OSError", f"{where}{error.strerror or error}", {}, is_json=is_json)
        return _FAILED


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = CommandParser(
        "aero-disk",
        description="Looks into disk images and copies them: at a URL, in a file, or in the "
        "library of this computer.",
        epilog=_EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"aero-disk {version('aero-browser-disk')}"
    )
    commands = Commands(parser, "command")
    for group in _GROUPS:
        group.add_commands(commands)
    completion_command.add_commands(commands, build_parser)
    return parser


def _complain(name: str, message: str, fields: Mapping[str, object], *, is_json: bool) -> None:
    if is_json:
        print(json.dumps({"error": {"name": name, "message": message, "fields": fields}}))
    else:
        print(f"aero-disk: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
