"""`mount`: a disk's files as a folder of this computer, by FUSE."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ..disk import Disk
from ..file_systems import DiskFiles
from ..platform.printable import printable
from .mounted_disk import MountedDisk
from .opening import AnyDisk, add_source, opened
from .output import CommandError, UsageError, print_result, warn
from .parser import Commands

_CACHED_S = 24 * 3600  # names and attributes in the kernel: they never change
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


def add_commands(commands: Commands) -> None:
    """Adds the command."""
    mount = commands.add("mount", "show the files in a folder, read-only (FUSE)", _mount)
    add_source(mount)
    mount.add_argument("folder", type=Path, metavar="FOLDER", help="an empty folder")
    mount.add_argument(
        "--allow-other",
        action="store_true",
        help="let other users in, as far as owners and modes of the files do",
    )


async def _mount(options: argparse.Namespace) -> int:
    fuse = _fuse()
    folder: Path = options.folder
    if not folder.is_dir():  # noqa: ASYNC240 - nothing else runs yet
        raise UsageError(f"{folder} is not a folder")
    if any(folder.iterdir()):  # noqa: ASYNC240
        raise UsageError(f"{folder} is not empty")
    async with opened(options) as disk:
        loop = asyncio.get_running_loop()
        volumes = (await DiskFiles(disk).list("/")).entries
        readable = [volume.name for volume in volumes if volume.cannot is None]

        def ready() -> None:
            result = {"mounted": str(folder), "volumes": readable}
            text = f"mounted at {folder}; press Ctrl+C or unmount it to end"
            loop.call_soon_threadsafe(_say_ready, options, result, text)

        mounted = MountedDisk(
            cast(Disk, _Unchanging(disk)),
            readable,
            lambda work: _wait(loop, work),
            warn=_Warnings(options, loop),
            ready=ready,
        )
        for volume in volumes:
            if volume.cannot is not None:
                warn(options, f"volume {volume.name} is left out: {printable(volume.cannot)}")
        settings = {"allow_other": True, "default_permissions": True} if options.allow_other else {}

        def serve() -> None:
            fuse.FUSE(
                mounted,
                str(folder),
                foreground=True,
                ro=True,
                fsname="aero-disk",
                subtype="aero-disk",
                kernel_cache=True,
                attr_timeout=_CACHED_S,
                entry_timeout=_CACHED_S,
                **settings,
            )

        try:
            await _served(serve, folder, options)
        except RuntimeError:  # mfusepy raises it for a status; libfuse printed why
            raise CommandError(f"{folder} cannot be mounted") from None
    return 0


def _fuse() -> Any:
    if os.name != "posix":
        raise CommandError("mount is for Linux, macOS and other Unix systems")
    try:
        import mfusepy
    except ImportError:
        raise CommandError("mount needs mfusepy: pip install 'aero-browser-disk[fuse]'") from None
    except OSError:
        raise CommandError(
            "mount needs FUSE: install fuse3 (Debian, Fedora) or macFUSE (macOS)"
        ) from None
    return mfusepy


async def _served(serve: Any, folder: Path, options: argparse.Namespace) -> None:
    """Runs `serve` in a thread until the folder is unmounted: on a signal, or by someone else."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def end(error: BaseException | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            serve()
        except BaseException as raised:  # noqa: BLE001 - the waiting task raises it
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended after a second signal
            loop.call_soon_threadsafe(end, error)

    is_asked = False

    def unmount() -> None:
        nonlocal is_asked
        if is_asked:  # files are still open, and the user does not want to wait
            end(None)
            return
        is_asked = True
        threading.Thread(target=_unmount, args=(folder, options), daemon=True).start()

    # Daemons: a thread inside libfuse cannot be ended from here.
    with _on_signals(loop, unmount):
        threading.Thread(target=run, daemon=True).start()
        await ended


@contextlib.contextmanager
def _on_signals(loop: asyncio.AbstractEventLoop, call: Any) -> Iterator[None]:
    numbers = [signal.Signals[name] for name in _SIGNALS]
    for number in numbers:
        loop.add_signal_handler(number, call)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _unmount(folder: Path, options: argparse.Namespace) -> None:
    program = shutil.which("fusermount3") or shutil.which("fusermount")
    if program is None:
        subprocess.run(["umount", str(folder)], check=False)
        return
    command = [program, "-u", "--", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True)
    if done.returncode:
        warn(options, "files are open still: it ends when they are closed, or by another Ctrl+C")
        subprocess.run([program, "-u", "-z", "--", str(folder)], check=False, capture_output=True)


def _wait(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return asyncio.run_coroutine_threadsafe(work, loop).result()
    except RuntimeError:
        work.close()  # the loop has ended
        raise


def _say_ready(options: argparse.Namespace, result: object, text: str) -> None:
    print_result(options, result, "" if options.quiet else text)
    sys.stdout.flush()


class _Warnings:
    """Prints why something failed, on the event loop's thread; skips immediate repeats."""

    def __init__(self, options: argparse.Namespace, loop: asyncio.AbstractEventLoop) -> None:
        self._options = options
        self._loop = loop
        self._last = ""

    def __call__(self, text: str) -> None:
        if text != self._last and not self._options.quiet:
            self._last = text
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(warn, self._options, printable(text))


class _Unchanging:
    """A disk marked read-only, so that its file systems may keep what they have read."""

    def __init__(self, disk: AnyDisk) -> None:
        self._disk = disk
        self.info = replace(disk.info, read_only=True)

    async def read(self, offset: int, length: int) -> bytes:
        """The `length` bytes at `offset`."""
        return await self._disk.read(offset, length)
