"""How the ES modules import one another, and the messages that they share with Python."""

from __future__ import annotations

import json
import re
import subprocess
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from aero_browser_disk import errors
from aero_browser_disk.platform.browser import fetch, interop
from aero_browser_disk.records.folders import CHANNEL
from lib.project import NODE_MODULES, WEB_FOLDERS, WEB_LIB

MODULES = [path for folder in WEB_FOLDERS for path in folder.glob("*.mjs")]
# What types say of one another (`import("…")` in a comment) does not run.
IMPORT = re.compile(r"""^(?:import|export)\b[^;]*?["'](\.[^"']*)["'];""", re.MULTILINE)


def imports_of(module: Path) -> list[Path]:
    found = IMPORT.findall(module.read_text(encoding="utf-8"))
    return [(module.parent / name).resolve() for name in found]


def test_no_circle_of_imports() -> None:
    graph = {module.resolve(): imports_of(module) for module in MODULES}
    assert sum(map(len, graph.values())) > 60
    TopologicalSorter(graph).prepare()


def test_the_library_knows_no_emulator_and_no_page() -> None:
    allowed = {"lib": {"lib"}, "adapters": {"lib", "adapters"}}
    allowed["element"] = allowed["adapters"] | {"element"}
    allowed["page"] = allowed["element"] | {"page"}
    for module in MODULES:
        for imported in imports_of(module):
            assert imported.parent.name in allowed[module.parent.name], f"{module}: {imported}"


def test_no_exported_name_shadows_the_browsers() -> None:
    types = NODE_MODULES / "typescript" / "lib" / "lib.dom.d.ts"
    declared = re.compile(r"^(?:interface|type|declare (?:var|function)) (\w+)", re.MULTILINE)
    browsers = set(declared.findall(types.read_text(encoding="utf-8")))
    assert {"Location", "Request", "WorkerOptions"} <= browsers
    for module in MODULES:
        text = module.read_text(encoding="utf-8")
        ours = set(re.findall(r"@typedef \{.*\} (\w+)(?:$| )", text, re.MULTILINE))
        ours |= set(re.findall(r"@typedef \{object\} (\w+)", text))
        ours |= set(
            re.findall(r"^export (?:async )?(?:class|function|const) (\w+)", text, re.MULTILINE)
        )
        assert not ours & browsers, module


SAMPLES: dict[str, tuple[str, errors.DiskError]] = {
    "option": ("invalidOption('length', -1, 'e')", errors.InvalidOptionError("length", -1, "e")),
    "file": ("fileUnreadable('a', 'b')", errors.SourceError("a", "b")),
    "range": ("outOfRange(5, 6, 7)", errors.OutOfRangeError(5, 6, 7)),
    "read-only": ("readOnly()", errors.ReadOnlyError()),
    "closed": ("diskClosed()", errors.DiskClosedError()),
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_an_error_says_the_same_in_both_languages(sample: str) -> None:
    made, expected = SAMPLES[sample]
    script = f"""
      import * as errors from {json.dumps((WEB_LIB / "disk-error.mjs").as_uri())};
      const error = errors.{made};
      console.log(JSON.stringify({{ ...error, message: error.message }}));
    """
    run = ["node", "--input-type=module", "-e", script]
    found = json.loads(subprocess.run(run, capture_output=True, check=True).stdout)
    assert found.pop("name") == type(expected).__name__
    assert found.pop("message") == str(expected)
    assert {k: str(v) for k, v in found.items()} == {
        k: str(v) for k, v in expected.fields().items()
    }


def constants_of(module: str) -> dict[str, int]:
    text = (WEB_LIB / module).read_text(encoding="utf-8")
    found = re.findall(r"^(?:export )?const (\w+) = (\d+);", text, re.MULTILINE)
    return {name: int(value) for name, value in found}


def test_both_sides_know_the_same_names_and_numbers() -> None:
    """`test_shared_disk` compares those of the shared memory."""
    reports = constants_of("python-bridge.mjs")
    assert (reports["HEAD"], reports["CHUNK"]) == (fetch._HEAD, fetch._CHUNK)
    namespace = interop.ROOT
    assert f'BroadcastChannel("{namespace}/{CHANNEL}")' in (WEB_LIB / "library.mjs").read_text()
    assert f"`{namespace}/client/${{name}}`" in (WEB_LIB / "shared-client.mjs").read_text()
