"""`completion`: what a shell needs to complete this command's words, made by shtab."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from .output import CommandError, print_result
from .parser import Commands

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")

_FOLDERS = {"DIR", "FOLDER"}
_FILES = {"FILE", "SOURCE", "TARGET"}


def add_commands(commands: Commands, build_parser: Callable[[], argparse.ArgumentParser]) -> None:
    """Adds the command; `build_parser` gives the parser of all of them."""
    command = commands.add("completion", "write a script that completes commands and options", _run)
    command.add_argument("shell", choices=SHELLS, help="the shell that is to run the script")
    command.set_defaults(build_parser=build_parser)


async def _run(options: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError:
        raise CommandError("completion needs shtab: pip install 'aero-browser-disk[cli]'") from None
    parser = options.build_parser()
    for action in _actions(parser):
        if action.metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    script = shtab.complete(parser, options.shell)
    print_result(options, {"shell": options.shell, "script": script}, script)
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of a parser and of all below it."""
    for action in parser._actions:
        yield action
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                yield from _actions(below)
