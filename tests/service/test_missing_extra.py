"""Without its extra `aero-disk-service` says what to install; no traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lib.project import ROOT

# Hides modules from every import, as if they were not installed.
HIDING = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r} or name in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""
RUN = """
import sys
from aero_browser_disk.service.command import main
sys.exit(main({arguments!r}))
"""


def run(*options: str, before: str = "", arguments: tuple[str, ...] = ("check-config",)):
    code = before + RUN.format(arguments=list(arguments))
    return subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, cwd=ROOT
    )


def test_an_interpreter_without_any_package_says_what_to_install():
    """`-S` leaves out site-packages."""
    ended = run("-S")
    assert ended.returncode == 2, ended.stderr
    assert "pip install 'aero-browser-disk[service]'" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("module", ["cryptography", "obstore", "pydantic"])
def test_the_module_that_is_missing_is_named(module):
    """At the start, or when what was asked for needs it."""
    asked = ("check-config", "--bucket", "s3://bucket/images")
    ended = run(before=HIDING.format(hidden={module}), arguments=asked)
    assert ended.returncode == 2, ended.stderr
    assert f" {module} is not installed" in ended.stderr
    assert "pip install 'aero-browser-disk[service]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_relay_has_an_extra_of_its_own(tmp_path):
    server = '{old = {url = "https://old.example.com/", public = true}}'
    options = ("--images", str(tmp_path), "--set", f"relay.servers={server}")
    asked = ("check-config", *options)
    assert run(arguments=asked).returncode == 0
    ended = run(before=HIDING.format(hidden={"httpcore"}), arguments=asked)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.strip().endswith("relay.servers needs the extra: relay")


def test_a_module_of_the_package_itself_that_is_missing_is_a_fault_that_shows():
    ended = run(before=HIDING.format(hidden={"aero_browser_disk.service.app"}))
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
