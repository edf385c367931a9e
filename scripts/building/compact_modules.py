"""Writes the imported modules again, compiled and without docstrings. Runs in Pyodide.

`/compact/library.zip` holds the modules of the standard library, `/compact/packages.zip` those of
installed packages with their other files, which Pyodide unpacks as it does a wheel.
"""

import ast
import importlib.util
import marshal
import sys
import zipfile
from importlib.machinery import FrozenImporter
from pathlib import Path

PACKAGES = str(Path.cwd())  # where Pyodide unpacks archives
(LIBRARY,) = [path for path in sys.path if path.endswith(".zip")]
HEADER = importlib.util.MAGIC_NUMBER + bytes(12)  # without a date, so that none is compared
DATE = (1980, 1, 1, 0, 0, 0)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def compact(source: str, path: str) -> bytes:
    """The module as a .pyc file without docstrings, and without what is only for type checkers."""
    tree = ast.parse(source, path)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            first, *rest = node.body
            node.body = rest or [ast.copy_location(ast.Pass(), first)]
    if not path.startswith(LIBRARY):
        remove_annotations(tree)
    code = compile(tree, path, "exec", dont_inherit=True)
    return HEADER + marshal.dumps(code)


def remove_annotations(tree: ast.Module) -> None:
    """Removes the annotations of functions, a twentieth of the snapshot; dataclasses need theirs.

    Only in this package: the standard library may read its own.
    """
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None


def write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, DATE), data)


def sources() -> dict[str, str]:
    """The sources of the imported modules, by path. Modules built into Python have none."""
    found = {}
    for name in sorted(sys.modules):
        module = sys.modules[name]
        path, spec = getattr(module, "__file__", None), getattr(module, "__spec__", None)
        if path and path.endswith(".py") and spec and spec.loader is not FrozenImporter:
            found[path] = spec.loader.get_source(spec.name)
    return found


folder = Path("/compact")
folder.mkdir()
with (
    zipfile.ZipFile(folder / "library.zip", "w") as library,
    zipfile.ZipFile(folder / "packages.zip", "w") as packages,
):
    for path, source in sources().items():
        root, archive = (LIBRARY, library) if path.startswith(LIBRARY) else (PACKAGES, packages)
        write(archive, f"{path.removeprefix(root).lstrip('/')}c", compact(source, path))
    for file in sorted(Path(PACKAGES).rglob("*")):
        if file.is_file() and file.suffix not in {".py", ".pyc"}:
            write(packages, str(file.relative_to(PACKAGES)), file.read_bytes())
