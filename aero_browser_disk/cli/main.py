"""The command `aero-disk`: looks at and fetches disk images, from the network or this machine.

A URL on the command line is its user's consent to ask that host.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import DiskError
from ..units import parse_byte_count
from . import commands

_FAILED, _UNUSABLE, _INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    0 when it was done, 1 when the image, its host or its files did not allow it (or `verify` found
    a difference), 2 when it cannot be meant so, 130 when it was interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        return asyncio.run(commands.run(options))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except commands.UsageError as error:
        _complain(options, type(error).__name__, str(error), {})
        return _UNUSABLE
    except DiskError as error:
        _complain(options, type(error).__name__, str(error), error.fields())
        return _FAILED
    except OSError as error:
        _complain(options, "OSError", f"{error.filename}: {error.strerror}", {})
        return _FAILED


def _complain(
    options: argparse.Namespace, name: str, message: str, fields: Mapping[str, object]
) -> None:
    if options.json:
        print(json.dumps({"error": {"name": name, "message": message, "fields": fields}}))
    else:
        print(f"aero-disk: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "aero-disk",
        description="Looks at raw disk images, at a URL or in a file, and fetches what it touches.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text, add_arguments in (
        ("info", "size, version, what is cached, and the volumes", _add_nothing),
        ("read", "write bytes of the disk to standard output", _add_read),
        ("files", "list volumes and folders, or write out one file", _add_files),
        ("prefetch", "fill the cache, with all or with what a boot needs", _add_prefetch),
        ("profile", "make a boot profile", _add_profile),
        ("verify", "compare the image with its digest list", _add_verify),
    ):
        command = commands.add_parser(name, help=help_text, description=f"{name}: {help_text}.")
        command.add_argument("source", metavar="URL", help="an http(s) address, or a file")
        add_arguments(command)
        _add_common(command)
    return parser


def _add_common(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--json", action="store_true", help="answer in JSON, errors too")
    add("--quiet", action="store_true", help="show no progress")
    add(
        "--cache",
        type=Path,
        metavar="DIR",
        help="where blocks are kept (default: aero-browser-disk in $XDG_CACHE_HOME or ~/.cache)",
    )
    add("--cache-limit", type=_bytes, metavar="SIZE", help="keep no more of this image: 10GiB")
    add(
        "--header",
        action="append",
        default=[],
        metavar="NAME: VALUE",
        help="send this, again for each; @FILE has one on each line, which keeps secrets out of "
        "the list of processes",
    )


def _add_nothing(command: argparse.ArgumentParser) -> None:
    """`info` takes what all take."""


def _add_read(command: argparse.ArgumentParser) -> None:
    command.add_argument("offset", type=_bytes, help="in bytes: 512, 0x200, 1MiB")
    command.add_argument("length", type=_bytes, help="in bytes")
    command.add_argument("-o", "--output", type=Path, metavar="FILE")
    command.add_argument("--hex", action="store_true", help="as a hex dump, for people")


def _add_files(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "path", nargs="?", default="/", help="/ for the volumes, /1/etc for a folder of the first"
    )
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="- is standard output")


def _add_prefetch(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", type=Path, metavar="FILE", help="only its blocks, in order")


def _add_profile(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--reads",
        type=Path,
        metavar="FILE",
        help="what a boot read: lines of OFFSET LENGTH, or the trace that the page saves",
    )
    command.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="PATH",
        help="a file on the disk that a boot reads, such as /1/boot/vmlinuz; again for each",
    )
    command.add_argument("-o", "--output", type=Path, metavar="FILE")


def _add_verify(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--digests", type=Path, metavar="FILE", help="the list (default: beside a local image)"
    )
    command.add_argument("--sha256", metavar="HEX", help="what the list itself must hash to")


def _bytes(text: str) -> int:
    try:
        return parse_byte_count(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
