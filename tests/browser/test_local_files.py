"""Files of the user, opened where they are: in JavaScript, and on the page."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from browser.panel_page import PanelPage
from support.qemu import MIB, needs_qemu, patchy_disk, qemu_img

BOTH = pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
SIZE = 3 * MIB + 512
IMAGE = SyntheticImage(SIZE, seed=5)

PRELUDE = """async (given) => {
  const { library, openDisk } = await import("./aero-disk.mjs");
  const nameOf = async (work) => {
    try { await work(); return "nothing"; } catch (error) { return error.name; }
  };
  const chosen = () => document.querySelector("#chosen").files[0];
  const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
"""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(IMAGE.read(0, SIZE))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def choose(page: Page, site: SiteServer, path: Path) -> None:
    """A page of the site, with an input in which the user has chosen a file."""
    page.goto(f"{site.url}manifest.json")
    page.evaluate("document.body.innerHTML = '<input type=file id=chosen>'")
    page.locator("#chosen").set_input_files(path)


@BOTH
def test_a_file_is_read_where_it_is_and_an_overlay_takes_the_writes(
    page: Page, site: SiteServer, image: Path
) -> None:
    choose(page, site, image)
    seen = page.evaluate(
        PRELUDE
        + """
      const used = (await library.usage()).images;
      const plain = await openDisk({ file: chosen() });
      const { size, readOnly } = plain;
      const end = hex(await plain.read(size - 1000, 1000));
      const whole = await plain.read(0, size);
      const digest = hex(new Uint8Array(await crypto.subtle.digest("SHA-256", whole)));
      const refused = await nameOf(() => plain.write(0, new Uint8Array(512)));
      await plain.close();

      const disk = await openDisk({ file: chosen(), overlay: "work" });
      await disk.write(1000, new TextEncoder().encode("mine"));
      await disk.flush();
      const busy = await nameOf(() => openDisk({ file: chosen(), overlay: "work" }));
      await disk.close();
      const again = await openDisk({ file: chosen(), overlay: "work" });
      const written = new TextDecoder().decode(await again.read(1000, 4));
      await again.close();
      const later = new File([chosen()], "disk.img", { lastModified: 1 });
      const changed = await nameOf(() => openDisk({ file: later, overlay: "work" }));

      const blob = chosen().slice(0, 1024);
      const part = await openDisk({ file: blob });
      const ofBlob = [part.size, hex(await part.read(0, 8))];
      await part.close();
      const grown = (await library.usage()).images - used;
      return { size, readOnly, end, digest, refused, busy, written, changed, ofBlob, grown };
    }""",
    )
    assert seen == {
        "size": SIZE,
        "readOnly": True,
        "end": IMAGE.read(SIZE - 1000, 1000).hex(),
        "digest": hashlib.sha256(IMAGE.read(0, SIZE)).hexdigest(),
        "refused": "ReadOnlyError",
        "busy": "ImageBusyError",
        "written": "mine",
        "changed": "BaseChangedError",
        "ofBlob": [1024, IMAGE.read(0, 8).hex()],
        "grown": 0,
    }
    assert image.read_bytes() == IMAGE.read(0, SIZE)


READ = "disk.read(2 ** 21, 512).then(() => '', ({ name, message }) => `${name}: ${message}`)"


def test_a_file_that_changes_while_it_is_open_is_an_error(
    page: Page, site: SiteServer, image: Path
) -> None:
    open_chosen(page, site, image)
    image.write_bytes(bytes(SIZE))
    os.utime(image, (1_700_000_100, 1_700_000_100))
    changed = page.evaluate(READ)
    assert changed.startswith("SourceError: disk.img cannot be read: it was changed, moved")
    page.evaluate("disk.close()")


@BOTH  # Firefox does not notice a change that keeps the size
def test_a_file_that_is_gone_is_an_error(page: Page, site: SiteServer, image: Path) -> None:
    open_chosen(page, site, image)
    image.unlink()
    gone = page.evaluate(READ)
    assert re.match(r"SourceError: disk\.img cannot be read: it was .*moved or removed", gone), gone
    page.evaluate("disk.close()")


def open_chosen(page: Page, site: SiteServer, image: Path) -> None:
    choose(page, site, image)
    page.evaluate(
        PRELUDE
        + """
      globalThis.disk = await openDisk({ file: chosen() });
      await disk.read(0, 512);
    }"""
    )


@needs_qemu
def test_any_format_is_read_in_place(page: Page, site: SiteServer, tmp_path: Path) -> None:
    raw, packed = tmp_path / "disk.img", tmp_path / "disk.qcow2"
    patchy_disk(raw, 4 * MIB)
    qemu_img("convert", "-q", "-c", "-f", "raw", "-O", "qcow2", str(raw), str(packed))
    choose(page, site, packed)
    found = page.evaluate(
        PRELUDE
        + """
      const disk = await openDisk({ file: chosen() });
      const bytes = await disk.read(0, disk.size);
      await disk.close();
      return [disk.size, hex(bytes)];
    }"""
    )
    assert found == [4 * MIB, raw.read_bytes().hex()]


# A handle that needs no dialog: of a private file. The browser stores it like any other.
PICKER = """
globalThis.showOpenFilePicker = async () => {
  const root = await navigator.storage.getDirectory();
  return [await root.getFileHandle("private.img", { create: true })];
};
"""
WRITE = """async (byte) => {
  const [handle] = await showOpenFilePicker();
  const { lastModified } = await handle.getFile();
  do {
    const file = await handle.createWritable();
    await file.write(new Uint8Array(2 ** 20).fill(byte));
    await file.close();
  } while ((await handle.getFile()).lastModified === lastModified);
}"""


def test_the_page_uses_a_file_remembers_it_and_says_when_it_has_changed(
    page: Page, site: SiteServer
) -> None:
    page.add_init_script(PICKER)
    panel = PanelPage(page).visit(site.url)
    page.evaluate(WRITE, 7)
    again = panel.button("Use private.img again")
    expect(again).to_have_count(0)

    panel.button("Use a file where it is").click()
    panel.expect_status("private.img is open: 1 MiB.")
    panel.read_range("4096", "16")
    panel.expect_status("Read 16 bytes of private.img.")
    panel.reload()
    again.click()
    panel.expect_status("private.img is open: 1 MiB.")
    problem = page.locator("#library-error")
    expect(problem).to_be_empty()
    panel.close.click()
    panel.expect_status("Remote images are off.")

    page.evaluate(WRITE, 8)
    again.click()
    expect(problem).to_contain_text("private.img has changed since it was used here")
    panel.expect_status("private.img is open: 1 MiB.")


def test_where_the_browser_has_no_handles_the_page_asks_each_time(
    page: Page, site: SiteServer, image: Path
) -> None:
    page.add_init_script("delete globalThis.showOpenFilePicker")
    panel = PanelPage(page).visit(site.url)
    page.get_by_role("combobox", name="Save changes to").fill("work")
    with page.expect_file_chooser() as chosen:
        panel.button("Use a file where it is").click()
    chosen.value.set_files(image)
    panel.expect_status(re.compile("^disk.img is open: "))
    panel.close.click()
    row = panel.disk("work")
    expect(row).to_contain_text("overlay")
    expect(row.get_by_role("button", name="Open work")).to_have_count(0)
    expect(row.get_by_role("button", name="Reset work")).to_be_visible()
    assert image.read_bytes() == IMAGE.read(0, SIZE)
