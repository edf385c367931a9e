"""The library as a page uses it: files in and out of the browser, between visits and tabs."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from lib import browsers
from support.qemu import MIB, needs_qemu, patchy_disk, qemu_img, same_disk

REMOTE = SyntheticImage(3 * MIB, seed=9)
PRELUDE = """async (values) => {
  const { openDisk, library } = await import("./aero-disk.mjs");
  const failure = async (work) => {
    try { await work(); } catch (error) {
      const { name, message } = error;
      return { name, message, ...error };
    }
  };
  const digest = async (bytes) => Array.from(
    new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("");
"""


class LibraryPage:
    """The page of the site, with a field for files of its own."""

    def __init__(self, page: Page, site: SiteServer) -> None:
        self.page = page
        self._site = site
        self.load()

    def load(self) -> None:
        """Loads, or loads anew."""
        self.page.goto(self._site.url)
        self.page.evaluate(
            """() => document.body.append(
              Object.assign(document.createElement("input"), { type: "file", id: "chosen" }))"""
        )

    def choose(self, file: Path) -> None:
        """Chooses a file, as a user does."""
        self.page.set_input_files("#chosen", file)

    def run(self, body: str, **values: object) -> Any:
        """Runs the body of a function with `library` and `openDisk` at hand."""
        return self.page.evaluate(PRELUDE + body + "}", values)


@pytest.fixture
def user(context: BrowserContext, site: SiteServer) -> LibraryPage:
    return LibraryPage(context.new_page(), site)


@needs_qemu
@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_a_file_is_imported_written_after_a_reload_and_downloaded(
    user: LibraryPage, browser: Browser, tmp_path: Path
) -> None:
    raw, made = patchy_disk(tmp_path / "disk.img"), tmp_path / "disk.qcow2"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", "-c", raw, made)
    user.choose(made)
    seen = user.run("""
      const told = [];
      const [file] = document.querySelector("#chosen").files;
      const made = await library.import(file, { onProgress: (...values) => told.push(values) });
      return { made, told: told.at(-1), usage: await library.usage() };
    """)
    assert seen["made"]["name"] == "disk"
    assert seen["made"]["format"] == "qcow2"
    assert seen["told"] == [made.stat().st_size] * 2
    assert seen["usage"]["images"] == seen["made"]["usedBytes"] < 5 * MIB
    user.load()
    written = user.run("""
      const disk = await openDisk({ image: "disk" });
      const busy = await failure(() => library.remove("disk"));
      const listed = (await library.list()).map(({ name, isOpen }) => [name, isOpen]);
      const first = await digest(await disk.read(0, disk.size));
      await disk.write(1_000_001, new Uint8Array(100_000).fill(7).subarray(3));
      await disk.discard(2 ** 20 * 2, 2 ** 20);
      await disk.flush();
      const { bytesWritten, usedBytes } = await disk.stats();
      await disk.close();
      return { first, busy, listed, bytesWritten, size: disk.size, readOnly: disk.readOnly };
    """)
    content = bytearray(raw.read_bytes())
    assert written["first"] == hashlib.sha256(content).hexdigest()
    assert written["busy"]["name"] == "ImageBusyError"
    assert written["listed"] == [["disk", True]]
    assert written["bytesWritten"] == 99_997
    assert written["readOnly"] is False
    content[1_000_001 : 1_000_001 + 99_997] = b"\7" * 99_997
    content[2 * MIB : 3 * MIB] = bytes(MIB)
    raw.write_bytes(content)
    user.load()
    if browser.browser_type.name == "firefox":  # of whose downloads Playwright hears nothing
        done = user.run("""
          const { blob, ...facts } = await library.export("disk", { to: "blob" });
          return { ...facts, digest: await digest(await blob.arrayBuffer()) };
        """)
        assert done["digest"] == hashlib.sha256(content).hexdigest()
    else:
        with user.page.expect_download() as download:
            done = user.run('return library.export("disk", { to: "download" });')
        out = tmp_path / "out.img"
        download.value.save_as(out)
        assert download.value.suggested_filename == "disk.img"
        assert same_disk(raw, "raw", out, "raw")
    assert done["fileName"] == "disk.img"
    assert done["bytes"] == len(content)


def test_every_way_in_and_out(user: LibraryPage) -> None:
    data = random.Random(3).randbytes(3 * MIB) + bytes(40 * MIB)
    seen = user.run(
        """
      const bytes = new Uint8Array(values.size);
      let seed = 5;
      for (let at = 0; at < 3 * 2 ** 20; at++) {
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
        bytes[at] = seed >>> 24;
      }
      const expected = await digest(bytes);
      const stream = () => new Blob([bytes]).stream();
      await library.import(bytes, { name: "bytes" });
      await library.import(new Blob([bytes]), { name: "blob" });
      await library.import(stream(), { fileName: "stream.img" });
      const packed = stream().pipeThrough(new CompressionStream("gzip"));
      await library.import(packed, { fileName: "packed.img.gz" });
      const digests = {};
      for (const name of ["bytes", "blob", "stream", "packed"]) {
        const { blob } = await library.export(name, { to: "blob" });
        digests[name] = await digest(await blob.arrayBuffer());
      }
      const told = [];
      const zip = await library.export("bytes", {
        to: "blob", compress: "gzip", onProgress: (...values) => told.push(values),
      });
      await library.import(zip.blob, { name: "again" });
      const zstd = await library.export("again", { to: "blob", compress: "zstd" });
      await library.import(zstd.blob, { name: "again-zstd" });
      let streamed = 0;
      const sink = new WritableStream({ write: (chunk) => void (streamed += chunk.length) });
      await library.export("again-zstd", { to: sink });
      const last = await library.export("again-zstd", { to: "blob" });
      digests.again = await digest(await last.blob.arrayBuffer());
      return { expected, digests, zip: zip.bytes, told: told.at(-1), streamed, names: [
        zip.fileName, zstd.fileName] };
    """,
        size=len(data),
    )
    assert set(seen["digests"].values()) == {seen["expected"]}
    assert seen["told"] == [len(data)] * 2
    assert seen["zip"] < 4 * MIB
    assert seen["streamed"] == len(data)
    assert seen["names"] == ["bytes.img.gz", "again.img.zst"]


def test_refusals_cancelling_and_what_is_left(user: LibraryPage) -> None:
    seen = user.run("""
      const bad = new File(["<!doctype html><html>"], "disk.img");
      const odd = new File([new Uint8Array(1000)], "odd.img");
      const none = await failure(() => library.import("text"));
      const errors = [none, await failure(() => library.import(bad)),
        await failure(() => library.import(odd)), await failure(() => openDisk({ image: "no" })),
        await failure(() => openDisk({})), await failure(() => library.create("x", { size: 5 }))];
      const padded = await library.import(odd, { pad: true });
      const giveUp = new AbortController();
      let pulls = 0;
      const endless = new ReadableStream({ pull(controller) {
        controller.enqueue(new Uint8Array(2 ** 20).fill(1));
        if (++pulls === 20) giveUp.abort();
      } });
      const { signal } = giveUp;
      errors.push(await failure(() => library.import(endless, { fileName: "endless", signal })));
      const broken = new ReadableStream({ pull() { throw new Error("it was moved"); } });
      errors.push(await failure(() => library.import(broken, { fileName: "broken" })));
      while ((await library.list()).some(({ name }) => name === "endless"));
      const full = new WritableStream({ write() { throw new Error("no space there"); } });
      await library.create("blank", { size: 2 ** 30 });
      errors.push(await failure(() => library.export("blank", { to: full })));
      const left = (await library.list()).map(({ name }) => name).sort();
      await library.remove("blank");
      return { errors: errors.map(({ name }) => name), padded: padded.size, left };
    """)
    assert seen["errors"] == [
        "InvalidOptionError",
        "UnsupportedImageError",
        "OddSizeError",
        "NoSuchImageError",
        "InvalidOptionError",
        "OddSizeError",
        "AbortError",
        "SourceError",
        "Error",
    ]
    assert seen["padded"] == 1024
    assert seen["left"] == ["blank", "odd"]


def test_tabs_share_the_library(context: BrowserContext, site: SiteServer) -> None:
    here, there = (LibraryPage(context.new_page(), site) for _ in range(2))
    there.run("""
      globalThis.changes = [];
      library.addEventListener("change", ({ detail }) => changes.push(detail));
    """)
    here.run("""
      await library.create("disk", { size: 2 ** 20 });
      globalThis.disk = await openDisk({ image: "disk", overlay: "work" });
      await disk.write(0, new Uint8Array([1, 2, 3]));
    """)
    seen = there.run("""
      const errors = [];
      for (const options of [{ image: "disk" }, { image: "disk", overlay: "work" }]) {
        errors.push((await failure(() => openDisk(options))).name);
      }
      errors.push((await failure(() => library.remove("disk"))).name);
      errors.push((await failure(() => library.remove("disk", { dropOverlays: true }))).name);
      while (changes.length < 2) await library.list(); // messages of the other tab
      return { errors, open: (await library.list()).map((e) => e.isOpen) };
    """)
    assert seen["errors"] == [
        "ImageBusyError",
        "ImageBusyError",
        "HasOverlaysError",
        "ImageBusyError",
    ]
    assert seen["open"] == [True, True]
    here.page.close()
    seen = there.run("""
      while ((await library.list()).some(({ isOpen }) => isOpen)); // locks outlive a tab a little
      const [overlay] = await library.overlays({ image: "disk" });
      const base = await openDisk({ image: "disk" });
      const refused = (await failure(() => base.write(0, new Uint8Array(1)))).name;
      await base.close();
      const work = await openDisk({ image: "disk", overlay: "work" });
      const lost = Array.from(await work.read(0, 3));
      await work.close();
      await library.remove("disk", { dropOverlays: true });
      return { name: overlay.name, base: overlay.baseName, refused, readOnly: base.readOnly, lost,
        left: (await library.list()).length };
    """)
    assert seen["name"] == "work"
    assert seen["base"] == "disk"
    assert seen["refused"] == "HasOverlaysError"
    assert seen["readOnly"] is True
    assert seen["lost"] in ([0, 0, 0], [1, 2, 3]), "it was not flushed"
    assert seen["left"] == 0


def test_overlays_over_one_image_are_open_in_one_tab_and_go_out_as_they_are(
    user: LibraryPage,
) -> None:
    seen = user.run("""
      await library.import(new Uint8Array(6 * 2 ** 20).fill(9), { name: "disk" });
      const names = [["a"], ["b"], ["low", "c"]];
      const open = (overlay) => openDisk({ image: "disk", overlay });
      const disks = await Promise.all(names.map(open));
      for (const [number, disk] of disks.entries()) await disk.write(0, new Uint8Array([number]));
      const base = await openDisk({ image: "disk" });
      const first = [];
      for (const disk of [...disks, base]) first.push((await disk.read(0, 1))[0]);
      const twice = await failure(() => open(["a"]));
      const out = await library.export("disk", { overlays: ["low", "c"], to: "blob" });
      const bytes = new Uint8Array(await out.blob.arrayBuffer());
      for (const disk of [...disks, base]) await disk.close();
      await library.remove("disk", { dropOverlays: true });
      const rest = bytes.subarray(1).every((byte) => byte === 9);
      const left = (await library.list()).length;
      return { first, twice, start: bytes[0], rest, size: out.bytes, left };
    """)
    assert seen["first"] == [0, 1, 2, 9]
    assert seen["twice"]["name"] == "ImageBusyError"
    assert (seen["start"], seen["rest"], seen["size"]) == (2, True, 6 * MIB)
    assert seen["left"] == 0


def test_an_image_is_imported_from_a_host_without_ranges(user: LibraryPage) -> None:
    with ImageServer({"disk.img": REMOTE}, behaviour=Behaviour(ignore_range=True)) as server:
        seen = user.run(
            """
          const off = await failure(() => library.import({ url: values.url }));
          const made = await library.import({ url: values.url, allowRemote: true });
          const disk = await openDisk({ image: made.id });
          const found = await digest(await disk.read(0, disk.size));
          return { off: off.name, name: made.name, digest: found };
        """,
            url=server.url("disk.img"),
        )
    assert seen["off"] == "RemoteImagesDisabledError"
    assert seen["name"] == "disk"
    assert seen["digest"] == hashlib.sha256(REMOTE.read(0, REMOTE.size)).hexdigest()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="it finds the processes in /proc")
def test_an_import_goes_on_after_the_browser_was_killed(
    open_profile: Any, site: SiteServer, tmp_path: Path
) -> None:
    source = tmp_path / "big.img"
    chance = random.Random(6)
    with source.open("wb") as file:
        for _ in range(192):
            file.write(chance.randbytes(MIB))
    context = open_profile()
    user = LibraryPage(context.new_page(), site)
    user.choose(source)
    processes = browsers.processes(tmp_path / "user")  # before, as looking takes a moment
    user.run("""
      const [file] = document.querySelector("#chosen").files;
      await new Promise((resolve) => {
        library.import(file, { onProgress: (done) => { if (done > 2 ** 26) resolve(); } });
      });
    """)
    browsers.kill(processes)
    browsers.close_killed(context)
    user = LibraryPage(open_profile().new_page(), site)
    before = user.run("return library.list()")
    assert [(entry["name"], entry["state"]) for entry in before] == [("big", "importing")]
    user.choose(source)
    seen = user.run("""
      const refused = await failure(() => openDisk({ image: "big" }));
      const [file] = document.querySelector("#chosen").files;
      const made = await library.import(file);
      const disk = await openDisk({ image: "big" });
      const digests = [];
      for (let at = 0; at < disk.size; at += 2 ** 24) {
        digests.push(await digest(await disk.read(at, 2 ** 24)));
      }
      return { refused: refused.name, state: made.state, id: made.id, digests };
    """)
    assert seen["refused"] == "UnfinishedImportError"
    assert seen["id"] == before[0]["id"]
    with source.open("rb") as file:
        expected = [hashlib.sha256(file.read(16 * MIB)).hexdigest() for _ in range(12)]
    assert seen["digests"] == expected
