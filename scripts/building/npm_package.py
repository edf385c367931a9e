"""The npm package `aero-browser-disk`, made from a built site.

It has the ES modules and what their worker needs. The modules lie in one folder, as in the site,
so the package's folder can be served as it is. Its `build.mjs` names every file that is not a
module in the form that bundlers see.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

from aero_browser_disk import __version__
from building.memory_snapshot import FOLDER as SNAPSHOT_FOLDER
from building.pyodide_distribution import FOLDER as PYODIDE_FOLDER
from building.pyodide_distribution import LOCK_FILE, WORKER_FILES
from lib.project import NODE_MODULES, PYODIDE, ROOT, WEB, WEB_PACKAGE_FOLDERS

NAME = "aero-browser-disk"
# The public import paths, and their modules.
EXPORTS = {
    ".": "aero-disk",
    "./boot": "boot",
    "./dosbox": "dosbox",
    "./dosbox-worker": "dosbox-worker",
    "./element": "element",
    "./emscripten": "emscripten",
    "./files": "files",
    "./testing": "adapter-suite",
    "./v86": "v86-disk",
    "./worker": "worker",
}
# Modules with side effects when they are imported.
SIDE_EFFECTS = ("dosbox-worker", "element", "worker")
# Modules that only make sense in the site, which controls its folder.
NOT_PACKED = {"offline.mjs", "site-worker.mjs"}
GUIDE_PAGE = WEB / "guide" / "npm.md"
_LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)\s]+)(?=\))")


class PackageError(Exception):
    """The package cannot be made."""


def write_package(site: Path, out: Path) -> None:
    """Writes the package of a built site into the folder `out`, which must not exist."""
    out.mkdir(parents=True)
    for folder in WEB_PACKAGE_FOLDERS:
        for module in sorted(folder.glob("*.mjs")):
            if module.name not in NOT_PACKED:
                for name in (module.name, module.with_suffix(".d.mts").name):
                    shutil.copyfile(site / name, out / name)
    shutil.copytree(site / SNAPSHOT_FOLDER, out / SNAPSHOT_FOLDER, ignore=_NOT_COPIED)
    shutil.copytree(site / "wheels", out / "wheels", ignore=_NOT_COPIED)
    (out / PYODIDE_FOLDER).mkdir()
    for name in WORKER_FILES:
        shutil.copyfile(site / PYODIDE_FOLDER / name, out / PYODIDE_FOLDER / name)
        if name.endswith(".mjs"):
            _spare_bundlers(out / PYODIDE_FOLDER / name)
    _write_empty_lock(out / PYODIDE_FOLDER / LOCK_FILE)
    shutil.copyfile(ROOT / "LICENSE", out / "LICENSE")
    (out / "README.md").write_text(readme(), encoding="utf-8")
    text = json.dumps(package_json(), indent=2)
    (out / "package.json").write_text(text + "\n", encoding="utf-8")


_NOT_COPIED = shutil.ignore_patterns("*.br", "*.gz", "index.json")


def _spare_bundlers(module: Path) -> None:
    """Hides an import for Node only, and a missing source map, from Vite's server."""
    text = module.read_text(encoding="utf-8").replace('import("ws")', _HIDDEN)
    module.write_text(re.sub(r"\n//# sourceMappingURL=\S+", "", text), encoding="utf-8")


_HIDDEN = 'import(/* @vite-ignore */["ws"][0])'


def _write_empty_lock(lock: Path) -> None:
    """Removes the lock file's wheels, which are not in the package: the worker installs none."""
    info = json.loads(lock.read_bytes())["info"]
    lock.write_text(json.dumps({"info": info, "packages": {}}) + "\n")


def package_json() -> dict[str, object]:
    """The package's package.json, from the metadata of the Python package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if not re.fullmatch(r"\d+\.\d+\.\d+", __version__):
        raise PackageError(f"npm has no version {__version__}: it takes three numbers")
    v86 = json.loads((NODE_MODULES / "v86" / "package.json").read_bytes())["version"]
    source = project["urls"]["Source"]
    return {
        "name": NAME,
        "version": __version__,
        "description": project["description"],
        "keywords": project["keywords"],
        "license": project["license"],
        "homepage": project["urls"]["Documentation"],
        "repository": {"type": "git", "url": f"git+{source}.git"},
        "bugs": {"url": project["urls"]["Issues"]},
        "type": "module",
        "sideEffects": [f"./{module}.mjs" for module in SIDE_EFFECTS],
        "exports": {
            **{
                name: {"types": f"./{module}.d.mts", "default": f"./{module}.mjs"}
                for name, module in EXPORTS.items()
            },
            "./package.json": "./package.json",
        },
        "peerDependencies": {"v86": f"^{v86.partition('+')[0]}"},
        "peerDependenciesMeta": {"v86": {"optional": True}},
    }


def readme() -> str:
    """The guide's page about the package, with links that lead to the project's own pages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pyodide = json.loads((PYODIDE / "package.json").read_bytes())
    base = project["urls"]["Source"] + "/blob/main/"

    def absolute(link: re.Match[str]) -> str:
        path, mark, anchor = link[1].partition("#")
        target = (GUIDE_PAGE.parent / path).resolve().relative_to(ROOT)
        return f"{base}{target.as_posix()}{mark}{anchor}"

    page = _LINK.sub(absolute, GUIDE_PAGE.read_text(encoding="utf-8"))
    title, _, rest = page.partition("\n")
    assert title.startswith("# ")
    return (
        f"# {NAME}\n{rest}\n## Licence\n\nMIT, see LICENSE. The files in `{PYODIDE_FOLDER}/` are "
        f"those of Pyodide {pyodide['version']} ({pyodide['license']}, {pyodide['homepage']}), "
        "which contains CPython (PSF-2.0). One import in them is written so that bundlers pass "
        "over it.\n"
    )
