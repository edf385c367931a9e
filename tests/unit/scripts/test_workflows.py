"""The workflows run what is in this tree, on the Pythons that the package says it supports."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import aero_browser_disk
from lib.project import ROOT

FOLDER = ROOT / ".github" / "workflows"
NAMES = sorted(path.name for path in FOLDER.iterdir())


def workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return found


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job.get("steps", ())]


def test_tests_run_on_every_python_that_is_supported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    job = workflow("test.yml")["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == supported
    assert "./scripts/test" in [step.get("run") for step in job["steps"]]


@pytest.mark.parametrize("name", NAMES)
def test_what_the_steps_run_is_there(name):
    for step in steps(name):
        for script in re.findall(r"\./(scripts/[\w-]+)", step.get("run", "")):
            assert os.access(ROOT / script, os.X_OK), script
        if step.get("uses", "").startswith("./"):
            assert Path(ROOT, step["uses"]).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_nobody_has_more_rights_than_it_needs(name):
    assert workflow(name)["permissions"] == {"contents": "read"}
    for job in workflow(name)["jobs"].values():
        assert set(job.get("permissions", {})) <= {"contents", "id-token"}
    text = (FOLDER / name).read_text()
    assert "secrets." not in text  # publishing is trusted, without a token


def test_only_a_tag_of_the_packages_version_is_released():
    check = next(
        step["run"] for step in steps("release.yml") if "__version__" in step.get("run", "")
    )
    file = ROOT / "aero_browser_disk" / "__init__.py"
    line = f'__version__ = "{aero_browser_disk.__version__}"'
    assert line in file.read_text().splitlines()
    assert check.endswith("aero_browser_disk/__init__.py")


def test_a_release_waits_for_the_tests():
    jobs = workflow("release.yml")["jobs"]
    assert jobs["test"]["uses"] == "./.github/workflows/test.yml"
    assert jobs["build"]["needs"] == "test"
    assert {jobs[name]["needs"] for name in ("pypi", "npm")} == {"build"}
