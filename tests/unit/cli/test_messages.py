"""Errors speak to whoever types commands: no browser tabs, no pages, no code to change."""

from __future__ import annotations

import inspect
import re

import pytest

from aero_browser_disk import __version__, errors
from aero_browser_disk.cli.main import build_parser, main
from aero_browser_disk.cli.messages import message_of
from support.command_line import all_commands

SAMPLES = {
    "int": 512,
    "str": "x",
    "object": "x",
    "list[str]": ["x"],
    "tuple[str, ...]": ("x",),
    "Sequence[tuple[int, int]]": [(0, 512)],
}
ALL = [
    found
    for found in vars(errors).values()
    if inspect.isclass(found)
    and issubclass(found, errors.DiskError)
    and found is not errors.DiskError
]


def made(kind: type[errors.DiskError]) -> errors.DiskError:
    needed = [
        parameter
        for parameter in inspect.signature(kind).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind is not parameter.VAR_POSITIONAL
        and parameter.kind is not parameter.VAR_KEYWORD
    ]
    return kind(*[SAMPLES[str(p.annotation).removesuffix(" | None")] for p in needed])


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_no_error_speaks_of_browsers_or_of_code(kind):
    message = message_of(made(kind))
    found = re.search(r"\btabs?\b|browser|CORS|\bpages?\b|Python|JavaScript|worker|\w\(\)", message)
    assert not found, message


def test_the_version_is_shown(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"aero-disk {__version__}\n"


COMMANDS = dict(all_commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help_and_every_command_has_json(name):
    actions = COMMANDS[name]._actions
    assert not [action.dest for action in actions if not action.help]
    assert {"json", "quiet"} <= {action.dest for action in actions}


def test_the_help_says_what_an_exit_status_means():
    shown = build_parser().format_help()
    assert re.search(r"^  2 +usage error$", shown, re.MULTILINE)
    assert {name.split()[0] for name in COMMANDS} <= set(shown.split())
