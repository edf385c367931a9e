// Compiles the modules in wheels with Pyodide's own Python, by pyodide-build inside Pyodide:
// node compile_wheels.mjs PYODIDE TOOLS FOLDER. TOOLS has the wheels of pyodide-build and what it needs.
// Each wheel in FOLDER gives way to one with .pyc files, which is for Pyodide's Python alone. The same
// wheels give the same bytes: SOURCE_DATE_EPOCH decides every time in them.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [pyodideFolder, tools, folder] = process.argv.slice(2).map((path) => resolve(path));
const { loadPyodide } = await import(pathToFileURL(`${pyodideFolder}/pyodide.mjs`).href);
const { SOURCE_DATE_EPOCH } = process.env;
// The order of a frozenset in a compiled module follows the hash seed.
const env = { PYTHONHASHSEED: "0", SOURCE_DATE_EPOCH };
const pyodide = await loadPyodide({ indexURL: pyodideFolder, env });
pyodide.mountNodeFS("/tools", tools);
pyodide.mountNodeFS("/wheels", folder);
pyodide.runPython(`
import sys
from pathlib import Path

sys.path[:0] = map(str, Path("/tools").glob("*.whl"))
# What "pyodide py-compile" calls. The command itself reads a configuration that is not there.
from pyodide_build._py_compile import _py_compile_archive

for wheel in sorted(Path("/wheels").glob("*.whl")):
    if _py_compile_archive(wheel, keep=False, verbose=False) is None:
        raise SystemExit(f"{wheel.name} was not compiled")
`);
