"""`completion`: shells complete this command's words with what it writes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from aero_browser_disk.cli.completion_command import SHELLS
from support.command_line import all_commands

# Completes the last of the words given, as Tab does, and writes what there is to choose from.
BASH = """
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=$((${#COMP_LINE}))
_shtab_aero_disk "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}" 2>&1
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def complete(run, tmp_path):
    """Completes a line in bash; returns what there is to choose from."""
    script = tmp_path / "completion.bash"
    script.write_bytes(run("completion", "bash")[1])

    def completes(*words: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", BASH, "bash", script, "aero-disk", *words],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        assert done.stderr == ""
        return done.stdout.split()

    return completes


def test_bash_completes_commands_options_choices_and_files(complete, tmp_path):
    (tmp_path / "disk.img").touch()
    (tmp_path / "folder").mkdir()
    assert complete("ov") == ["overlay"]
    assert complete("overlay", "ex") == ["export"]
    assert complete("info", "--cache-l") == ["--cache-limit"]
    assert complete("info", "--format", "qc") == ["qcow2"]
    assert complete("completion", "ba") == ["bash"]
    assert complete("info", "di") == ["disk.img"]
    assert complete("info", "--data", "fo") == ["folder"]
    names = {name.split()[0] for name, _ in all_commands()}
    assert names <= set(complete(""))


@pytest.mark.parametrize(
    ("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")]
)
def test_the_scripts_are_the_shells_language(run, tmp_path, shell, check):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_bytes(run("completion", shell)[1])
    done = subprocess.run([shell, check, script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(result, shell):
    told = result("completion", shell)
    assert told["shell"] == shell
    assert "aero-disk" in told["script"]


def test_without_shtab_it_says_what_to_install(tmp_path):
    (tmp_path / "shtab.py").write_text("raise ImportError")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "aero_browser_disk.cli.main", "completion", "bash", "--json"]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 1
    assert "aero-browser-disk[cli]" in json.loads(done.stdout)["error"]["message"]
