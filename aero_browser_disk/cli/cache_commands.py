"""`prefetch`, `profile`: what of a remote image is cached before it is read."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from ..errors import InvalidDocumentError
from ..file_systems import DiskFiles
from ..streaming.boot_profile import BootProfile
from ..streaming.bulk_read import chunks_of, profile_ranges, read_in_order
from ..streaming.streaming_disk import StreamingDisk
from ..units import format_bytes
from .documents import load_profile, load_reads
from .opening import AnyDisk, add_source, opened
from .output import UsageError, check_bytes_and_json, output, print_result, progress
from .parser import Commands


def add_commands(commands: Commands) -> None:
    """Adds the commands of this group."""
    prefetch = commands.add("prefetch", "fill the cache, with all or what a boot needs", _prefetch)
    add_source(prefetch)
    prefetch.add_argument(
        "--profile", type=Path, metavar="FILE", help="fetch only the blocks of a boot profile"
    )

    profile = commands.add("profile", "make a boot profile", _profile)
    add_source(profile)
    profile.add_argument(
        "--reads",
        type=Path,
        metavar="FILE",
        help="what a boot read: lines of OFFSET LENGTH, or the trace that the page saves",
    )
    profile.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="PATH",
        help="a file on the disk that a boot reads, such as /1/boot/vmlinuz; repeatable",
    )
    profile.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the profile; - is standard output"
    )


async def _prefetch(options: argparse.Namespace) -> int:
    async with opened(options) as opened_disk:
        disk = _streamed(opened_disk, "prefetch is for a URL, without overlays")
        ranges = chunks_of(0, disk.info.size)
        if options.profile is not None:
            profile = load_profile(options.profile)
            if profile.size != disk.info.size:
                raise InvalidDocumentError("boot profile", "it is of an image of another size")
            ranges = list(profile_ranges(profile))
        wanted = sum(length for _, length in ranges)
        limit = disk.stats().cache_limit_bytes
        if wanted > limit:
            raise UsageError(
                f"--cache-limit must be at least {wanted} bytes to cache all of it; it is {limit}"
            )
        done = 0
        with progress(options, "fetching") as shown:
            async for chunk in read_in_order(disk, ranges):
                done += len(chunk)
                shown.update(done, wanted)
        stats = disk.stats()
    downloaded, cached = format_bytes(stats.bytes_downloaded), format_bytes(stats.cached_bytes)
    text = f"downloaded {downloaded}, {cached} are cached"
    print_result(options, {"wanted": wanted, **asdict(stats)}, text)
    return 0


async def _profile(options: argparse.Namespace) -> int:
    if not options.reads and not options.file:
        raise UsageError("say what a boot reads: --reads FILE or --file PATH")
    check_bytes_and_json(options, options.output)
    async with opened(options) as opened_disk:
        disk = _streamed(opened_disk, "a boot profile belongs to a version of an image at a URL")
        ranges = load_reads(options.reads) if options.reads else []
        files = DiskFiles(disk)
        for path in options.file:
            ranges += [
                (extent.disk_offset, extent.length)
                for extent in await files.extents(path)
                if extent.disk_offset is not None
            ]
        size, block_size = disk.info.size, disk.info.block_size
        blocks: dict[int, None] = {}
        for offset, length in ranges:
            if length > 0 and 0 <= offset < size:
                last = (min(offset + length, size) - 1) // block_size
                blocks.update(dict.fromkeys(range(offset // block_size, last + 1)))
        validator = disk.boot_profile().validator
        encoded = BootProfile(size, validator, block_size, tuple(blocks)).encode()
        with output(options.output, is_text=True) as out:
            out.write(encoded + b"\n")
    if options.json:
        print_result(options, {"file": str(options.output), "blocks": len(blocks)}, "")
    return 0


def _streamed(disk: AnyDisk, otherwise: str) -> StreamingDisk:
    if not isinstance(disk, StreamingDisk):
        raise UsageError(otherwise)
    return disk
