"""`overlay create`, `list`, `commit`, `reset`, `export`, `import`, `remove`."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

from ..errors import NameTakenError, NoSuchImageError
from ..library.catalog import LibraryEntry
from ..library.library import Library
from ..platform.byte_source import PathSource, stream_of
from ..platform.printable import printable
from .library_commands import add_drop_option, entry_lines
from .opening import add_source, base_of, opened, opened_library
from .output import UsageError, print_result
from .parser import Commands


def add_commands(commands: Commands) -> None:
    """Adds the commands of this group."""
    group = commands.add_group("overlay", "layers that take what is written over an image")
    create = group.add("create", "make an empty overlay over a disk", _create)
    add_source(create)
    create.add_argument("name", metavar="NAME", help="the overlay's name")

    group.add("list", "list all overlays", _list)

    commit = group.add("commit", "write an overlay into the image that it lies over", _commit)
    _add_overlay(commit)
    add_drop_option(commit)

    reset = group.add("reset", "give up what was written to an overlay", _reset)
    _add_overlay(reset)

    export = group.add("export", "write what an overlay holds to a file", _export)
    _add_overlay(export)
    export.add_argument("file", type=Path, metavar="FILE", help="the file")

    imported = group.add("import", "make an overlay over a disk from an exported file", _import)
    add_source(imported)
    imported.add_argument("name", metavar="NAME", help="the overlay's name")
    imported.add_argument("file", type=Path, metavar="FILE", help="what overlay export wrote")

    remove = group.add("remove", "remove an overlay", _remove)
    _add_overlay(remove)
    add_drop_option(remove)


def _add_overlay(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "overlay", metavar="OVERLAY", help="its name; its id, where several have that name"
    )


@contextlib.asynccontextmanager
async def _found(options: argparse.Namespace) -> AsyncIterator[tuple[Library, LibraryEntry]]:
    """The overlay of that name or id."""
    async with opened_library(options) as library:
        entries = [entry for entry in await library.list() if entry.kind == "overlay"]
        found = [entry for entry in entries if options.overlay in (entry.id, entry.name)]
        if not found:
            raise NoSuchImageError("overlay", options.overlay)
        if len(found) > 1:
            ids = ", ".join(
                f"{entry.id} (over {printable(str(entry.base_name))})" for entry in found
            )
            raise UsageError(f"several overlays are called {options.overlay!r}: {ids}; use an id")
        yield library, found[0]


async def _create(options: argparse.Namespace) -> int:
    name = options.name
    async with opened_library(options) as library:
        base = await base_of(options, library)
        if await library.overlays.top_of(base.folder, [*options.overlay, name]):
            raise NameTakenError("overlay", name)
    options.overlay = [*options.overlay, name]
    async with opened(options, may_create=True):
        pass
    async with opened_library(options) as library:
        folder = await library.overlays.top_of(base.folder, options.overlay)
        entry = next(entry for entry in await library.list() if entry.id == folder)
    print_result(options, asdict(entry), "")
    return 0


async def _list(options: argparse.Namespace) -> int:
    async with opened_library(options) as library:
        entries = [entry for entry in await library.list() if entry.kind == "overlay"]
    print_result(options, {"entries": [asdict(e) for e in entries]}, entry_lines(entries))
    return 0


async def _commit(options: argparse.Namespace) -> int:
    async with _found(options) as (library, overlay):
        await library.overlays.commit(overlay.id, drop_overlays=options.drop_overlays)
    print_result(options, {"committed": overlay.id, "into": overlay.base}, "")
    return 0


async def _reset(options: argparse.Namespace) -> int:
    async with _found(options) as (library, overlay):
        await library.overlays.reset(overlay.id)
    print_result(options, {"reset": overlay.id}, "")
    return 0


async def _export(options: argparse.Namespace) -> int:
    async with _found(options) as (library, overlay):
        written = await library.export_to_path(overlay.id, options.file)
    print_result(options, {"file": str(options.file), "bytes": written}, "")
    return 0


async def _import(options: argparse.Namespace) -> int:
    if options.overlay:
        raise UsageError("overlay import makes an overlay over an image, not over another overlay")
    async with opened_library(options) as library:
        base = await base_of(options, library)
        with PathSource(options.file) as source:
            entry = await library.import_overlay(stream_of(source), base, options.name)
    print_result(options, asdict(entry), "")
    return 0


async def _remove(options: argparse.Namespace) -> int:
    async with _found(options) as (library, overlay):
        await library.overlays.remove(overlay.id, drop_overlays=options.drop_overlays)
    print_result(options, {"removed": [overlay.id]}, "")
    return 0
