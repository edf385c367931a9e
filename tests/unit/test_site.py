"""What `scripts/build` promises of the site and of the wheels."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from site_build import NotASiteError, build_site
from wheels import build_wheel


def contents(folder: Path) -> dict[str, str]:
    """The digest of every file."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def own_wheel(site: Path) -> Path:
    index = json.loads((site / "wheels" / "index.json").read_bytes())
    return site / "wheels" / index["wheel"]


def test_the_same_sources_give_the_same_bytes_in_place_of_the_old_site(site_folder, tmp_path):
    again = tmp_path / "again"
    (again / "wheels").mkdir(parents=True)
    (again / "wheels" / "index.json").write_text("{}")
    (again / "of-an-older-version.mjs").write_text("")
    build_site(again)
    assert contents(again) == contents(site_folder)


def test_a_folder_that_is_no_site_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(NotASiteError):
        build_site(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_modules_in_the_site_are_compiled_for_pyodides_python(site_folder):
    wheels = [own_wheel(site_folder), *(site_folder / "pyodide").glob("*.whl")]
    assert len(wheels) == 3
    for wheel in wheels:
        assert "-cp314-none-any" in wheel.name
        names = zipfile.ZipFile(wheel).namelist()
        assert any(name.endswith(".pyc") for name in names)
        assert not any(name.endswith(".py") for name in names)


def test_the_lock_file_names_wheels_that_are_there_with_their_digests(site_folder):
    pyodide = site_folder / "pyodide"
    lock = json.loads((pyodide / "pyodide-lock.json").read_bytes())
    assert set(lock["packages"]) == {"micropip", "packaging"}
    for package in lock["packages"].values():
        data = (pyodide / package["file_name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == package["sha256"]
        assert package["imports"]


def test_the_wheel_installs_in_cpython_and_needs_nothing_else(tmp_path):
    wheel = build_wheel(tmp_path)
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--target", target]
    subprocess.run([*pip, wheel], check=True)
    code = (
        "import sys; sys.path.append(sys.argv[1]); import aero_browser_disk as a; print(a.__file__)"
    )
    isolated = [sys.executable, "-I", "-S", "-c", code, target]
    found = subprocess.run(isolated, check=True, capture_output=True, text=True).stdout
    assert Path(found.strip()).is_relative_to(target)
    assert (target / "aero_browser_disk" / "py.typed").exists()
