"""What `scripts/build` promises of the site and of the wheels."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

from aero_browser_disk.formats.image_format import ZSTD
from aero_browser_disk.formats.zstandard import zstd_module
from building.compression import write_siblings
from building.memory_snapshot import LATER
from building.site import ENTRIES, NotASiteError, build_site, imported_by, static_imports
from building.wheels import build_wheel
from lib.project import ROOT, WEB_FOLDERS


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


def test_the_manifest_names_every_file_with_its_digest(site_folder):
    manifest = json.loads((site_folder / "manifest.json").read_bytes())
    found = contents(site_folder)
    del found["manifest.json"]
    assert {path: facts["sha256"] for path, facts in manifest["files"].items()} == found
    for path, facts in manifest["files"].items():
        assert (site_folder / path).stat().st_size == facts["bytes"]


def built_for(site: Path) -> dict[str, Any]:
    """What the site's `build.mjs` exports."""
    text = (site / "build.mjs").read_text()
    found: dict[str, Any] = json.loads(text.partition("export const build = ")[2].rstrip(";\n"))
    return found


def test_the_worker_knows_how_long_its_files_are(site_folder):
    text = (site_folder / "build.mjs").read_text()
    sizes = json.loads(re.findall(r"^export const sizes = (.*);$", text, re.MULTILINE)[0])
    files = re.findall(r'^  "([^"]+)": new URL', text, re.MULTILINE)
    assert sizes == {name: (site_folder / name).stat().st_size for name in files}
    assert {"pyodide/pyodide.asm.wasm", "pyodide/python_stdlib.zip"} < set(sizes)


def wasm_data(wasm: Path, length: int) -> bytes:
    """What WebAssembly itself makes of a module's data segments."""
    code = """
    const [path, length] = process.argv.slice(1);
    const module = new WebAssembly.Module(require("fs").readFileSync(path));
    const imports = {};
    for (const { module: of, name, kind } of WebAssembly.Module.imports(module)) {
      imports[of] ??= {};
      if (kind === "function") imports[of][name] = () => 0;
      if (kind === "global") {
        const pointer = new WebAssembly.Global({ value: "i32", mutable: true }, 0);
        imports[of][name] = pointer;
      }
      if (kind === "tag") imports[of][name] = new WebAssembly.Tag({ parameters: ["i32"] });
    }
    const { exports } = new WebAssembly.Instance(module, imports);
    process.stdout.write(new Uint8Array(exports.memory.buffer, 0, length));
    """
    run = subprocess.run(["node", "-e", code, wasm, str(length)], capture_output=True, check=True)
    return run.stdout


def test_the_worker_is_built_for_a_wheel_and_a_snapshot_of_it(site_folder):
    build = built_for(site_folder)
    assert site_folder / build["wheel"] == own_wheel(site_folder)
    facts = build["snapshot"]
    data = wasm_data(site_folder / "pyodide" / "pyodide.asm.wasm", facts["data"])
    zstd = zstd_module(ZSTD)
    packed = zstd.decompress(
        (site_folder / facts["path"]).read_bytes(),
        zstd_dict=zstd.ZstdDict(data, is_raw=True).as_prefix,
    )
    # 13.6 MB in November 2026, of which 3.2 cross the link: a first visit has 6.4 MB in all.
    assert len(packed) == facts["bytes"] < 14_000_000
    name = hashlib.sha256(packed).hexdigest()[:16]
    assert facts["path"] == f"quick-start/python-{name}.snapshot.zst"
    assert sum(length for _, length, stored in facts["runs"] if stored) == facts["bytes"]
    assert facts["library"] == (site_folder / "pyodide" / "python_stdlib.zip").stat().st_size
    assert b"aero_browser_disk.platform.browser.opfs" in packed
    for left_out in ("service.app", "testing", "saves.save_server"):
        assert f"aero_browser_disk.{left_out}".encode() not in packed
    annotation = "platform: Callable[[], Awaitable[Platform]]"
    assert annotation in (ROOT / "aero_browser_disk" / "worker" / "worker.py").read_text(
        encoding="utf-8"
    )
    assert annotation.partition(": ")[2].encode() not in packed
    assert str(ROOT).encode() not in packed


def test_the_modules_that_are_fetched_later_are_in_an_archive(site_folder):
    path = built_for(site_folder)["snapshot"]["later"]
    assert hashlib.sha256((site_folder / path).read_bytes()).hexdigest()[:16] in path
    names = zipfile.ZipFile(site_folder / path).namelist()
    for later in LATER:
        assert any(name.startswith(later) for name in names), later
    assert all(name.startswith(LATER) for name in names)


def test_every_module_and_its_types_find_what_they_import(site_folder):
    names = [path.name for folder in WEB_FOLDERS for path in folder.iterdir()]
    assert len(names) == len(set(names)), "in the site the folders are one"
    imported = 0
    for path in [*site_folder.glob("*.mjs"), *site_folder.glob("*.d.mts")]:
        text = re.sub(r"^ \*(?!.*import\().*$", "", path.read_text(), flags=re.MULTILINE)
        for name in re.findall(r'(?:from |import |import\()"(\.[^"]*)"', text):
            assert (site_folder / name).is_file(), f"{path.name}: {name}"
            imported += 1
    assert imported > 100


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_a_visit_starts_with_names_all_that_it_leads_to(site_folder, entry):
    named = static_imports((site_folder / entry).read_text())
    assert imported_by(site_folder, entry) == named | {entry}
    assert len(named) > 4


def test_imports_are_found_in_every_form_but_those_that_come_later():
    text = """import "./a.mjs";
import * as b from "./b.mjs";
import {
  c,
} from './c.mjs';
export { d } from "./d.mjs";
export * from "./e.mjs";
/** @typedef {import("./type.mjs").T} T */
const later = import("./later.mjs");
export const text = "from './no.mjs'";
"""
    assert static_imports(text) == {f"{name}.mjs" for name in "abcde"}


def test_every_module_has_its_types(site_folder):
    modules = {path.name for path in site_folder.glob("*.mjs")}
    types = {path.name for path in site_folder.glob("*.d.mts")}
    assert {name.replace(".mjs", ".d.mts") for name in modules} == types
    text = (site_folder / "aero-disk.d.mts").read_text()
    assert "export function openDisk(" in text
    assert "Promise<Disk>" in text


def test_compressed_siblings_hold_the_same_bytes_where_they_save_something(tmp_path):
    text = b"export const nothing = 0;\n" * 1000
    (tmp_path / "a.mjs").write_bytes(text)
    (tmp_path / "short.mjs").write_bytes(text[:26])
    (tmp_path / "noise.wasm").write_bytes(random.Random(1).randbytes(5000))
    write_siblings(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a.mjs", "a.mjs.br", "a.mjs.gz", "noise.wasm", "short.mjs"]
    assert gzip.decompress((tmp_path / "a.mjs.gz").read_bytes()) == text
    undo = "process.stdout.write(zlib.brotliDecompressSync(fs.readFileSync(process.argv[1])))"
    run = subprocess.run(["node", "-e", undo, tmp_path / "a.mjs.br"], capture_output=True)
    assert run.stdout == text


def test_the_lock_file_names_wheels_that_are_there_with_their_digests(site_folder):
    pyodide = site_folder / "pyodide"
    lock = json.loads((pyodide / "pyodide-lock.json").read_bytes())
    assert set(lock["packages"]) == {"micropip", "packaging"}
    for package in lock["packages"].values():
        data = (pyodide / package["file_name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == package["sha256"]
        assert package["imports"]


def test_the_wheel_installs_in_cpython_and_needs_ada_url_alone(tmp_path):
    wheel = build_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        needed = Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist")
    always = [line for line in needed if "extra ==" not in line]
    assert [re.split(r"[^\w-]", line)[0] for line in always] == ["ada-url"]
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", target, wheel], check=True)
    code = (
        "import sys; sys.path.append(sys.argv[1]); import aero_browser_disk as a; print(a.__file__)"
    )
    isolated = [sys.executable, "-I", "-S", "-c", code, target]
    found = subprocess.run(isolated, check=True, capture_output=True, text=True).stdout
    assert Path(found.strip()).is_relative_to(target)
    assert (target / "aero_browser_disk" / "py.typed").exists()
