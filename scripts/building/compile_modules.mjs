// Compiles unpacked wheels with Pyodide's own Python: node compile_modules.mjs PYODIDE FOLDER.
// FOLDER holds one folder for each wheel, which holds its tree.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [pyodideFolder, folder] = process.argv.slice(2).map((path) => resolve(path));
const { loadPyodide } = await import(pathToFileURL(`${pyodideFolder}/pyodide.mjs`).href);
// The order of a frozenset in a compiled module follows the hash seed.
const pyodide = await loadPyodide({ indexURL: pyodideFolder, env: { PYTHONHASHSEED: "0" } });
pyodide.mountNodeFS("/wheels", folder);
pyodide.runPython(`
import py_compile, sys
from pathlib import Path

tag = f"cp{sys.version_info.major}{sys.version_info.minor}-none-any"
for tree in sorted(Path("/wheels").glob("*/*")):
    for source in sorted(tree.rglob("*.py")):
        py_compile.compile(
            str(source),
            cfile=str(source.with_suffix(".pyc")),
            dfile=str(source.relative_to(tree)),
            doraise=True,
            # No time and no look for a source that is not there.
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        source.unlink()
    (metadata,) = tree.glob("*.dist-info/WHEEL")
    lines = [line for line in metadata.read_text().splitlines() if line and not line.startswith("Tag:")]
    metadata.write_text("\\n".join([*lines, f"Tag: {tag}", ""]))
`);
