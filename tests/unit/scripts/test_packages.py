"""The sdist and the wheel: fit for an index, and what they install runs."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from aero_browser_disk import __version__
from building.wheels import build_distributions

# Nobody is asked: what is installed comes from these files.
OFFLINE = {"PIP_NO_INDEX": "1", "UV_OFFLINE": "1", "UV_NO_INDEX": "1", "UV_NO_CONFIG": "1"}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """The sdist, and the wheel that was built from it."""
    return build_distributions(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def environment(built, tmp_path_factory) -> dict[str, str]:
    """A home of its own, and a folder with the wheels that ours needs."""
    home = tmp_path_factory.mktemp("home")
    wheels = home / "wheels"
    wheels.mkdir()
    packed("ada-url", wheels)
    packed("cffi", wheels)
    packed("pycparser", wheels)
    paths = {"HOME": str(home), "PIP_FIND_LINKS": str(wheels), "UV_FIND_LINKS": str(wheels)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP", "UV"))}
    kept.pop("PYTHONPATH", None)
    return {**kept, **OFFLINE, **paths, "UV_PYTHON": sys.executable}


def packed(name: str, folder: Path) -> Path:
    """The wheel of an installed package, from its files."""
    found = distribution(name)
    (info,) = {file.parts[0] for file in found.files if file.parts[0].endswith(".dist-info")}
    tag = next(
        line.split(": ")[1]
        for line in found.read_text("WHEEL").splitlines()
        if line.startswith("Tag: ")
    )
    wheel = folder / f"{info.removesuffix('.dist-info')}-{tag}.whl"
    record = []
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in found.files:
            if ".." in file.parts or file.suffix == ".pyc" or file.name in ("RECORD", "INSTALLER"):
                continue
            data = Path(file.locate()).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            record.append(f"{file.as_posix()},sha256={digest},{len(data)}")
            archive.writestr(file.as_posix(), data)
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,", ""]))
    return wheel


def checked(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """What a command wrote; it fails the test when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_checkers_of_packages_find_nothing(built):
    folder = Path(sys.executable).parent
    checked(folder / "twine", "check", "--strict", *built)
    checked(folder / "check-wheel-contents", built[1])


def test_pyroma_misses_nothing_but_an_address(built):
    """Nobody has an address to write to about the package: issues go to the tracker."""
    done = subprocess.run(
        [Path(sys.executable).parent / "pyroma", built[0]], capture_output=True, text=True
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("Your package")]
    assert found == ["Your package does not have author-email data."], done.stdout + done.stderr


def test_the_sdist_has_the_package_and_nothing_of_this_machine(built):
    with tarfile.open(built[0]) as archive:
        names = {Path(*Path(name).parts[1:]).as_posix() for name in archive.getnames()}
    outside = {name for name in names if not name.startswith("aero_browser_disk/")}
    assert outside <= {"LICENSE", "README.md", "PKG-INFO", "pyproject.toml", ".gitignore"}
    with zipfile.ZipFile(built[1]) as wheel:
        assert {n for n in wheel.namelist() if ".dist-info/" not in n} == names - outside


@pytest.fixture(scope="module", params=["pip", "uv tool"])
def installed(request, built, environment, tmp_path_factory) -> Path:
    """The folder of the commands, installed as the README says."""
    folder = tmp_path_factory.mktemp("installed")
    if request.param == "pip":
        checked(sys.executable, "-m", "venv", folder)
        checked(folder / "bin" / "python", "-m", "pip", "install", built[1], env=environment)
        return folder / "bin"
    environment = {**environment, "UV_TOOL_BIN_DIR": str(folder)}
    checked(Path(sys.executable).parent / "uv", "tool", "install", built[1], env=environment)
    return folder


def test_what_is_installed_runs(installed, environment, tmp_path):
    shown = checked(installed / "aero-disk", "--version", env=environment)
    assert shown == f"aero-disk {__version__}\n"
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    assert "1 MiB" in checked(installed / "aero-disk", "info", image, env=environment)


def test_the_service_says_which_extra_it_needs(installed, environment):
    done = subprocess.run(
        [installed / "aero-disk-service", "serve"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2
    assert "aero-browser-disk[service]" in done.stderr
    assert "Traceback" not in done.stderr
