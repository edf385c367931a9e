"""What commands write: bytes into a file or a pipe, lines for a person, JSON for a program."""

from __future__ import annotations

import argparse
import contextlib
import json
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from ..file_systems import Entry
from ..platform.printable import printable
from ..platform.whole_file import whole_file
from ..progress import Progress, TerminalBar, Unwatched
from ..units import format_bytes

STANDARD_OUTPUT = "standard output"
KIND_MARKS = {"folder": "/", "link": "@", "other": "?", "volume": "/"}
_KIND_LETTERS = {"file": "-", "folder": "d", "link": "l", "other": "?", "volume": "v"}


class UsageError(Exception):
    """The command line is invalid."""


class CommandError(Exception):
    """The command cannot do its work on this computer."""


@contextlib.contextmanager
def progress(options: argparse.Namespace, what: str) -> Iterator[Progress]:
    """A bar, if somebody watches."""
    is_watched = sys.stderr.isatty() and not options.quiet and not options.json
    with contextlib.closing(TerminalBar(sys.stderr, what) if is_watched else Unwatched()) as shown:
        yield shown


def print_result(options: argparse.Namespace, result: object, text: str) -> None:
    """Prints the result: JSON with `--json`, else a text if there is one."""
    if options.json:
        print(json.dumps(result))
    elif text:
        print(text)


def warn(options: argparse.Namespace, text: str) -> None:
    """Says on standard error what a program finds in the JSON."""
    if not options.json:
        print(f"aero-disk: {text}", file=sys.stderr)


def is_stdout(path: Path | None) -> bool:
    """Whether bytes go to standard output."""
    return path is None or str(path) == "-"


def check_bytes_and_json(options: argparse.Namespace, target: Path | None) -> None:
    """Raises `UsageError` when bytes and JSON would both go to standard output."""
    if options.json and is_stdout(target):
        raise UsageError("the bytes go to standard output: name a file with -o, or omit --json")


@contextlib.contextmanager
def output(path: Path | None, *, is_text: bool = False) -> Iterator[BinaryIO]:
    """A file that appears under its name when it is whole, or standard output."""
    if path is None or is_stdout(path):
        if sys.stdout.isatty() and not is_text:
            raise UsageError("these are bytes: write them to a file with -o, or into a pipe")
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except OSError as error:
            error.filename = error.filename or STANDARD_OUTPUT
            raise
        return
    with whole_file(path) as file:
        yield file


# ── lines ─────────────────────────────────────────────────────────────────────────────────────────


def volume_line(volume: Entry, name: str = "") -> str:
    """A volume with what it holds and where."""
    label = f" “{printable(volume.label)}”" if volume.label else ""
    where = f"{format_bytes(volume.size or 0)} from byte {volume.offset:,}"
    return f"{f'{name}/':<4}" * bool(name) + f"{volume.description}{label}, {where}"


def name_of(entry: Entry) -> str:
    """The name of an entry, with a mark for what is not a file."""
    return printable(entry.name) + KIND_MARKS.get(entry.kind, "")


def entry_line(entry: Entry) -> str:
    """An entry with its mode, owner, size and time, as far as they are known."""
    size = "" if entry.size is None else f"{entry.size:,}"
    target = f" -> {printable(entry.target)}" if entry.target else ""
    mode = _KIND_LETTERS[entry.kind] if entry.mode is None else stat.filemode(entry.mode)
    user, group = ("-" if number is None else number for number in (entry.uid, entry.gid))
    owner, time = f"{user:>5} {group:>5}", time_text(entry.modified)
    return f"{mode:10} {owner} {size:>15}  {time:16}  {name_of(entry)}{target}"


def time_text(seconds: float | None) -> str:
    """A time in UTC to the minute; empty for one that is none."""
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return ""  # an image may say anything


def hex_dump(data: bytes, offset: int) -> bytes:
    """Bytes as lines of 16 for a person."""
    lines = []
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        lines.append(f"{offset + at:010x}  {row.hex(' '):<47}  {text}\n")
    return "".join(lines).encode()
