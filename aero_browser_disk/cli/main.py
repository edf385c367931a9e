"""The command `aero-disk`: disk images at a URL, in a file, or in the library of this computer."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Collection, Coroutine, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from ..errors import DiskError, InvalidOptionError, InvalidUrlError
from ..platform.printable import printable
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
    save_commands,
)
from .messages import message_of
from .output import STANDARD_OUTPUT, CommandError, UsageError
from .parser import CommandParser, Commands
from .standard_files import discard_output, provide_standard_files

_FAILED, _USAGE, _INTERRUPTED, _TERMINATED = 1, 2, 130, 143
_EXIT_STATUS = """exit status:
  0    done
  1    the image, its server or the storage did not allow it, or there is a difference or a fault
  2    usage error
  130  interrupted
  143  terminated
"""
_GROUPS = (
    disk_commands,
    file_commands,
    mount_command,
    cache_commands,
    library_commands,
    overlay_commands,
    save_commands,
    diagnose_command,
    prepared_commands,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status, as `--help` says."""
    provide_standard_files()
    try:
        try:
            status = _status_of(sys.argv[1:] if arguments is None else arguments)
        finally:  # of --help too, which raises SystemExit
            sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough
        discard_output()
        return _FAILED
    except OSError as error:
        discard_output()
        _print_error(f"{STANDARD_OUTPUT}: {error.strerror or error}")
        return _FAILED
    return status


def _status_of(arguments: Sequence[str]) -> int:
    """Runs the command; writes its error, if it ends with one, and returns the exit status."""
    is_json = "--json" in arguments
    flags: Collection[str] = ()
    try:
        options = build_parser().parse_args(arguments)
        flags = options.flags
        return asyncio.run(_until_terminated(options.run(options)))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except asyncio.CancelledError:
        return _TERMINATED
    except BrokenPipeError:
        raise
    except UsageError as error:
        _complain("UsageError", str(error), {}, is_json=is_json)
        return _USAGE
    except CommandError as error:
        _complain("CommandError", str(error), {}, is_json=is_json)
        return _FAILED
    except DiskError as error:
        message = message_of(error, flags)
        _complain(type(error).__name__, message, error.fields(), is_json=is_json)
        return _USAGE if isinstance(error, (InvalidOptionError, InvalidUrlError)) else _FAILED
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        _complain("OSError", f"{where}{error.strerror or error}", {}, is_json=is_json)
        return _FAILED


async def _until_terminated(command: Coroutine[Any, Any, int]) -> int:
    """Cancels the command on SIGTERM, so that it leaves nothing unfinished behind."""
    task = asyncio.current_task()
    assert task is not None
    # Windows has no such signal, and threads get none.
    with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await command


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
        _print_error(message)


def _print_error(message: str) -> None:
    """Names in it may be anybody's: none steers the terminal."""
    with contextlib.suppress(OSError):
        print(f"aero-disk: {printable(message)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
