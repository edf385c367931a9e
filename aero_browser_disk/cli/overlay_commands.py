"""`overlay create`, `list`, `commit`, `reset`, `rebase`, `export`, `import`, `remove`."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

from ..errors import NameTakenError, NoSuchImageError
from ..library.catalog import LibraryEntry
from ..library.file_commit import FILES, file_base
from ..library.library import Library
from ..platform.byte_source import PathSource, stream_of
from ..platform.printable import printable
from ..saves.rebase import REASONS, Rebase, RebasePlan
from ..units import format_bytes
from .library_commands import add_drop_option, entry_lines, report_to
from .opening import (
    add_source,
    base_of,
    is_url,
    opened,
    opened_library,
    opened_platform,
    options_for,
)
from .output import UsageError, print_result, progress
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
    commit.add_argument(
        "--file", type=Path, metavar="FILE", help="the image file, if the overlay lies over one"
    )
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

    rebase = group.add(
        "rebase", "say whether an overlay fits the new version of its image, and move it", _rebase
    )
    add_source(rebase)
    rebase.add_argument("name", metavar="NAME", help="the overlay's name")
    rebase.add_argument(
        "--digests-before",
        type=Path,
        metavar="FILE",
        help="digest list of the version that the overlay was made over",
    )
    action = rebase.add_mutually_exclusive_group()
    action.add_argument("--move", action="store_true", help="move it, if it fits")
    action.add_argument(
        "--to-image", metavar="IMAGE", help="make a local image of it over its old version"
    )

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
        drop, base = options.drop_overlays, overlay.base
        if options.file is not None:
            if file_base(options.file).folder != base:
                raise UsageError(f"{options.overlay!r} does not lie over {options.file}")
            with progress(options, "Writing") as shown:
                report, base = report_to(shown), str(options.file)
                await library.commit_to_path(
                    options.file, overlay.id, drop_overlays=drop, report=report
                )
        elif (base or "").startswith(FILES):
            raise UsageError(f"{options.overlay!r} lies over a file: name it with --file")
        else:
            await library.overlays.commit(overlay.id, drop_overlays=drop)
    print_result(options, {"committed": overlay.id, "into": base}, "")
    return 0


async def _reset(options: argparse.Namespace) -> int:
    async with _found(options) as (library, overlay):
        await library.overlays.reset(overlay.id)
    print_result(options, {"reset": overlay.id}, "")
    return 0


async def _rebase(options: argparse.Namespace) -> int:
    if not is_url(options.source) or options.overlay:
        raise UsageError("overlay rebase is for overlays that lie directly over a URL")
    before = options.digests_before and options.digests_before.read_bytes()
    given = options_for(options)
    async with (
        opened_platform(options) as platform,
        Rebase.open(
            given.pop("url"), options.name, digests_before=before, platform=platform, **given
        ) as rebase,
    ):
        plan = rebase.plan
        if options.move:
            await rebase.move()
            print_result(options, asdict(plan), f"{options.name} fits {plan.found}")
        elif options.to_image is not None:
            with progress(options, "Copying") as shown:
                entry = await rebase.copy_to_image(options.to_image, report=report_to(shown))
            print_result(options, asdict(entry), "")
        else:
            print_result(options, asdict(plan), plan_lines(plan))
    return 0


def plan_lines(plan: RebasePlan) -> str:
    """What a plan says, for people."""
    if plan.is_current:
        return "It fits the present version."
    sums = {
        name: format_bytes(sum(length for _, length in getattr(plan, name)))
        for name in ("hidden", "updated", "needed", "missing")
    }
    lines = [f"made over  {plan.pinned}", f"now        {plan.found}"]
    if plan.obstacle in (None, "needed"):
        lines += [
            f"{sums['hidden']:>10} changed, but the overlay has them",
            f"{sums['updated']:>10} changed in partitions that it never wrote to: these change",
            f"{sums['needed']:>10} changed that it depends on",
        ]
    if plan.obstacle is None:
        return "\n".join([*lines, "It can be moved: --move."])
    lines.append(f"It cannot be moved: {REASONS[plan.obstacle]}.")
    if plan.missing:
        lines.append(f"{sums['missing']} of the old version are not here any more: export it.")
    else:
        lines.append("All of the old version is here: --to-image IMAGE makes an image of it.")
    return "\n".join(lines)


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
