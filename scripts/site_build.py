"""Builds the site: the page, the ES modules, Pyodide and this project's wheel, in one folder.

Every reference in it is relative, so it works in any folder of any server that sends the two
headers of cross-origin isolation.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from aero_browser_disk.panel import Panel
from project import ROOT, WEB
from pyodide_distribution import stock_wheel, write_distribution
from wheels import build_wheel, compile_wheels

WEB_SUFFIXES = {".css", ".html", ".ico", ".mjs", ".svg", ".webmanifest"}
# What tells a site that was built here from a folder that is somebody's own.
WHEEL_INDEX = Path("wheels", "index.json")


class NotASiteError(Exception):
    """The output folder holds something else."""


def build_site(out: Path) -> None:
    """Builds the site at `out`, in place of a site that is there.

    The old site stays whole until the new one is. Raises `NotASiteError` when `out` is there and is
    neither empty nor a site.
    """
    if out.exists() and any(out.iterdir()) and not (out / WHEEL_INDEX).is_file():
        raise NotASiteError(f"{out} is not empty and not a site: name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as made:
        site = Path(made, "site")
        site.mkdir()
        copy_web(site)
        write_wheels(site, Path(made))
        write_first_view(site)
        if out.exists():
            out.rename(Path(made, "old"))
        site.rename(out)


def copy_web(site: Path) -> None:
    """Copies the page and the ES modules."""
    for path in sorted(WEB.iterdir()):
        if path.suffix in WEB_SUFFIXES:
            shutil.copyfile(path, site / path.name)


def write_wheels(site: Path, scratch: Path) -> None:
    """Writes this project's wheel with its index, and Pyodide with what installs it."""
    installer = [stock_wheel("micropip"), stock_wheel("packaging")]
    sources = [build_wheel(scratch / "wheel"), *installer]
    own, *compiled = compile_wheels(sources, scratch / "compiled")
    (site / WHEEL_INDEX).parent.mkdir()
    shutil.copyfile(own, site / WHEEL_INDEX.parent / own.name)
    (site / WHEEL_INDEX).write_text(json.dumps({"wheel": own.name}) + "\n")
    write_distribution(site / "pyodide", installer, compiled)


def write_first_view(site: Path) -> None:
    """Writes what the panel shows before Python is up."""
    view = json.dumps(Panel().view(), indent=1, sort_keys=True, ensure_ascii=False)
    (site / "panel-first-view.json").write_text(view + "\n", encoding="utf-8")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="build", description="Builds the site.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="default: dist/")
    out: Path = parser.parse_args().out.resolve()
    try:
        build_site(out)
    except NotASiteError as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    print(f"built {out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
