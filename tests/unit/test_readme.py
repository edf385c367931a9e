"""What the README and the guide say is so: code runs, what they name exists, lists are complete."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import tomllib
import typing

import pytest

from aero_browser_disk import errors, open_disk
from aero_browser_disk.cli import main
from aero_browser_disk.disk import Notice
from aero_browser_disk.service import cli as service_cli
from aero_browser_disk.streaming.remote_options import RemoteOptions
from benchmarks import readme as measured
from benchmarks.charts import CHARTS
from building import pictures
from lib.project import ROOT, WEB_FOLDERS, WEB_LIB
from support.command_line import all_commands
from support.readme import (
    GUIDE,
    PAGES,
    README,
    all_blocks,
    blocks,
    links,
    named_tests,
    prose,
    section,
    slugs,
    source_of,
)

PACKAGE = ROOT / "aero_browser_disk"
OPENING = GUIDE / "opening-disks.md"
EVERYTHING = "\n".join(map(source_of, PAGES))
# Where the blocks of each language are run or checked.
TESTED_LANGUAGES = {
    "html": "tests/browser/test_readme.py, test_npm.py, test_element.py, test_elsewhere.py there",
    "http": "here, as header fields or requests",
    "js": "tests/browser/test_readme.py, test_npm.py, test_emscripten.py there",
    "json": "here, and tests/service/test_guide.py",
    "nginx": "tests/service/test_guide.py",
    "python": "tests/unit/test_samples.py",
    "sh": "here, and tests/service/test_guide.py",
    "text": "nothing to run",
    "toml": "tests/service/test_guide.py",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in links(page):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in slugs(file), target


def test_every_page_of_the_guide_is_reached_from_its_index():
    index = GUIDE / "index.md"
    linked = {(GUIDE / target.partition("#")[0]).resolve() for target in links(index)}
    assert {page for page in PAGES if page.is_relative_to(GUIDE) and page != index} <= linked


def test_the_readme_is_short():
    assert len(source_of(README).splitlines()) < 300


def test_every_block_has_a_language_that_is_tested():
    for block in all_blocks():
        assert block.language in TESTED_LANGUAGES, block


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_code_hides_from_the_tests_by_being_indented(page):
    assert not re.findall(r"\n\n {4}\S.*", prose(page))


def test_every_test_that_is_named_is_there():
    files, functions = named_tests(EVERYTHING)
    assert len(files) > 40
    assert len(functions) > 10
    assert not [name for name in files if not (ROOT / name).is_file()]
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"def (test_\w+)\(", sources))
    assert functions <= there


def test_every_promise_is_made_once():
    lines = source_of(GUIDE / "promises.md").splitlines()
    rows = [line for line in lines if line.startswith("| ") and "tests/" in line]
    promises = [row.split("|")[1] for row in rows]
    assert promises
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
    assert not ours - set(re.findall(r"`(\w+Error)`", section(OPENING, "Errors"))) - {"DiskError"}


def test_no_notice_is_left_out():
    told = set(re.findall(r"^\| `([a-z-]+)` \|", section(OPENING, "Notices"), re.MULTILINE))
    assert told == set(typing.get_args(Notice))


def test_no_option_is_left_out():
    told = {
        name
        for row in section(OPENING, "Options").splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    typedefs = (WEB_LIB / "aero-disk.mjs").read_text(encoding="utf-8") + (
        WEB_LIB / "disk-worker.mjs"
    ).read_text(encoding="utf-8").split("export class")[0]
    script = set(re.findall(r"@property \{.*\} \[?(\w+)", typedefs))
    python = {camel(name) for name in RemoteOptions.__annotations__}
    python |= {camel(name) for name in inspect.signature(open_disk).parameters} - {"remote"}
    assert told == script | python


def test_no_method_of_a_disk_is_left_out():
    source = (WEB_LIB / "disk.mjs").read_text(encoding="utf-8")
    disk = source.split("export class Disk {")[1].split("\n}\n")[0]
    methods = set(re.findall(r"^  (?:async )?([a-z]\w+)\(", disk, re.MULTILINE))
    told = set(re.findall(r"`[^`]*?(\w+)[(`,]", section(OPENING, "A disk")))
    # `ask` and `askSync` are for the modules beside it, such as files.mjs.
    assert methods - {"constructor", "ask", "askSync"} <= told


def test_no_method_of_the_library_is_left_out():
    source = (WEB_LIB / "library.mjs").read_text(encoding="utf-8").split("export class Library")[1]
    methods = set(re.findall(r"^  (?:async )?([a-z]\w+)\(", source.split("\n}\n")[0], re.MULTILINE))
    text = source_of(GUIDE / "local-images.md")
    told = text.split("`library` has `list`")[1].split("\n\n")[0]
    assert methods - {"addEventListener", "list"} == set(re.findall(r"`(\w+)`", told))


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def test_pictures_are_of_their_sources():
    for source in pictures.sources():
        picture = source.with_suffix(".svg")
        assert pictures.mark_of(picture) == pictures.digest_of(source), "run building.pictures"
        assert f"(pictures/{picture.name})" in EVERYTHING


def test_pictures_of_the_page_are_shown_and_small():
    for name in ("page.png", "page.webp"):
        assert (GUIDE / "pictures" / name).stat().st_size < 500_000
        assert f"pictures/{name})" in EVERYTHING
    assert "page.webp)" in source_of(README)


def test_measurements_are_those_of_the_results():
    results = json.loads((GUIDE / "measurements.json").read_bytes())
    page = source_of(GUIDE / "measurements.md")
    assert page == measured.written(page, measured.tables(results)), "run benchmarks.readme"
    for name, draw in CHARTS.items():
        picture = GUIDE / "pictures" / name
        assert picture.read_text(encoding="utf-8") == draw(results), "run benchmarks.readme"
        assert f"pictures/{name})" in EVERYTHING


def test_every_format_on_disk_is_named():
    sources = "".join(p.read_text(encoding="utf-8") for p in PACKAGE.rglob("*.py"))
    magics = set(re.findall(r'b"(AERO[A-Z]+\d)"', sources))
    assert magics
    assert magics <= set(re.findall(r"`(AERO\w+)`", source_of(GUIDE / "formats.md")))


def test_nothing_names_a_place_of_one_machine():
    for path in (*PAGES, *pictures.sources()):
        assert not re.search(r"(?<![\w.])/(work|tmp|root|home)/", path.read_text()), path


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_is_json(block):
    assert json.loads(block.text)


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_toml_is_toml(block):
    assert tomllib.loads(block.text)


@pytest.mark.parametrize("block", blocks("http"), ids=str)
def test_http_is_header_fields_or_requests(block):
    lines = block.text.splitlines()
    field, request = r"[A-Za-z-]+: \S.*", r"(GET|POST|PUT|PATCH|DELETE) +/v1/\S+.*"
    assert all(re.fullmatch(field, x) for x in lines) or all(
        re.fullmatch(request, x) for x in lines
    )


# ── commands ──────────────────────────────────────────────────────────────────────────────────────


def commands() -> list[list[str]]:
    texts = [block.text.replace("\\\n", " ") for block in blocks("sh")]
    lines = [line for text in texts for line in text.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


# What is no command of this project, and where it is run.
FOREIGN_COMMANDS = {
    "curl": "tests/service/test_guide.py",
    "docker": "tests/service/test_container.py builds what the Dockerfile says",
    "envsubst": "tests/service/test_nginx.py renders the templates",
    "export": "with envsubst",
    "npm": "tests/browser/test_npm.py",
    "openssl": "tests/service/test_cli.py makes a key",
    "pip": "tests/unit/scripts/test_packages.py installs the wheel",
    "qemu-img": "tests/service/test_outside_checks.py",
    "uv": "tests/unit/scripts/test_packages.py installs the wheel",
}


def test_every_script_that_is_named_is_there():
    for name in set(re.findall(r"`?\./(scripts/[\w-]+)", EVERYTHING)):
        assert os.access(ROOT / name, os.X_OK), name
    for name in set(re.findall(r"python (scripts/[\w/]+\.py)", EVERYTHING)):
        assert (ROOT / name).is_file(), name


def test_every_command_is_one():
    ours = [words[1:] for words in commands() if words[0] == "aero-disk"]
    for words in ours:
        main.build_parser().parse_args(words)
    service = [words[1:] for words in commands() if words[0] == "aero-disk-service"]
    assert {words[0] for words in service} == {"serve", "probe", "check-config", "digest"}
    for words in service:
        service_cli._parser().parse_args(words)


def test_no_command_of_the_command_line_is_left_out():
    shown = [" ".join([*words[1:], ""]) for words in commands() if words[0] == "aero-disk"]
    for name, _ in all_commands():
        assert any(line.startswith(f"{name} ") for line in shown), name


def test_every_other_command_is_run_somewhere():
    for words in commands():
        if words[0] in {"aero-disk", "aero-disk-service", "python"}:
            continue  # looked at above
        assert words[0].startswith("./scripts/") or words[0] in FOREIGN_COMMANDS, words
