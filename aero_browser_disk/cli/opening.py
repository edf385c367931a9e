"""The options that commands share, and what is opened with them.

A URL on the command line is its user's consent to contact that server.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ..errors import NoSuchImageError
from ..formats.local_file import LocalFileDisk
from ..formats.opening import FORMAT_NAMES
from ..library.file_commit import file_base
from ..library.library import Library
from ..library.open_image import LibraryDisk
from ..library.overlays import OverlayBase
from ..open_disk import open_disk, remote_base
from ..platform import cache_folder, cpython_platform, current_platform, data_folder
from ..platform.base import Platform
from ..streaming.streaming_disk import StreamingDisk
from ..units import parse_byte_count
from .documents import load_headers
from .output import UsageError

AnyDisk = StreamingDisk | LocalFileDisk | LibraryDisk

_IMAGE = "image:"


# ── the options ───────────────────────────────────────────────────────────────────────────────────


def add_output_options(command: argparse.ArgumentParser) -> None:
    """What every command takes."""
    command.add_argument(
        "--json", action="store_true", help="write the result as JSON, an error too"
    )
    command.add_argument("--quiet", action="store_true", help="show no progress")


def add_folder_options(command: argparse.ArgumentParser) -> None:
    """Where blocks, images and overlays are kept."""
    command.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder of cached blocks (default: aero-browser-disk in $XDG_CACHE_HOME or ~/.cache)",
    )
    command.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of images and overlays (default: aero-browser-disk in $XDG_DATA_HOME or "
        "~/.local/share)",
    )


def add_header_option(command: argparse.ArgumentParser) -> None:
    """Headers for the image's server."""
    command.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME: VALUE",
        help="header to send with every request, repeatable; @FILE has one on each line, which "
        "keeps secrets out of the list of processes",
    )


def add_source(command: argparse.ArgumentParser) -> None:
    """A disk, and how to open it."""
    command.add_argument(
        "source", metavar="SOURCE", help="a URL (http or https), a file, or image:NAME"
    )
    shared = command.add_argument_group("options for opening the disk")
    shared.add_argument(
        "--overlay",
        action="append",
        default=[],
        metavar="NAME",
        help="read it with this overlay, repeatable from the lowest to the uppermost",
    )
    shared.add_argument(
        "--format",
        choices=FORMAT_NAMES,
        help="format of a URL or file (default: recognised by its first block)",
    )
    remote = command.add_argument_group("options for URLs")
    add = remote.add_argument
    add("--cache-limit", type=byte_count, metavar="SIZE", help="cache at most so much: 10GiB")
    add("--block-size", type=byte_count, metavar="SIZE", help="bytes of a block: 4KiB to 8MiB")
    add("--cache-key", metavar="KEY", help="names the cache, where the URL changes (signed URLs)")
    add("--timeout", type=float, metavar="SECONDS", help="longest wait for a response (30)")
    add("--concurrency", type=int, metavar="N", help="requests at a time (6; 16 over HTTP/2)")
    add("--digests", type=Path, metavar="FILE", help="digest list that all bytes must match")
    add("--digests-sha256", metavar="HEX", help="SHA-256 of the digest list itself")
    add("--digests-key", metavar="HEX", help="Ed25519 key that must have signed the digest list")
    add_header_option(command)


def byte_count(text: str) -> int:
    """An option's number of bytes."""
    try:
        return parse_byte_count(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


# ── what is opened ────────────────────────────────────────────────────────────────────────────────


@contextlib.asynccontextmanager
async def opened_platform(options: argparse.Namespace) -> AsyncIterator[Platform]:
    """The platform with the folders that the options name."""
    cache, data = options.cache, options.data
    if cache is None and data is None:
        platform = await current_platform()
    else:
        platform = cpython_platform(cache or cache_folder(), data or data_folder())
    try:
        yield platform
    finally:
        await platform.http.close()


@contextlib.asynccontextmanager
async def opened_library(options: argparse.Namespace) -> AsyncIterator[Library]:
    """The library in those folders."""
    async with opened_platform(options) as platform, Library.open(platform) as library:
        yield library


@contextlib.asynccontextmanager
async def opened(
    options: argparse.Namespace, *, checks_digests: bool = True, may_create: bool = False
) -> AsyncIterator[AnyDisk]:
    """The disk that a command line names. Overlays that are missing are made with `may_create`."""
    async with opened_platform(options) as platform:
        opening = opened_on(options, platform, checks_digests=checks_digests, may_create=may_create)
        async with opening as disk:
            yield disk


@contextlib.asynccontextmanager
async def opened_on(
    options: argparse.Namespace,
    platform: Platform,
    *,
    checks_digests: bool = True,
    may_create: bool = False,
) -> AsyncIterator[AnyDisk]:
    """The same on a platform that is open."""
    if options.overlay and not may_create:
        await _check_overlays(options, platform)
    given = options_for(options, checks_digests=checks_digests)
    async with open_disk(**given, platform=platform) as disk:
        yield disk


async def base_of(options: argparse.Namespace, library: Library) -> OverlayBase:
    """What the overlays of a source lie over; raises `NoSuchImageError`, `InvalidUrlError`."""
    source = options.source
    if is_url(source):
        return remote_base(source, options.cache_key)
    if source.startswith(_IMAGE):
        return await library.overlays.base_of(image_name(source))
    return file_base(source)


def is_url(source: str) -> bool:
    """Whether it is a URL, and not a file or an image."""
    return "://" in source


def image_name(text: str) -> str:
    """The name of an image, written with or without `image:`."""
    return text.removeprefix(_IMAGE)


async def _check_overlays(options: argparse.Namespace, platform: Platform) -> None:
    """Raises for a missing overlay: opening would create it, which a command that only reads must
    not."""
    async with Library.open(platform) as library:
        base = await base_of(options, library)
        for count in range(1, len(options.overlay) + 1):
            if not await library.overlays.top_of(base.folder, options.overlay[:count]):
                raise NoSuchImageError("overlay", options.overlay[count - 1])


def options_for(options: argparse.Namespace, *, checks_digests: bool = True) -> dict[str, Any]:
    """The options of `open_disk`."""
    source = options.source
    digests = options.digests if checks_digests else None
    remote: dict[str, Any] = {
        "cache_limit_bytes": options.cache_limit,
        "block_size": options.block_size,
        "cache_key": options.cache_key,
        "timeout_s": options.timeout,
        "concurrency": options.concurrency,
        "headers": dict(load_headers(options.header)) or None,
        "digests": None if digests is None else digests.read_bytes(),
        "digests_sha256": options.digests_sha256 if checks_digests else None,
        "digests_key": options.digests_key if checks_digests else None,
    }
    given = {name: value for name, value in remote.items() if value is not None}
    if options.format is not None:
        given["format"] = options.format
    if options.overlay:
        given["overlay"] = options.overlay
    if is_url(source):
        return {"url": source, "allow_remote": True, **given}
    for name in remote:
        if name in given:
            raise UsageError(f"{flag_of(name)} is for URLs only")
    if not source.startswith(_IMAGE):
        return {"path": source, **given}
    if options.format is not None:
        raise UsageError("--format is for URLs and files only")
    return {"image": image_name(source), **given}


def flag_of(option: str) -> str:
    """The flag that sets an option of `open_disk`."""
    named = {"cache_limit_bytes": "cache-limit", "timeout_s": "timeout", "headers": "header"}
    return f"--{named.get(option, option.replace('_', '-'))}"
