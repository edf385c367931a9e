"""Sets up this project: programs from the system, `.venv` and `web/node_modules` from their locks.

Runs on the system's own Python, so it needs nothing beyond the standard library. Anything that was
already made from the same locks is left alone.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from lib.project import (
    BENCH_PEERS,
    BENCH_WHEELS,
    BIOS,
    BUNDLERS,
    CACHE,
    DEBIAN,
    GRUB_RESCUE_IMAGE,
    LOCKS,
    NODE_MODULES,
    NOTEBOOK_WHEELS,
    PYODIDE_BUILD_WHEELS,
    PYODIDE_WHEELS,
    ROOT,
    VENV,
    WEB,
)

REQUIREMENTS = LOCKS / "requirements.lock"
BUILD_REQUIREMENTS = LOCKS / "build.lock"
PYODIDE_REQUIREMENTS = LOCKS / "pyodide.lock"
PYODIDE_BUILD_REQUIREMENTS = LOCKS / "pyodide-build.lock"
NOTEBOOK_REQUIREMENTS = LOCKS / "notebook.lock"
PEER_REQUIREMENTS = BENCH_PEERS / "wheels.lock"
VENV_PYTHON = VENV / "bin" / "python"
PIP = (VENV_PYTHON, "-m", "pip", "--disable-pip-version-check", "--quiet")
STAMP = ".setup-stamp"
# Some systems keep these out of an ordinary user's PATH, and file system tools live there.
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


@dataclass(frozen=True, slots=True)
class Program:
    """A program that is in no lock: any of `names` will do; Debian's `package` has it.

    Several packages are separated by spaces.
    """

    names: tuple[str, ...]
    package: str
    purposes: frozenset[str]
    playwright: str = ""  # the folder name of Playwright's own copy, which will do as well

    def is_there(self) -> bool:
        """Whether one of the names is on the PATH, or Playwright has its own copy."""
        if any(shutil.which(name, path=SYSTEM_PATH) for name in self.names):
            return True
        browsers = Path(
            os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright"
        )
        return bool(self.playwright) and any(browsers.glob(f"{self.playwright}-*"))


# The tools that build a bootable Debian: see debian_image.
INSTALLERS = {"debootstrap": "debootstrap"}
if os.geteuid() != 0:
    INSTALLERS = {name: name for name in ("mmdebstrap", "arch-test", "fakeroot")}
    INSTALLERS["newuidmap"] = "uidmap"
BUILD = frozenset({"bench", "build", "demo", "check", "test"})
PROGRAMS = (
    Program(("node",), "nodejs", BUILD),
    Program(("npm",), "npm", BUILD),
    Program(("mformat",), "mtools", frozenset({"demo", "check", "test"})),
    Program(
        ("chromium", "chromium-browser", "google-chrome"),
        "chromium",
        frozenset({"bench", "check", "test"}),
        playwright="chromium",
    ),
    Program(("firefox-esr", "firefox"), "firefox-esr", frozenset({"test"}), playwright="firefox"),
    Program(("sfdisk",), "fdisk", frozenset({"test"})),
    Program(("fsck.vfat",), "dosfstools", frozenset({"test"})),
    Program(("mkntfs",), "ntfs-3g", frozenset({"test"})),
    Program(("mkfs.exfat",), "exfatprogs", frozenset({"test"})),
    Program(("mount.exfat-fuse",), "exfat-fuse", frozenset({"test"})),
    Program(("fusermount3",), "fuse3", frozenset({"test"})),
    Program(("zsh",), "zsh", frozenset({"test"})),
    Program(("genisoimage",), "genisoimage", frozenset({"test"})),
    Program(("bchunk",), "bchunk", frozenset({"test"})),
    Program(("bgzip",), "tabix", frozenset({"test"})),
    Program(("valkey-server", "redis-server"), "redis-server", frozenset({"test"})),
    Program(("nginx",), "nginx-light", frozenset({"bench", "store", "test"})),
    Program(("wrk",), "wrk", frozenset({"bench"})),
    Program(("qemu-img",), "qemu-utils qemu-block-extra", frozenset({"test"})),
    Program(("pg_ctlcluster",), "postgresql", frozenset({"test"})),
    *(Program((name,), package, frozenset({"debian"})) for name, package in INSTALLERS.items()),
    Program(("mke2fs",), "e2fsprogs", frozenset({"debian", "test"})),
    Program(("syslinux",), "syslinux syslinux-common", frozenset({"debian"})),
)
# These need only `BUILD_REQUIREMENTS`.
BUILDING = frozenset({"build", "demo", "debian"})
PURPOSES = ("bench", "build", "demo", "check", "debian", "store", "test")


class SetupError(Exception):
    """Something is missing. The message says what, and how to get it."""


def say(text: str) -> None:
    """Reports to the user which slow step begins."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


def run(command: Sequence[str | Path], **options: object) -> None:
    """Runs a command with its output on stderr. Raises `SetupError` when it fails."""
    try:
        subprocess.run(command, check=True, stdout=sys.stderr, **options)  # type: ignore[call-overload]
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(f"this failed: {' '.join(map(str, command))}\n{error}") from error


def may_install() -> bool:
    """Whether Debian's packages can be installed here."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install_packages(packages: Iterable[str]) -> None:
    """Installs Debian packages, or raises `SetupError` with the command for the user."""
    wanted = sorted(set(packages))
    if not may_install():
        raise SetupError(
            f"these programs are missing: {', '.join(wanted)}. On Debian or Ubuntu:\n"
            f"    sudo apt-get install {' '.join(wanted)}\n"
            "Elsewhere install the programs of the same names."
        )
    say(f"installing {', '.join(wanted)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *wanted]
    run(["apt-get", "update", "-qq"], env=environment)
    run(install, env=environment)


def provide_programs(purposes: AbstractSet[str]) -> None:
    """Installs the missing programs that the purposes need."""
    missing = [p for p in PROGRAMS if purposes & p.purposes and not p.is_there()]
    if missing:
        install_packages(name for program in missing for name in program.package.split())


def digest(*parts: Path | str) -> str:
    """A fingerprint of files' contents and of strings."""
    hasher = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode()
        hasher.update(f"{len(data)}:".encode() + data)
    return hasher.hexdigest()


def stamp_of(folder: Path) -> str | None:
    """The fingerprint of what the folder was made from; None unless it was finished."""
    stamp = folder / STAMP
    return stamp.read_text() if stamp.is_file() else None


def provide_venv(purposes: AbstractSet[str]) -> None:
    """Makes `.venv` from the locks, with this package installed in editable mode.

    Building and serving need less than half of what tests do, so they install no more. An
    environment that has everything will do as well.
    """

    def made_from(lock: Path) -> str:
        return digest(lock, PYODIDE_REQUIREMENTS, ROOT / "pyproject.toml", str(ROOT))

    lock = BUILD_REQUIREMENTS if purposes <= BUILDING else REQUIREMENTS
    wanted = made_from(lock)
    is_whole = VENV_PYTHON.exists() and any(PYODIDE_WHEELS.glob("*.whl"))
    if is_whole and stamp_of(VENV) in {wanted, made_from(REQUIREMENTS)}:
        return
    say("making .venv (a minute the first time)")
    make_venv()
    run([*PIP, "install", "--require-hashes", "-r", lock])
    run([*PIP, "install", "--no-deps", "--no-build-isolation", "--editable", ROOT])
    download_pyodide_wheels(PYODIDE_REQUIREMENTS, PYODIDE_WHEELS)
    # They declare a newer Python than they need for their use here.
    on_host = [PYODIDE_WHEELS.glob(f"{name}-*.whl") for name in ("pyodide_py", "pyodide_lock")]
    wheels = [wheel for found in on_host for wheel in found]
    run([*PIP, "install", "--no-index", "--no-deps", "--ignore-requires-python", *wheels])
    (VENV / STAMP).write_text(wanted)


def make_venv() -> None:
    """Makes `.venv` unless a working one is there."""
    if VENV_PYTHON.exists():
        works = subprocess.run([VENV_PYTHON, "-m", "pip", "--version"], capture_output=True)
        if works.returncode == 0:
            return
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if subprocess.run(command, capture_output=True).returncode:
        install_packages(["python3-venv"])  # Debian's python3 comes without it
        run(command)


def download_pyodide_wheels(lock: Path, folder: Path) -> None:
    """Downloads the wheels of a lock for Pyodide's Python, whatever Python runs this."""
    shutil.rmtree(folder, ignore_errors=True)
    target: list[str | Path] = [
        "--only-binary",
        ":all:",
        "--python-version",
        "3.14",
        "--platform",
        "any",
        "--dest",
        folder,
    ]
    run([*PIP, "download", "--no-deps", "--require-hashes", *target, "-r", lock])


def provide_pyodide_wheels(lock: Path, folder: Path) -> None:
    """As `download_pyodide_wheels`, unless the wheels are there."""
    wanted = digest(lock)
    if stamp_of(folder) != wanted:
        say(f"fetching {folder.name}")
        download_pyodide_wheels(lock, folder)
        (folder / STAMP).write_text(wanted)


def provide_node_modules(folder: Path) -> None:
    """Makes `node_modules` in a folder from the lock there."""
    wanted = digest(folder / "package.json", folder / "package-lock.json")
    modules = folder / NODE_MODULES.name
    if stamp_of(modules) == wanted:
        return
    say(f"installing {modules.relative_to(ROOT)}")
    quiet = ["--no-audit", "--no-fund", "--loglevel", "error"]
    run(["npm", "ci", *quiet], cwd=folder)
    (modules / STAMP).write_text(wanted)


def provide_peers() -> None:
    """Downloads the packages that the bench compares this project with."""
    provide_node_modules(BENCH_PEERS)
    provide_pyodide_wheels(PEER_REQUIREMENTS, BENCH_WHEELS)


def provide_debian_files() -> None:
    """Downloads a small real bootable image, and its BIOS. Continues without them on failure."""
    wanted = {"grub-rescue-pc": GRUB_RESCUE_IMAGE, "seabios": BIOS}
    packages = [package for package, file in wanted.items() if not file.exists()]
    if not packages or not shutil.which("apt-get") or not shutil.which("dpkg"):
        return
    say(f"fetching {', '.join(packages)}")
    with tempfile.TemporaryDirectory() as folder:
        download = ["apt-get", "download", "-qq", *packages]
        try:
            if subprocess.run(download, cwd=folder, capture_output=True).returncode:
                if may_install():
                    run(["apt-get", "update", "-qq"])
                run(download, cwd=folder)
            DEBIAN.mkdir(parents=True, exist_ok=True)
            for package in Path(folder).glob("*.deb"):
                run(["dpkg", "-x", package, DEBIAN])
        except SetupError as error:
            say(f"nothing can be booted: {error}")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="setup", description=__doc__)
    parser.add_argument("purposes", nargs="*", choices=PURPOSES, help="default: test")
    purposes = frozenset(parser.parse_args().purposes or ["test"])
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two scripts at once must not make the same folder
        try:
            provide_programs(purposes)
            provide_venv(purposes)
            provide_node_modules(WEB)
            provide_pyodide_wheels(PYODIDE_BUILD_REQUIREMENTS, PYODIDE_BUILD_WHEELS)
            if "bench" in purposes:
                provide_peers()
            if "test" in purposes:
                provide_pyodide_wheels(NOTEBOOK_REQUIREMENTS, NOTEBOOK_WHEELS)
                provide_node_modules(BUNDLERS)
            if purposes - {"build", "store"}:
                provide_debian_files()
        except SetupError as error:
            say(str(error))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
