"""What the README says is so: its code runs, what it names is there, its lists are complete."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import shlex
import typing
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from aero_browser_disk import errors, open_disk
from aero_browser_disk.cli import main
from aero_browser_disk.disk import Notice
from aero_browser_disk.platform.base import Platform
from aero_browser_disk.platform.cpython import host_platform
from aero_browser_disk.service import cli as service_cli
from aero_browser_disk.streaming.open_remote import RemoteOptions
from aero_browser_disk.testing.image_server import ImageServer
from building import pictures
from lib.project import ROOT, WEB_FOLDERS, WEB_LIB
from support import file_images
from support.qemu import qemu_img
from support.readme import EXAMPLE_URL, README, blocks, links, named_tests, slugs

SOURCE = README.read_text(encoding="utf-8")
GUIDE = ROOT / "aero_browser_disk" / "service" / "README.md"


@pytest.mark.parametrize("page", [README, GUIDE], ids=["README", "operator's guide"])
def test_every_link_leads_somewhere(page):
    for target in links(page):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in slugs(file), target


def test_every_test_that_is_named_is_there():
    files, functions = named_tests(SOURCE)
    assert len(files) > 40
    assert len(functions) > 10
    assert not [name for name in files if not (ROOT / name).is_file()]
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"def (test_\w+)\(", sources))
    assert functions <= there


def test_every_test_file_of_a_promise_is_named_once():
    rows = [line for line in SOURCE.splitlines() if line.startswith("| ") and "tests/" in line]
    promises = [row.split("|")[1] for row in rows]
    assert len(promises) == len(set(promises))


def test_no_error_is_left_out():
    ours = {
        name
        for name, found in vars(errors).items()
        if inspect.isclass(found) and issubclass(found, errors.DiskError)
    }
    for module in (path for folder in WEB_FOLDERS for path in folder.glob("*.mjs")):
        source = module.read_text(encoding="utf-8")
        ours |= set(re.findall(r'name: "(\w+Error)"', source))
        ours |= set(re.findall(r"class (\w+Error) extends", source))
    assert not ours - set(re.findall(r"`(\w+Error)`", SOURCE))


def test_no_notice_is_left_out():
    section = SOURCE.split("is in `stats().notices`:")[1].split("**Events.**")[0]
    told = set(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE))
    assert told == set(typing.get_args(Notice))


def test_no_option_is_left_out():
    section = SOURCE.split("## Opening a disk")[1].split("**A disk**")[0]
    told = {
        name
        for row in section.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    typedefs = (
        (WEB_LIB / "aero-disk.mjs").read_text(encoding="utf-8").split("export class DiskWorker")[0]
    )
    script = set(re.findall(r"@property \{.*\} \[(\w+)\]", typedefs))
    python = {camel(name) for name in RemoteOptions.__annotations__}
    python |= {camel(name) for name in inspect.signature(open_disk).parameters} - {"remote"}
    assert told == script | python


def test_no_method_of_a_disk_is_left_out():
    source = (WEB_LIB / "aero-disk.mjs").read_text(encoding="utf-8")
    disk = source.split("export class Disk {")[1].split("\n}\n")[0]
    methods = set(re.findall(r"^  (?:async )?([a-z]\w+)\(", disk, re.MULTILINE))
    section = SOURCE.split("**A disk**")[1].split("**Errors**")[0]
    # `ask` is for the modules beside it, such as files.mjs.
    assert methods - {"constructor", "ask"} <= set(re.findall(r"`[^`]*?(\w+)[(`,]", section))


def test_no_method_of_the_library_is_left_out():
    source = (WEB_LIB / "library.mjs").read_text(encoding="utf-8").split("export class Library")[1]
    methods = set(re.findall(r"^  (?:async )?([a-z]\w+)\(", source.split("\n}\n")[0], re.MULTILINE))
    told = SOURCE.split("`library` has `list`")[1].split("\n\n")[0]
    assert methods - {"addEventListener", "list"} == set(re.findall(r"`(\w+)`", told))


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def test_the_table_of_contents_has_every_section():
    contents = SOURCE.split("**Contents.**")[1].split("\n\n")[0]
    named = set(re.findall(r"\(#([^)]*)\)", contents))
    sections = slugs(README, level=2)
    assert named == sections - {"licence"}


def test_pictures_are_of_their_sources():
    for source in pictures.sources():
        picture = source.with_suffix(".svg")
        assert pictures.mark_of(picture) == pictures.digest_of(source), "run building.pictures"
        assert f"({picture.relative_to(ROOT).as_posix()})" in SOURCE


def test_nothing_names_a_place_of_one_machine():
    for path in (README, GUIDE, *pictures.sources()):
        assert not re.search(r"(?<![\w.])/(work|tmp|root|home)/", path.read_text()), path


# ── commands ──────────────────────────────────────────────────────────────────────────────────────


def commands() -> list[list[str]]:
    lines = [line for text in blocks("sh") for line in text.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def test_every_script_that_is_named_is_there():
    for name in set(re.findall(r"`?\./(scripts/[\w-]+)", SOURCE)):
        assert os.access(ROOT / name, os.X_OK), name
    for name in set(re.findall(r"python (scripts/\w+\.py)", SOURCE)):
        assert (ROOT / name).is_file(), name


def test_every_command_is_one():
    ours = [words[1:] for words in commands() if words[0] == "aero-disk"]
    assert {words[0] for words in ours} == {
        "info",
        "files",
        "read",
        "prefetch",
        "profile",
        "verify",
    }
    for words in ours:
        main._parser().parse_args(words)
    service = [words[1:] for words in commands() if words[0] == "aero-disk-service"]
    assert {words[0] for words in service} == {"serve", "probe"}
    for words in service:
        service_cli._parser().parse_args(words)


# ── Python ────────────────────────────────────────────────────────────────────────────────────────

IN_A_BROWSER_ONLY = "import micropip"  # tests/browser/test_elsewhere.py does that
PYTHON = [text for text in blocks("python") if IN_A_BROWSER_ONLY not in text]


def test_all_but_one_python_block_runs_here():
    assert len(blocks("python")) - len(PYTHON) == 1


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk with an ext4 partition and a file in it."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "tree" / "etc").mkdir(parents=True)
    (folder / "tree" / "etc" / "fstab").write_text("proc /proc proc defaults 0 0\n")
    volume = file_images.make_ext(folder / "ext4", folder / "tree", "ext4", size=8 << 20)
    script = "label: dos\nstart=2048, size=16384, type=83\n"
    return file_images.partition(folder / "disk.img", script, 10 << 20, {2048: volume})


@pytest.fixture
def url(image: Path) -> Iterator[str]:
    with ImageServer({"win.img": image}) as server:
        yield server.url("win.img")


@pytest.fixture
async def connections(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Closes the connections that CPython keeps alive; the README leaves that to its end."""
    made: list[Platform] = []

    def make(folder: str | Path) -> Platform:
        made.append(host_platform(folder))
        return made[-1]

    monkeypatch.setattr("aero_browser_disk.platform.cpython.host_platform", make)
    yield
    for platform in made:
        await platform.http.close()


@pytest.mark.usefixtures("connections")
@pytest.mark.parametrize("text", PYTHON, ids=range(1, len(PYTHON) + 1))
async def test_python_runs_as_it_stands(text, url, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.chdir(tmp_path)
    await asyncio.to_thread(qemu_img, "create", "-q", "-f", "qcow2", "disk.qcow2", "1M")
    disk = await open_disk(url, allow_remote=True)
    names = {"url": url, "disk": disk, "open_disk": open_disk}
    source = text.replace(EXAMPLE_URL, url)
    code = compile(source, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if running := eval(code, names):  # a block without `await` has run by now
        await running
    for opened in {id(found): found for found in (disk, names["disk"])}.values():
        await opened.close()
