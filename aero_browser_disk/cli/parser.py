"""The parser of the command line, and how the groups add their commands to it.

Decision: argparse, and shtab for completion. Click or Typer would take as many lines to declare the
same options, and code around them to await and to write errors as JSON. rich and tqdm would replace
60 lines of the bar, which notebooks in Pyodide show too and which needs no package there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NoReturn

from .opening import add_folder_options, add_output_options
from .output import UsageError

if TYPE_CHECKING:
    _SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

Run = Callable[[argparse.Namespace], Coroutine[Any, Any, int]]


class CommandParser(argparse.ArgumentParser):
    """Raises `UsageError`, so that it can be written as JSON, instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


class Commands:
    """Where the groups of commands add theirs."""

    def __init__(self, parser: argparse.ArgumentParser, name: str) -> None:
        self._subparsers: _SubParsers = parser.add_subparsers(
            dest=name, required=True, metavar="COMMAND", title="commands"
        )

    def add(self, name: str, help_text: str, run: Run) -> argparse.ArgumentParser:
        """Adds a command with the options that all have; `run` returns its exit status."""
        command = self._subparsers.add_parser(
            name, help=help_text, description=f"{name}: {help_text}.", allow_abbrev=False
        )
        command.set_defaults(run=run, flags=command._option_string_actions)
        add_output_options(command)
        add_folder_options(command)
        return command

    def add_group(self, name: str, help_text: str) -> Commands:
        """Adds a command that has commands of its own."""
        group = self._subparsers.add_parser(
            name, help=help_text, description=f"{name}: {help_text}."
        )
        return Commands(group, f"{name}_command")
