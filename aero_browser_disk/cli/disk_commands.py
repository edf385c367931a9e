"""`info`, `read`, `verify`, `export`: a disk as a whole."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import asdict
from pathlib import Path

from ..errors import InvalidDocumentError
from ..file_systems import DiskFiles
from ..library.open_image import LibraryDisk
from ..streaming.bulk_read import CHUNK, chunks_of, read_in_order
from ..streaming.digest_list import DigestList
from ..streaming.remote_options import RemoteSettings
from ..streaming.streaming_disk import StreamingDisk
from ..transfer.image_export import Hole, exported, write_to_path
from ..units import format_bytes, format_percent
from .opening import add_source, byte_count, is_url, opened
from .output import (
    UsageError,
    check_bytes_and_json,
    hex_dump,
    is_stdout,
    output,
    print_result,
    progress,
    volume_line,
)
from .parser import Commands
from .prepared_commands import is_manifest, verify_manifest
from .raw_files import write_raw_file

_DIGESTS_ENDING = ".digests"


def add_commands(commands: Commands) -> None:
    """Adds the commands of this group."""
    info = commands.add(
        "info", "show size, format, version, what is cached, and the volumes", _info
    )
    add_source(info)

    read = commands.add("read", "write bytes of the disk to standard output or a file", _read)
    add_source(read)
    read.add_argument("offset", type=byte_count, help="in bytes: 512, 0x200, 1MiB")
    read.add_argument("length", type=byte_count, help="in bytes")
    _add_output(read)
    read.add_argument("--hex", action="store_true", help="write a hex dump")

    verify = commands.add("verify", "compare the disk with its digests", _verify)
    add_source(verify)

    export = commands.add("export", "write the whole disk to a raw image file", _export)
    add_source(export)
    export.add_argument("file", type=Path, metavar="FILE", help="- is standard output")
    export.add_argument("--compress", choices=("gzip", "zstd"), help="compress the file")


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the file; - is standard output"
    )


async def _info(options: argparse.Namespace) -> int:
    async with opened(options) as disk:
        volumes = (await DiskFiles(disk).list("/")).entries
        facts, stats = asdict(disk.info), asdict(disk.stats())
        found = None if isinstance(disk, LibraryDisk) else disk.format
        lines = [f"size      {format_bytes(disk.info.size)} ({disk.info.size:,} bytes)"]
        lines += [f"format    {found}"] * bool(found)
        lines.append(f"version   {disk.info.version}")
        if isinstance(disk, StreamingDisk):
            cached = disk.stats().cached_bytes
            share = format_percent(cached, disk.info.size)
            lines.append(f"cached    {format_bytes(cached)} ({share})")
        lines += [f"notice    {notice}" for notice in disk.stats().notices]
        lines += [f"volume {volume.name:>2} {volume_line(volume)}" for volume in volumes]
        result = {
            **facts,
            "format": found,
            "stats": stats,
            "volumes": [asdict(volume) for volume in volumes],
        }
        print_result(options, result, "\n".join(lines))
    return 0


async def _read(options: argparse.Namespace) -> int:
    check_bytes_and_json(options, options.output)
    async with opened(options) as disk:
        if options.offset + options.length > disk.info.size:
            raise UsageError(f"the disk has {disk.info.size:,} bytes")
        done = 0
        with (
            output(options.output, is_text=options.hex) as out,
            progress(options, "reading") as shown,
        ):
            async for chunk in read_in_order(disk, chunks_of(options.offset, options.length)):
                out.write(hex_dump(chunk, options.offset + done) if options.hex else chunk)
                done += len(chunk)
                shown.update(done, options.length)
    if options.json:
        print_result(options, {"file": str(options.output), "bytes": done}, "")
    return 0


async def _export(options: argparse.Namespace) -> int:
    check_bytes_and_json(options, options.file)
    async with opened(options) as disk:
        size = disk.info.size
        if options.compress is None and not is_stdout(options.file):
            written = await write_raw_file(options, disk, options.file, "exporting")
            print_result(options, {"file": str(options.file), "size": size, "bytes": written}, "")
            return 0
        with progress(options, "exporting") as shown:
            parts = exported(disk, options.compress, lambda done: shown.update(done, size))
            async with contextlib.aclosing(parts):
                if is_stdout(options.file):
                    with output(None) as out:
                        async for part in parts:
                            for data in part.zeros() if isinstance(part, Hole) else (part,):
                                out.write(data)
                    return 0
                written = await write_to_path(parts, options.file)
    print_result(options, {"file": str(options.file), "size": size, "bytes": written}, "")
    return 0


async def _verify(options: argparse.Namespace) -> int:
    if options.digests is None and is_manifest(options.source, options.format):
        return await verify_manifest(options)
    digests = await _digests(options)
    async with opened(options, checks_digests=False) as disk:
        if digests.size != disk.info.size:
            raise InvalidDocumentError("digest list", "it is of an image of another size")
        wrong: list[int] = []
        step, done = max(digests.chunk_size, CHUNK), 0
        with progress(options, "verifying") as shown:
            async for data in read_in_order(disk, chunks_of(0, disk.info.size, step)):
                for at in range(0, len(data), digests.chunk_size):
                    chunk = (done + at) // digests.chunk_size
                    if not digests.verify(chunk, data[at : at + digests.chunk_size]):
                        wrong.append(chunk * digests.chunk_size)
                done += len(data)
                shown.update(done, disk.info.size)
    length = digests.chunk_size
    text = f"{digests.chunk_count} chunks of {length} bytes match"
    if wrong:
        text = f"{len(wrong)} chunks of {length} bytes differ, the first at {wrong[0]}"
    print_result(options, {"chunk_size": length, "wrong_at": wrong}, text)
    return 1 if wrong else 0


async def _digests(options: argparse.Namespace) -> DigestList:
    """The list that the options name, or the one next to a local image."""
    path = options.digests
    if path is None:
        if is_url(options.source):
            raise UsageError("--digests FILE names the list of a remote image")
        path = Path(options.source + _DIGESTS_ENDING)
    settings = RemoteSettings(
        digests=path.read_bytes(),
        digests_sha256=options.digests_sha256,
        digests_key=options.digests_key,
    )
    digests = await settings.read_digests()
    assert digests is not None
    return digests
