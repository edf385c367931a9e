"""`save push`, `pull`, `list`, `share`, `rm`: overlays on a server."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

from ..library.catalog import LibraryEntry
from ..platform.base import Platform
from ..platform.printable import printable
from ..saves import SaveInfo, SaveServer
from ..units import format_bytes
from .documents import load_headers
from .library_commands import report_to
from .opening import add_source, image_name, is_url, opened_on, opened_platform
from .output import UsageError, print_result, progress
from .parser import Commands


def add_commands(commands: Commands) -> None:
    """Adds the commands of this group."""
    group = commands.add_group("save", "overlays on a server, for other devices")
    push = group.add("push", "send what changed of an overlay to a server", _push)
    add_source(push)
    _add_server(push)
    _add_passphrase(push)
    push.add_argument("--name", metavar="NAME", help="the save's name (default: the overlay's)")

    pull = group.add("pull", "make an overlay over a disk from a save", _pull)
    add_source(pull)
    _add_server(pull)
    _add_save(pull)
    _add_passphrase(pull)
    pull.add_argument("name", metavar="NAME", help="the name of the new overlay")
    pull.add_argument("--generation", type=int, metavar="N", help="an earlier one (the current)")

    _add_server(group.add("list", "list the saves on a server", _list))

    share = group.add("share", "make a link by which others can read a save", _share)
    _add_server(share)
    _add_save(share)
    lifetime = "how long it lasts, in seconds (604800: a week)"
    share.add_argument("--lifetime", type=int, default=604800, metavar="SECONDS", help=lifetime)
    share.add_argument("--end", action="store_true", help="end all links to it instead")

    remove = group.add("rm", "remove a save from a server", _remove)
    _add_server(remove)
    _add_save(remove)
    remove.add_argument("--generation", type=int, metavar="N", help="only this one of it")


def _add_passphrase(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--passphrase-file",
        metavar="FILE",
        help="encrypt with the passphrase in its first line; - reads it from standard input",
    )


def _add_server(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "server", metavar="SERVER", help="the URL of its saves, as https://HOST/v1/saves"
    )
    command.add_argument(
        "--server-header",
        action="append",
        default=[],
        metavar="NAME: VALUE",
        help="header to send to that server, repeatable; @FILE has one on each line",
    )


def _passphrase(options: argparse.Namespace) -> str | None:
    """The first line of the file, or of standard input."""
    path = getattr(options, "passphrase_file", None)
    if path is None:
        return None
    text = sys.stdin.readline() if path == "-" else Path(path).read_text(encoding="utf-8")
    return text.partition("\n")[0].removesuffix("\r")


def _add_save(command: argparse.ArgumentParser) -> None:
    command.add_argument("save", metavar="SAVE", help="its name or id")


@contextlib.asynccontextmanager
async def _server(options: argparse.Namespace) -> AsyncIterator[tuple[SaveServer, Platform]]:
    headers = dict(load_headers(options.server_header)) or None
    async with opened_platform(options) as platform:
        opening = SaveServer.open(
            options.server,
            allow_remote=True,
            headers=headers,
            passphrase=_passphrase(options),
            platform=platform,
        )
        async with opening as server:
            yield server, platform


async def _push(options: argparse.Namespace) -> int:
    if not options.overlay:
        raise UsageError("name the overlay to push: --overlay NAME")
    async with _server(options) as (server, platform), opened_on(options, platform) as disk:
        with progress(options, "Pushing") as shown:
            pushed = await server.push(disk, options.name, report=report_to(shown))
    sent = format_bytes(pushed.chunk_bytes + pushed.manifest_bytes)
    text = "nothing changed since" if pushed.unchanged else f"sent {sent}"
    print_result(options, asdict(pushed), f"generation {pushed.generation}, {text}")
    return 0


async def _pull(options: argparse.Namespace) -> int:
    if options.overlay:
        raise UsageError("save pull makes an overlay over an image, not over another overlay")
    source = options.source
    async with _server(options) as (server, platform):
        async with opened_on(options, platform) as disk:
            version = disk.info.version
        with progress(options, "Pulling") as shown:
            entry: LibraryEntry = await server.pull(
                options.save,
                options.name,
                url=source if is_url(source) else None,
                image=image_name(source) if source.startswith("image:") else None,
                path=None if is_url(source) or source.startswith("image:") else source,
                cache_key=options.cache_key,
                version=version,
                generation=options.generation,
                report=report_to(shown),
            )
    print_result(options, asdict(entry), "")
    return 0


async def _list(options: argparse.Namespace) -> int:
    async with _server(options) as (server, _):
        saves = await server.saves()
    print_result(options, {"saves": [asdict(one) for one in saves]}, "\n".join(map(_line, saves)))
    return 0


async def _share(options: argparse.Namespace) -> int:
    async with _server(options) as (server, _):
        if options.end:
            await server.end_shares(options.save)
            print_result(options, {"ended": options.save}, "")
            return 0
        share = await server.share(options.save, options.lifetime)
    print_result(options, asdict(share), share.url)
    return 0


async def _remove(options: argparse.Namespace) -> int:
    async with _server(options) as (server, _):
        await server.remove(options.save, generation=options.generation)
    print_result(options, {"removed": options.save, "generation": options.generation}, "")
    return 0


def _line(save: SaveInfo) -> str:
    """A save for people."""
    when = f"{save.updated}  {save.device}" if save.generation else "never pushed"
    size = format_bytes(save.stored_bytes)
    return f"{size:>10}  #{save.generation:<4} {printable(save.name)}  ({save.image})  {when}"
