"""`ls`, `cat`, `cp`: the files on a disk."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import UnreadableFileError
from ..file_systems import DiskFiles, Entry
from ..platform.printable import printable
from .opening import add_source, opened
from .output import (
    UsageError,
    check_bytes_and_json,
    entry_line,
    name_of,
    output,
    print_result,
    progress,
    volume_line,
    warn,
)
from .parser import Commands

_PATH_HELP = "/ has the volumes, /1/etc is a folder of the first"


def add_commands(commands: Commands) -> None:
    """Adds the commands of this group."""
    ls = commands.add("ls", "list volumes, a folder, or a file", _ls)
    add_source(ls)
    ls.add_argument("path", nargs="?", default="/", metavar="PATH", help=_PATH_HELP)
    ls.add_argument(
        "-l", "--long", action="store_true", help="show mode, owner, size and time (UTC)"
    )

    cat = commands.add("cat", "write files to standard output", _cat)
    add_source(cat)
    cat.add_argument("paths", nargs="+", metavar="PATH", help="files: /1/etc/fstab")
    cat.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to a file")

    cp = commands.add("cp", "copy files and folders out of the disk", _cp)
    add_source(cp)
    cp.add_argument("paths", nargs="+", metavar="PATH", help=_PATH_HELP)
    cp.add_argument("target", type=Path, metavar="TARGET", help="a folder, or the new file")
    cp.add_argument("-r", "--recursive", action="store_true", help="copy folders too")


async def _ls(options: argparse.Namespace) -> int:
    async with opened(options) as disk:
        files = DiskFiles(disk)
        entry = await files.stat(options.path)
        entries: Sequence[Entry] = [entry]
        complete = True
        if entry.kind in ("folder", "volume"):
            found = await files.list(options.path)
            entries, complete = found.entries, found.complete
            if options.path.strip("/"):
                entries = sorted(entries, key=lambda entry: entry.name)
    lines = []
    for each in entries:
        if each.kind == "volume":
            lines.append(volume_line(each, each.name))
        else:
            lines.append(entry_line(each) if options.long else name_of(each))
    result = {"entries": [asdict(each) for each in entries], "complete": complete}
    print_result(options, result, "\n".join(lines))
    if not complete:
        warn(options, "the folder has more entries than are listed")
    return 0


async def _cat(options: argparse.Namespace) -> int:
    check_bytes_and_json(options, options.output)
    async with opened(options) as disk:
        files = DiskFiles(disk)
        total = 0
        for path in options.paths:
            entry = await files.stat(path)
            if entry.kind != "file":
                raise UnreadableFileError(path, "it is not a file")
            total += entry.size or 0
        done = 0
        with output(options.output) as out, progress(options, "writing") as shown:
            for path in options.paths:
                async for chunk in files.read_all(path):
                    out.write(chunk)
                    done += len(chunk)
                    shown.update(done, total)
    if options.json:
        print_result(options, {"file": str(options.output), "bytes": done}, "")
    return 0


# ── cp ────────────────────────────────────────────────────────────────────────────────────────────


async def _cp(options: argparse.Namespace) -> int:
    async with opened(options) as disk:
        copy = _Copy(DiskFiles(disk))
        for path in options.paths:
            entry = await copy.files.stat(path)
            if entry.kind in ("folder", "volume") and not options.recursive:
                raise UsageError(f"{path} is a folder: copy it with -r")
            target: Path = options.target
            if target.is_dir():  # noqa: ASYNC240 - nothing else runs meanwhile
                target /= _checked_name(entry.name) if entry.name else ""
            elif len(options.paths) > 1:
                raise UsageError(f"{target} is not a folder")
            await copy.add(path, entry, target)
        with progress(options, "copying") as shown:
            copied = 0
            async for count in copy.run():
                copied += count
                shown.update(copied, copy.total)
    for path, reason in copy.skipped:
        warn(options, f"skipped {printable(path)}: {reason}")
    result = {
        "files": len(copy.to_write),
        "folders": len(copy.folders),
        "links": copy.linked,
        "bytes": copied,
        "skipped": [{"path": path, "reason": reason} for path, reason in copy.skipped],
    }
    print_result(options, result, "")
    return 0


@dataclass
class _Copy:
    """A copy of files out of an image. Names come from the image, so nothing is written through a
    link or above the target."""

    files: DiskFiles
    folders: dict[Path, Entry] = field(default_factory=dict)
    to_write: list[tuple[str, Path, Entry]] = field(default_factory=list)
    links: list[tuple[Path, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    total: int = 0
    linked: int = 0

    async def add(self, path: str, entry: Entry, target: Path) -> None:
        """A file, or a folder with all that is in it."""
        waiting = [(path, entry, target)]
        while waiting:
            path, entry, target = waiting.pop()
            if entry.cannot is not None:
                self.skipped.append((path, entry.cannot))
            elif entry.kind in ("folder", "volume"):
                self.folders[target] = entry
                listing = await self.files.list(path)
                if not listing.complete:
                    self.skipped.append((path, "it has more entries than can be listed"))
                for child in listing.entries:
                    name = _checked_name(child.name)
                    waiting.append((f"{path.rstrip('/')}/{child.name}", child, target / name))
            elif entry.kind == "file":
                self.to_write.append((path, target, entry))
                self.total += entry.size or 0
            elif entry.kind == "link" and entry.target:
                self.links.append((target, entry.target))
            else:
                self.skipped.append((path, "it is neither a file nor a folder"))

    async def run(self) -> AsyncIterator[int]:
        """Writes all of it; yields the lengths of what was written."""
        mask = os.umask(0)
        os.umask(mask)
        made = []
        for folder, entry in self.folders.items():
            _check_no_link(folder)
            if not folder.is_dir():
                folder.mkdir()
                made.append((folder, entry))
        for path, target, entry in self.to_write:
            _check_no_link(target)
            with output(target) as file:
                async for chunk in self.files.read_all(path):
                    file.write(chunk)
                    yield len(chunk)
            _set_mode(target, entry, mask)
            _set_time(target, entry.modified)
        for folder, entry in made:
            _set_mode(folder, entry, mask)
        # At the end, so that nothing is written through one.
        for link, leads_to in self.links:
            if link.is_symlink() or link.exists():
                self.skipped.append((str(link), "something of that name is there already"))
                continue
            try:
                link.symlink_to(leads_to)
                self.linked += 1
            except (OSError, ValueError) as error:  # an image may say anything
                self.skipped.append((str(link), f"the link cannot be made: {error}"))


def _checked_name(name: str) -> str:
    """A name from an image; raises `UnreadableFileError` for one that leads elsewhere."""
    if name in ("", ".", "..") or "/" in name or "\0" in name or os.sep in name:
        raise UnreadableFileError(printable(name), "no file can have this name here")
    return name


def _check_no_link(target: Path) -> None:
    if target.is_symlink():
        raise UsageError(f"{target} is a symbolic link: nothing is written through it")


def _set_mode(target: Path, entry: Entry, mask: int) -> None:
    """The permissions of an entry, as far as `mask` lets them; folders stay their owner's."""
    if entry.mode is not None and (target.is_file() or target.is_dir()):
        owners = 0o700 if target.is_dir() else 0
        target.chmod(entry.mode & 0o777 & ~mask | owners)


def _set_time(target: Path, modified: float | None) -> None:
    if modified is not None:
        with contextlib.suppress(OSError, OverflowError, ValueError):  # an image may say anything
            os.utime(target, (modified, modified))
