"""Builds the site: the page, the ES modules, Pyodide, this project's wheel, and a memory snapshot.

Every reference in it is relative, so it works in any folder of any static server. The same sources
give the same bytes. To add something to the site, write a part and list it in `PARTS`.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aero_browser_disk.ui.panel import Panel
from building.compression import write_siblings
from building.memory_snapshot import write_build_module
from building.npm_package import write_package
from building.pyodide_distribution import FOLDER as PYODIDE_FOLDER
from building.pyodide_distribution import stock_wheel, write_distribution
from building.site_manifest import write_manifest
from building.wheels import build_distributions, build_wheel, compile_wheels, run
from lib.project import NODE_MODULES, ROOT, WEB, WEB_FOLDERS

WEB_SUFFIXES = {".css", ".html", ".ico", ".svg", ".webmanifest"}
# How a module of `web/` imports one from another folder; in the site all are in one folder.
_ACROSS_FOLDERS = re.compile(rf"(?<=[\"'])\.\./(?:{'|'.join(path.name for path in WEB_FOLDERS)})/")
_STATIC_IMPORT = re.compile(
    r"""^(?:import|export)\b(?:[^;"'()]*\bfrom)?\s*["']\./([^"']+)["']""", re.MULTILINE
)
# Where a visit starts: the modules that a page imports, and its worker.
ENTRIES = ("aero-disk.mjs", "worker.mjs")
# Marks a folder as a site that was built here; any other folder belongs to the user.
WHEEL_INDEX = Path("wheels", "index.json")


class NotASiteError(Exception):
    """The output folder holds something else."""


@dataclass(frozen=True, slots=True)
class Making:
    """A site that is being built."""

    site: Path
    scratch: Path  # gone when the site is done
    small: bool  # whether to minimise its size on the wire, which takes time
    documented: bool  # whether the guide and the reference are in it


def build_site(out: Path, *, small: bool = False, documented: bool = False) -> None:
    """Builds the site at `out`, and replaces a site that is there.

    With `small`, everything is compressed as well as possible, next to the plain files. Without it,
    the site works the same and takes a fifth of the time to build. With `documented` it has the
    guide and the API reference. The old site stays intact until the new one is complete. Raises
    `NotASiteError` when `out` exists and is neither empty nor a site.
    """
    if out.exists() and any(out.iterdir()) and not (out / WHEEL_INDEX).is_file():
        raise NotASiteError(f"{out} is not empty and not a site: name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as made:
        making = Making(Path(made, "site"), Path(made), small, documented)
        making.site.mkdir()
        for part in PARTS:
            part(making)
        if out.exists():
            out.rename(Path(made, "old"))
        making.site.rename(out)


def copy_web(making: Making) -> None:
    """Copies the page and the ES modules."""
    for folder in WEB_FOLDERS:
        copy_flat(folder, making.site)


def copy_flat(folder: Path, site: Path) -> None:
    """Copies a folder of `web/` into the site's root, where its modules find the other folders'."""
    for path in sorted(folder.iterdir()):
        if path.suffix in {".mjs", ".mts"}:
            text = _ACROSS_FOLDERS.sub("./", path.read_text(encoding="utf-8"))
            (site / path.name).write_text(text, encoding="utf-8")
        elif path.suffix in WEB_SUFFIXES:
            shutil.copyfile(path, site / path.name)


def name_all_imports(making: Making) -> None:
    """Adds imports of all direct and indirect dependencies to the modules that a visit starts with.

    A browser then requests all of them at once, instead of one level per round trip.
    """
    for entry in ENTRIES:
        path = making.site / entry
        text = path.read_text(encoding="utf-8")
        led_to = sorted(imported_by(making.site, entry) - {entry, *static_imports(text)})
        lines = "".join(f'import "./{name}";\n' for name in led_to)
        path.write_text(f"{text}\n// What these import, for the browser to see at once.\n{lines}")


def imported_by(site: Path, entry: str) -> set[str]:
    """The names of all modules that a module depends on, itself included."""
    found: set[str] = set()
    names = {entry}
    while names:
        name = names.pop()
        found.add(name)
        names |= static_imports((site / name).read_text(encoding="utf-8")) - found
    return found


def static_imports(text: str) -> set[str]:
    """The names of the modules that a module's text imports before it runs."""
    return set(_STATIC_IMPORT.findall(text))


def write_wheels(making: Making) -> None:
    """Writes this project's wheel with its index, and Pyodide with what installs wheels."""
    site, scratch = making.site, making.scratch
    installer = [stock_wheel("micropip"), stock_wheel("packaging")]
    sources = [build_wheel(scratch / "wheel"), *installer]
    own, *compiled = compile_wheels(sources, scratch / "compiled")
    (site / WHEEL_INDEX).parent.mkdir()
    shutil.copyfile(own, site / WHEEL_INDEX.parent / own.name)
    (site / WHEEL_INDEX).write_text(json.dumps({"wheel": own.name}) + "\n")
    write_distribution(site / PYODIDE_FOLDER, installer, compiled)


def write_snapshot(making: Making) -> None:
    """Writes the snapshot that Python starts from, and the module that names wheel and snapshot."""
    (source,) = (making.scratch / "wheel").glob("*.whl")
    (wheel,) = (making.site / WHEEL_INDEX.parent).glob("aero_browser_disk-*.whl")
    write_build_module(making.site, source, wheel, small=making.small)


def write_types(making: Making) -> None:
    """Writes TypeScript declarations of the modules, `name.d.mts` next to each."""
    types = making.scratch / "types"
    command: list[str | Path] = [NODE_MODULES / ".bin" / "tsc"]
    command += ["--project", WEB / "tsconfig.types.json"]
    run([*command, "--outDir", types])
    for folder in WEB_FOLDERS:
        copy_flat(types / folder.name, making.site)


def write_first_view(making: Making) -> None:
    """Writes what the panel shows before Python is up."""
    view = json.dumps(Panel().view(), indent=1, sort_keys=True, ensure_ascii=False)
    (making.site / "panel-first-view.json").write_text(view + "\n", encoding="utf-8")


def write_api_reference(making: Making) -> None:
    """Writes the references of the package and of the ES modules."""
    if making.documented:
        # Imported here because these tools are slow to load.
        from building.api_reference import write_reference
        from building.script_reference import write_script_reference

        write_reference(making.site)
        write_script_reference(making.site)


def write_guide_pages(making: Making) -> None:
    """Writes the guide."""
    if making.documented:
        from building.guide import write_guide

        write_guide(making.site)


def write_compressed(making: Making) -> None:
    """Writes compressed siblings of the files, for servers that send those."""
    if making.small:
        write_siblings(making.site)


def list_files(making: Making) -> None:
    """Writes the manifest."""
    write_manifest(making.site)


# In this order: the last two need the files of all the others.
PARTS: tuple[Callable[[Making], None], ...] = (
    copy_web,
    name_all_imports,
    write_wheels,
    write_snapshot,
    write_types,
    write_first_view,
    write_api_reference,
    write_guide_pages,
    write_compressed,
    list_files,
)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="build", description="Builds the site.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="default: dist/")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="leave out what makes it small on the wire, the guide and the reference",
    )
    options = parser.parse_args()
    out: Path = options.out.resolve()
    try:
        build_site(out, small=not options.quick, documented=not options.quick)
    except NotASiteError as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    if not options.quick:
        write_package(out, out / "npm")  # in no manifest: the site does not need it
        build_distributions(out / "python")
    print(f"built {out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
