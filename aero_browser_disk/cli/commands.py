"""What the commands of `aero-disk` do."""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import InvalidDocumentError, InvalidOptionError
from ..file_systems import DiskFiles, Entry
from ..formats.local_file import LocalFileDisk, open_file_disk
from ..open_disk import open_disk
from ..platform import cpython_platform, current_platform
from ..platform.printable import printable
from ..progress import Progress, TerminalBar, Unwatched
from ..streaming.boot_profile import BootProfile
from ..streaming.bulk_read import CHUNK, chunks_of, profile_spans, read_in_order
from ..streaming.digest_list import DigestList, pin_of
from ..streaming.streaming_disk import StreamingDisk
from ..units import format_bytes, format_percent

_DIGESTS_ENDING = ".digests"
_KIND_MARKS = {"folder": "/", "link": "@", "other": "?", "volume": "/"}

AnyDisk = StreamingDisk | LocalFileDisk


class UsageError(Exception):
    """What was asked for cannot be meant so."""


async def run(options: argparse.Namespace) -> int:
    """Does the command of parsed arguments; returns its exit status."""
    commands: Mapping[str, Callable[[argparse.Namespace, AnyDisk], Awaitable[int]]] = {
        "info": _info,
        "read": _read,
        "files": _files,
        "prefetch": _prefetch,
        "profile": _profile,
        "verify": _verify,
    }
    async with _opened(options) as disk:
        return await commands[options.command](options, disk)


# ── the image ─────────────────────────────────────────────────────────────────────────────────────


@contextlib.asynccontextmanager
async def _opened(options: argparse.Namespace) -> AsyncIterator[AnyDisk]:
    if "://" not in options.source:
        local = await open_file_disk(options.source)
        async with local:
            yield local
        return
    platform = cpython_platform(options.cache) if options.cache else await current_platform()
    try:
        disk = await open_disk(
            options.source,
            allow_remote=True,
            cache_limit_bytes=options.cache_limit,
            headers=dict(_headers(options.header)),
            platform=platform,
        )
        try:
            yield disk
        finally:
            await disk.close()
    finally:
        await platform.http.close()


def _headers(given: Iterable[str]) -> Iterator[tuple[str, str]]:
    for text in given:
        lines = Path(text[1:]).read_text().splitlines() if text.startswith("@") else [text]
        for line in filter(str.strip, lines):
            name, colon, value = line.partition(":")
            if not colon or not name.strip():
                raise UsageError("--header: write NAME: VALUE")
            yield name.strip(), value.strip()


def _progress(options: argparse.Namespace, what: str) -> Progress:
    watched = sys.stderr.isatty() and not options.quiet and not options.json
    return TerminalBar(sys.stderr, what) if watched else Unwatched()


# ── info, read, files ─────────────────────────────────────────────────────────────────────────────


async def _info(options: argparse.Namespace, disk: AnyDisk) -> int:
    volumes = (await DiskFiles(disk).list("/")).entries
    facts, stats = asdict(disk.info), asdict(disk.stats())
    if options.json:
        print(json.dumps({**facts, "stats": stats, "volumes": [asdict(v) for v in volumes]}))
        return 0
    print(f"size      {format_bytes(disk.info.size)} ({disk.info.size:,} bytes)")
    print(f"version   {disk.info.version}")
    if isinstance(disk, StreamingDisk):
        cached = disk.stats().cached_bytes
        share = format_percent(cached, disk.info.size)
        print(f"cached    {format_bytes(cached)} ({share})")
    for notice in disk.stats().notices:
        print(f"notice    {notice}")
    for volume in volumes:
        print(f"volume {volume.name:>2} {_volume_line(volume)}")
    return 0


async def _read(options: argparse.Namespace, disk: AnyDisk) -> int:
    if options.json:
        raise UsageError("read writes the bytes themselves: leave --json away")
    if options.offset + options.length > disk.info.size:
        raise UsageError(f"the disk has {disk.info.size:,} bytes")
    with _output(options.output, is_text=options.hex) as out:
        done = 0
        spans = chunks_of(options.offset, options.length)
        progress = _progress(options, "reading")
        with contextlib.closing(progress):
            async for piece in read_in_order(disk, spans):
                out.write(_hex_dump(piece, options.offset + done) if options.hex else piece)
                done += len(piece)
                progress.update(done, options.length)
    return 0


async def _files(options: argparse.Namespace, disk: AnyDisk) -> int:
    files = DiskFiles(disk)
    entry = await files.stat(options.path)
    if entry.kind == "file":
        if options.output is not None:
            return await _extract(options, files, entry.size or 0)
        listing, complete = [entry], True
    else:
        if options.output is not None:
            raise UsageError("-o writes one file: name it")
        found = await files.list(options.path)
        listing, complete = list(found.entries), found.complete
    if options.json:
        print(json.dumps({"entries": [asdict(e) for e in listing], "complete": complete}))
        return 0
    for line in listing:
        print(_volume_line(line, line.name) if line.kind == "volume" else _entry_line(line))
    if not complete:
        print("aero-disk: there is more than is listed", file=sys.stderr)
    return 0


async def _extract(options: argparse.Namespace, files: DiskFiles, size: int) -> int:
    progress = _progress(options, "writing")
    target = None if str(options.output) == "-" else options.output
    with contextlib.closing(progress), _output(target) as out:
        done = 0
        async for piece in files.read_all(options.path):
            out.write(piece)
            done += len(piece)
            progress.update(done, size)
    return 0


# ── prefetch, profile, verify ─────────────────────────────────────────────────────────────────────


async def _prefetch(options: argparse.Namespace, disk: AnyDisk) -> int:
    if not isinstance(disk, StreamingDisk):
        raise UsageError("prefetch is for a URL: a file is here already")
    spans = chunks_of(0, disk.info.size)
    if options.profile is not None:
        profile = _load_profile(options.profile)
        if profile.size != disk.info.size:
            raise InvalidDocumentError("boot profile", "it is of an image of another size")
        spans = list(profile_spans(profile))
    wanted = sum(length for _, length in spans)
    limit = disk.stats().cache_limit_bytes
    if wanted > limit:
        expected = f"at least {wanted} bytes, to keep all that is asked for"
        raise InvalidOptionError("--cache-limit", limit, expected)
    progress = _progress(options, "fetching")
    with contextlib.closing(progress):
        done = 0
        async for piece in read_in_order(disk, spans):
            done += len(piece)
            progress.update(done, wanted)
    stats = disk.stats()
    if options.json:
        print(json.dumps({"wanted": wanted, **asdict(stats)}))
    else:
        got, kept = format_bytes(stats.bytes_downloaded), format_bytes(stats.cached_bytes)
        print(f"downloaded {got}, {kept} are cached")
    return 0


async def _profile(options: argparse.Namespace, disk: AnyDisk) -> int:
    if not isinstance(disk, StreamingDisk):
        raise UsageError("a boot profile belongs to a version of an image at a URL")
    spans = _load_reads(options.reads) if options.reads else []
    files = DiskFiles(disk)
    for path in options.file:
        spans += [
            (e.disk_offset, e.length)
            for e in await files.extents(path)
            if e.disk_offset is not None
        ]
    if not spans:
        raise UsageError("say what a boot reads: --reads FILE or --file PATH")
    size, block_size = disk.info.size, disk.info.block_size
    blocks: dict[int, None] = {}
    for offset, length in spans:
        if length > 0 and 0 <= offset < size:
            last = (min(offset + length, size) - 1) // block_size
            blocks.update(dict.fromkeys(range(offset // block_size, last + 1)))
    whose = disk.boot_profile()
    encoded = BootProfile(size, whose.validator, block_size, tuple(blocks)).encode()
    with _output(options.output) as out:
        out.write(encoded + b"\n")
    return 0


async def _verify(options: argparse.Namespace, disk: AnyDisk) -> int:
    path = options.digests
    if path is None:
        if isinstance(disk, StreamingDisk):
            raise UsageError("--digests FILE names the list of a remote image")
        path = Path(options.source + _DIGESTS_ENDING)
    digests = _load_digests(path, options.sha256)
    if digests.size != disk.info.size:
        raise InvalidDocumentError("digest list", "it is of an image of another size")
    wrong: list[int] = []
    progress = _progress(options, "verifying")
    with contextlib.closing(progress):
        step = max(digests.chunk_size, CHUNK)
        done = 0
        async for piece in read_in_order(disk, chunks_of(0, disk.info.size, step)):
            for at in range(0, len(piece), digests.chunk_size):
                chunk = (done + at) // digests.chunk_size
                if not digests.verify(chunk, piece[at : at + digests.chunk_size]):
                    wrong.append(chunk * digests.chunk_size)
            done += len(piece)
            progress.update(done, disk.info.size)
    if options.json:
        print(json.dumps({"chunk_size": digests.chunk_size, "wrong_at": wrong}))
    elif wrong:
        print(f"{len(wrong)} chunks of {digests.chunk_size} bytes differ, the first at {wrong[0]}")
    else:
        print(f"all {format_bytes(disk.info.size)} are as the list has them")
    return 1 if wrong else 0


# ── output ────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def _output(path: Path | None, *, is_text: bool = False) -> Iterator[BinaryIO]:
    """A file that is put in place when it is whole, or standard output."""
    if path is None:
        if sys.stdout.isatty() and not is_text:
            raise UsageError("these are bytes: write them to a file with -o, or into a pipe")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


# ── documents ─────────────────────────────────────────────────────────────────────────────────────


def _load_profile(path: Path) -> BootProfile:
    try:
        return BootProfile.decode(path.read_bytes())
    except ValueError as error:
        raise InvalidDocumentError("boot profile", str(error)) from error


def _load_digests(path: Path, pin: str | None) -> DigestList:
    encoded = path.read_bytes()
    if pin is not None and pin_of(encoded) != pin.lower():
        raise InvalidDocumentError("digest list", f"its SHA-256 is {pin_of(encoded)}, not {pin}")
    try:
        return DigestList.decode(encoded)
    except ValueError as error:
        raise InvalidDocumentError("digest list", str(error)) from error


def _load_reads(path: Path) -> list[tuple[int, int]]:
    """(offset, length) of each read, from a trace of the page or the bench, or from lines."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    try:
        if text.lstrip().startswith("{"):
            return [(int(read[0]), int(read[1])) for read in _reads_of(json.loads(text))]
        lines = [line.split() for line in text.splitlines() if line.strip()]
        return [(int(line[0], 0), int(line[1], 0)) for line in lines]
    except (ValueError, TypeError, IndexError, KeyError):
        raise InvalidDocumentError("trace", "it has no reads of an offset and a length") from None


def _reads_of(document: Any) -> list[Any]:
    """The reads of a trace: the page's has events, of which some are reads; the bench's reads."""
    if "events" in document:
        return [event[2:] for event in document["events"] if event[1] in ("hit", "miss")]
    return list(document["reads"])


# ── lines ─────────────────────────────────────────────────────────────────────────────────────────


def _volume_line(volume: Entry, name: str = "") -> str:
    label = f" “{printable(volume.label)}”" if volume.label else ""
    place = f"{format_bytes(volume.size or 0)} from byte {volume.offset:,}"
    return f"{f'{name}/':<4}" * bool(name) + f"{volume.description}{label}, {place}"


def _entry_line(entry: Entry) -> str:
    size = "" if entry.size is None else f"{entry.size:,}"
    target = f" -> {printable(entry.target)}" if entry.target else ""
    name = printable(entry.name) + _KIND_MARKS.get(entry.kind, "")
    return f"{size:>15}  {_time(entry.modified):16}  {name}{target}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return ""  # an image may say anything


def _hex_dump(data: bytes, offset: int) -> bytes:
    lines = []
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        lines.append(f"{offset + at:010x}  {row.hex(' '):<47}  {text}\n")
    return "".join(lines).encode()
