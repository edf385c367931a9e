"""The npm package, installed in a fresh folder, with each kind of bundler and with none."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from browser.boot_page import BOOT_TIMEOUT_MS
from browser.conftest import Console
from building.npm_package import GUIDE_PAGE, NAME, write_package
from lib.project import BIOS, BUNDLERS, GRUB_RESCUE_IMAGE, NODE_MODULES, VGA_BIOS
from lib.server_process import ServerProcess
from support.readme import blocks

BUNDLE = BUNDLERS / "bundle.mjs"
PREFIX = "some/prefix"
BUILD_TIMEOUT_S = 300
HTML, MACHINE = (
    next(x.text for x in blocks(language) if x.page == GUIDE_PAGE) for language in ("html", "js")
)
# What every bundler is asked to bundle: all that an app may import, and a page that reads a disk.
READER = """
import "aero-browser-disk/element";
import { connect, openDisk } from "aero-browser-disk";
import { Boot } from "aero-browser-disk/boot";
import { startDosbox } from "aero-browser-disk/dosbox";
import { mountDisk } from "aero-browser-disk/emscripten";
import { Files } from "aero-browser-disk/files";
import { v86Disk } from "aero-browser-disk/v86";

globalThis.imported = [Boot, Files, mountDisk, startDosbox, v86Disk];
imported.push(customElements.get("aero-disk").name);
const asked = new URLSearchParams(location.search);
const baseUrl = asked.get("base") ?? undefined;
try {
  const disk = await openDisk({ url: asked.get("image"), allowRemote: true, baseUrl });
  const sector = await disk.read(0, 512);
  const { from } = await connect().started;
  const text = `${disk.size} bytes, ends ${sector.slice(-2).toHex?.() ?? "55aa"}, from ${from}`;
  document.getElementById("report").textContent = text;
  await disk.close();
} catch (error) {
  document.getElementById("report").textContent = `${error.name}: ${error.message}`;
}
"""
READ = re.compile(rf"{GRUB_RESCUE_IMAGE.stat().st_size} bytes, ends 55aa, from snapshot")

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not GRUB_RESCUE_IMAGE.exists(), reason="scripts/setup fetches the image"),
]


@pytest.fixture(scope="module")
def installed(site_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh folder in which the packed tarball was installed, and v86."""
    folder = tmp_path_factory.mktemp("npm")
    write_package(site_folder, folder / "package")
    npm("pack", folder / "package", "--silent", "--pack-destination", folder)
    (tarball,) = folder.glob("*.tgz")
    app = folder / "app"
    app.mkdir()
    (app / "package.json").write_text(json.dumps({"private": True, "type": "module"}))
    quiet = ("--offline", "--no-audit", "--no-fund", "--loglevel", "error")
    npm("install", *quiet, tarball, cwd=app)
    # The part of v86 that is used: `npm install v86` needs the network.
    for name in ("package.json", "v86.d.ts", "build/libv86.mjs", "build/v86.wasm"):
        (app / "node_modules" / "v86" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(NODE_MODULES / "v86" / name, app / "node_modules" / "v86" / name)
    return app


def npm(*arguments: str | Path, cwd: Path | None = None) -> None:
    subprocess.run(["npm", *arguments], cwd=cwd, check=True, timeout=BUILD_TIMEOUT_S)


def write_app(folder: Path, installed: Path, main: str) -> Path:
    """An app of its own, whose node_modules lead to the installed ones."""
    shutil.copytree(installed, folder, copy_function=lambda a, b: Path(b).hardlink_to(a))
    (folder / "index.html").write_text(HTML)
    (folder / "main.js").write_text(main)
    return folder


@pytest.fixture
def reader(installed: Path, tmp_path: Path) -> Path:
    """An app that reads the first sector of a disk."""
    return write_app(tmp_path / "app", installed, READER)


@pytest.fixture
def machine(installed: Path, tmp_path: Path) -> Path:
    """The guide's app, which boots a disk, with its BIOS."""
    if not (BIOS.exists() and VGA_BIOS.exists()):
        pytest.skip("Debian's seabios is not here: scripts/setup fetches it")
    folder = write_app(tmp_path / "app", installed, MACHINE)
    (folder / "public").mkdir()
    for bios in (BIOS, VGA_BIOS):
        shutil.copyfile(bios, folder / "public" / bios.name)
    return folder


@pytest.fixture(scope="module")
def images() -> Iterator[ImageServer]:
    with ImageServer({"rescue.img": GRUB_RESCUE_IMAGE}) as server:
        yield server


@pytest.fixture
def page(fresh_context: BrowserContext) -> Page:
    page = fresh_context.new_page()
    page.on("dialog", lambda dialog: dialog.accept())
    return page


def bundle(bundler: str, folder: Path, base: str = "/") -> Path:
    """Bundles an app; returns the folder to serve."""
    command: list[str | Path] = ["node", BUNDLE, bundler, folder, base]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    # v86 imports modules of Node, which Vite mentions.
    assert f"node_modules/{NAME}" not in done.stdout + done.stderr
    if not (folder / "dist" / "index.html").exists():
        shutil.copyfile(folder / "index.html", folder / "dist" / "index.html")
    return folder / "dist"


def query(images: ImageServer, **more: str) -> str:
    values = {"image": images.url("rescue.img"), **more}
    return "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in values.items())


def expect_read(page: Page) -> None:
    expect(page.locator("#report")).to_have_text(READ, timeout=120_000)


def expect_menu(page: Page) -> None:
    expect(page.locator("#screen")).to_contain_text("GNU GRUB", timeout=BOOT_TIMEOUT_MS)
    expect(page.locator("#report")).to_be_empty()
    page.close()


def test_twenty_lines_boot_in_vites_server(machine: Path, page: Page, images: ImageServer) -> None:
    assert len(MACHINE.splitlines()) <= 20
    command = ["node", BUNDLE, "vite-dev", machine, f"/{PREFIX}/"]
    with ServerProcess(command) as server:
        assert server.url.endswith(f"/{PREFIX}/")
        page.goto(server.url + query(images))
        expect_menu(page)


def test_they_boot_in_vites_build_under_a_prefix(
    machine: Path, page: Page, images: ImageServer
) -> None:
    root = machine.parent / "served"
    shutil.move(bundle("vite", machine, f"/{PREFIX}/"), root / PREFIX)
    with SiteServer(root) as site:
        page.goto(f"{site.url}{PREFIX}/{query(images)}")
        expect_menu(page)
        assert all(f" /{PREFIX}/" in request for request in site.requests)


def test_rspack_brings_the_worker_and_its_files(
    reader: Path, page: Page, images: ImageServer
) -> None:
    with SiteServer(bundle("rspack", reader)) as site:
        page.goto(site.url + query(images))
        expect_read(page)


def test_esbuild_needs_the_folder_of_the_package_and_the_error_says_so(
    reader: Path, page: Page, images: ImageServer
) -> None:
    served = bundle("esbuild", reader)
    (served / "copied").mkdir()
    shutil.copytree(reader / "node_modules" / NAME, served / "copied" / NAME)
    with SiteServer(served) as site:
        page.goto(site.url + query(images))
        expect(page.locator("#report")).to_contain_text("WorkerError", timeout=120_000)
        expect(page.locator("#report")).to_contain_text("baseUrl")
        page.goto(site.url + query(images, base=f"copied/{NAME}/"))
        expect_read(page)


def test_no_bundler_is_needed(reader: Path, page: Page, images: ImageServer) -> None:
    imports(reader, f"./node_modules/{NAME}/")
    with SiteServer(reader) as site:
        page.goto(site.url + query(images))
        expect_read(page)
        assert page.evaluate("crossOriginIsolated")


def test_the_package_may_lie_on_another_origin(
    reader: Path, page: Page, images: ImageServer
) -> None:
    allowed = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
    package = reader / "node_modules" / NAME
    with SiteServer(package, headers=allowed) as other, SiteServer(reader) as site:
        imports(reader, other.url)
        page.goto(site.url + query(images))
        expect_read(page)
        assert page.evaluate("crossOriginIsolated")
        assert f"GET /{NAME}" not in " ".join(site.requests)
        assert any("worker.mjs" in request for request in other.requests)


def test_a_folder_without_the_files_is_named(
    reader: Path, page: Page, images: ImageServer, console: Console
) -> None:
    console.allow("404|MissingFile|wasm instantiation failed")
    imports(reader, f"./node_modules/{NAME}/")
    package = reader / "node_modules" / NAME
    (package / "pyodide" / "pyodide.asm.wasm").unlink()
    with SiteServer(reader) as site:
        page.goto(site.url + query(images))
        report = page.locator("#report")
        expect(report).to_contain_text("pyodide.asm.wasm did not load", timeout=120_000)
        expect(report).to_contain_text("StartError")
        expect(report).to_contain_text("baseUrl")
        page.close()  # before the server: Pyodide may still ask for its standard library


def imports(app: Path, folder: str) -> None:
    """Lets the page find the package by an import map."""
    described = json.loads((app / "node_modules" / NAME / "package.json").read_bytes())
    names = {
        name.replace(".", NAME, 1): folder + target["default"].removeprefix("./")
        for name, target in described["exports"].items()
        if "default" in target
    }
    tag = f'<script type="importmap">{json.dumps({"imports": names})}</script>\n<script '
    (app / "index.html").write_text(HTML.replace("<script ", tag, 1))


def test_the_package_is_one_to_publish(installed: Path, tmp_path: Path) -> None:
    package = tmp_path / "package"
    large = shutil.ignore_patterns("pyodide", "quick-start", "wheels")  # no module imports them
    shutil.copytree(installed / "node_modules" / NAME, package, ignore=large)
    npm("pack", package, "--silent", "--pack-destination", tmp_path)
    (tarball,) = tmp_path.glob("*.tgz")
    for check in (
        ["publint", "--strict", package],
        ["attw", tarball, "--profile", "esm-only", "--no-emoji"],
    ):
        command = [BUNDLERS / "node_modules" / ".bin" / check[0], *check[1:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_has_all_that_is_imported_and_nothing_of_the_page(installed: Path) -> None:
    package = installed / "node_modules" / NAME
    described = json.loads((package / "package.json").read_bytes())
    for target in described["exports"].values():
        for path in [target] if isinstance(target, str) else target.values():
            assert (package / path).is_file()
    imported = set()
    for module in package.glob("*.m?s"):
        text = re.sub(r"^ \*(?!.*import\().*$", "", module.read_text(), flags=re.MULTILINE)
        imported |= set(re.findall(r'(?:from |import |import\()"(\.[^"]*)"', text))
    for module in package.glob("*.d.mts"):
        imported |= set(re.findall(r"""(?:from |import\()["'](\.[^"']*)["']""", module.read_text()))
    assert len(imported) > 10
    assert all((package / name).is_file() for name in imported)
    assert not (package / "demo.mjs").exists()
    readme = (package / "README.md").read_text()
    assert "](https://github.com/" in readme
    assert not re.search(r"\]\((?!https:|#)", readme)
