"""`list`, `import`, `rename`, `recover`, `remove`: the local images of the library."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import asdict

from ..errors import DiskError
from ..formats.opening import FORMAT_NAMES
from ..library.catalog import LibraryEntry
from ..library.library import Library
from ..library.transfers import HOPELESS
from ..platform.printable import printable
from ..progress import Progress
from ..transfer.image_import import CopyProgress, Report
from ..units import format_bytes, format_percent
from .documents import load_headers
from .opening import add_header_option, image_name, is_url, opened_library
from .output import UsageError, print_result, progress, time_text, warn
from .parser import Commands

_UNFINISHED = "not finished: aero-disk list shows how far it is, and the same command goes on"
_NAME_HELP = "its name or id, as list shows them"


def add_commands(commands: Commands) -> None:
    """Adds the commands of this group."""
    commands.add("list", "list images, overlays and caches", _list)

    imported = commands.add("import", "copy an image into the library", _import)
    imported.add_argument("source", metavar="SOURCE", help="a URL (http or https) or a file")
    imported.add_argument("--name", help="the image's name (default: the file's)")
    imported.add_argument("--pad", action="store_true", help="pad to a multiple of 512 bytes")
    imported.add_argument(
        "--media",
        choices=("cd", "disk"),
        default="auto",
        help="what the image of a CD becomes that is a disk as well (default: cd)",
    )
    imported.add_argument("--format", choices=FORMAT_NAMES, help="its format (default: recognised)")
    add_header_option(imported)

    rename = commands.add("rename", "rename an image, or an overlay by its id", _rename)
    rename.add_argument("name", metavar="NAME", help=_NAME_HELP)
    rename.add_argument("new_name", metavar="NEW", help="the new name")

    recover = commands.add("recover", "save what is intact of a damaged image", _recover)
    recover.add_argument("name", metavar="NAME", help=_NAME_HELP)
    recover.add_argument("new_name", metavar="NEW", help="the name of what is saved")

    remove = commands.add("remove", "remove an image, or an overlay or cache by its id", _remove)
    remove.add_argument("names", nargs="+", metavar="NAME", help=_NAME_HELP)
    add_drop_option(remove)


def add_drop_option(command: argparse.ArgumentParser) -> None:
    """The consent to lose what lies over an image."""
    command.add_argument(
        "--drop-overlays", action="store_true", help="give up the overlays over it"
    )


def entry_lines(entries: list[LibraryEntry]) -> str:
    """Entries of the library, one on each line."""
    lines = []
    for entry in entries:
        size = "" if entry.size is None else format_bytes(entry.size)
        over = f" over {printable(entry.base_name)}" if entry.base_name else ""
        notes = [_state(entry)] * (entry.state != "ready") + ["open"] * entry.is_open
        notes += [f"damaged: {printable(str(entry.damage))}"] * bool(entry.damage)
        lines.append(
            f"{entry.kind:7}  {size:>9}  {format_bytes(entry.used_bytes):>9} stored  "
            f"{time_text(entry.used_at)}  {entry.id}  {printable(entry.name)}{over}"
            + (f" ({', '.join(notes)})" if notes else "")
        )
    return "\n".join(lines)


def _state(entry: LibraryEntry) -> str:
    """A state that is not "ready"; of an import, how far it is."""
    if entry.state != "importing" or not entry.done:
        return entry.state
    share = format_percent(entry.done, entry.size) if entry.size else format_bytes(entry.done)
    return f"{share} imported"


def report_to(shown: Progress) -> Report:
    """Reports the progress of a copy to a bar."""
    return lambda copied: shown.update(copied.done, copied.total or copied.done)


async def _list(options: argparse.Namespace) -> int:
    async with opened_library(options) as library:
        entries = await library.list()
    print_result(options, {"entries": [asdict(e) for e in entries]}, entry_lines(entries))
    return 0


async def _import(options: argparse.Namespace) -> int:
    from_url = is_url(options.source)
    if options.header and not from_url:
        raise UsageError("--header is for URLs only")
    is_begun = False

    def report(copied: CopyProgress) -> None:
        nonlocal is_begun
        is_begun = True
        shown.update(copied.done, copied.total or copied.done)

    async with opened_library(options) as library:
        try:
            with progress(options, "importing") as shown:
                entry = await _imported(options, library, report)
        except (asyncio.CancelledError, DiskError) as error:
            if is_begun and not isinstance(error, HOPELESS):
                warn(options, _UNFINISHED)
            raise
    print_result(options, asdict(entry), f"imported {printable(entry.name)}")
    return 0


async def _imported(options: argparse.Namespace, library: Library, report: Report) -> LibraryEntry:
    """Imports what the options name."""
    if is_url(options.source):
        return await library.import_url(
            options.source,
            allow_remote=True,
            headers=dict(load_headers(options.header)),
            name=options.name,
            pad=options.pad,
            media=options.media,
            format=options.format or "auto",
            keep=True,
            report=report,
        )
    return await library.import_path(
        options.source,
        name=options.name,
        pad=options.pad,
        media=options.media,
        format=options.format or "auto",
        report=report,
    )


async def _rename(options: argparse.Namespace) -> int:
    async with opened_library(options) as library:
        entry = await library.rename(image_name(options.name), options.new_name)
    print_result(options, asdict(entry), "")
    return 0


async def _recover(options: argparse.Namespace) -> int:
    async with opened_library(options) as library:
        with progress(options, "recovering") as shown:
            saved = await library.recover(
                image_name(options.name), options.new_name, report=report_to(shown)
            )
    lost = sum(length for _, length in saved.lost)
    text = f"saved as {printable(saved.entry.name)}; {format_bytes(lost)} are lost"
    print_result(options, asdict(saved), text)
    return 0


async def _remove(options: argparse.Namespace) -> int:
    names = [image_name(name) for name in options.names]
    async with opened_library(options) as library:
        for name in names:
            await library.remove(name, drop_overlays=options.drop_overlays)
    print_result(options, {"removed": names}, "")
    return 0
