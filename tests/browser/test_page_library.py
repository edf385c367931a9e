"""The library and the files of a disk on the page; nothing is lost without asking."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from browser.panel_page import PanelPage
from lib.project import CACHE
from samples.sample_image import make_samples

MIB = 1 << 20

WRITE_AND_KEEP_OPEN = """async (options) => {
  const { openDisk } = await import("./aero-disk.mjs");
  globalThis.disk = await openDisk(options);
  await disk.write(1000, new TextEncoder().encode("written"));
}"""


WRITE_AND_CLOSE = """async ({ image, overlay, offset, byte, length }) => {
  const { openDisk } = await import("./aero-disk.mjs");
  const disk = await openDisk({ image, overlay });
  await disk.write(offset, new Uint8Array(length).fill(byte));
  await disk.close();
}"""

# Turns bytes in the first run of so many equal ones, in whatever file of the library it is.
DAMAGE = """async ({ byte, length }) => {
  const damaged = [];
  const look = async (folder) => {
    for await (const handle of folder.values()) {
      if (handle.kind === "directory") {
        await look(handle);
        continue;
      }
      const content = new Uint8Array(await (await handle.getFile()).arrayBuffer());
      const isRun = (_, at) => content.subarray(at, at + length).every((b) => b === byte);
      const at = content.subarray(0, -length).findIndex(isRun);
      if (at < 0) continue;
      const writing = await handle.createWritable({ keepExistingData: true });
      await writing.write({ type: "write", position: at + 700, data: new Uint8Array([1, 2, 3]) });
      await writing.close();
      damaged.push(handle.name);
    }
  };
  const root = await navigator.storage.getDirectory();
  const ours = await root.getDirectoryHandle("aero-browser-disk");
  await look(await ours.getDirectoryHandle("images"));
  return damaged;
}"""


# Presses Cancel at the first progress of an import: what looks from outside may come too late.
CANCEL_AT_PROGRESS = """() => {
  const shown = document.getElementById("library-progress-text");
  globalThis.progressAtCancel = new Promise((resolve) => {
    new MutationObserver((_, observer) => {
      if (!shown.textContent.includes(" of ")) return;
      observer.disconnect();
      const stays = !dispatchEvent(new Event("beforeunload", { cancelable: true }));
      document.getElementById("library-cancel").click();
      resolve({ text: shown.textContent, stays });
    }).observe(shown, { childList: true, characterData: true, subtree: true });
  });
}"""


# Presses Cancel as soon as it is shown.
CANCEL_AT_ONCE = """() => {
  const shown = document.getElementById("library-progress");
  new MutationObserver((_, observer) => {
    if (shown.hidden) return;
    observer.disconnect();
    document.getElementById("library-cancel").click();
  }).observe(shown, { attributes: true });
}"""


@pytest.fixture(scope="module")
def sample() -> Path:
    """A disk with a FAT partition and files in it."""
    return next(path for path in make_samples(CACHE / "samples") if path.name == "sample.img")


@pytest.fixture
def panel(page: Page, site: SiteServer) -> PanelPage:
    return PanelPage(page).visit(site.url)


def import_file(panel: PanelPage, path: Path) -> None:
    with panel.page.expect_file_chooser() as chosen:
        panel.button("Import a file").click()
    chosen.value.set_files(path)


def test_a_blank_disk_is_made_changed_and_deleted_after_asking(panel: PanelPage) -> None:
    expect(panel.page.get_by_text("None yet.")).to_be_visible()
    panel.create_disk("work", "40 GiB")
    expect(panel.disk("work")).to_contain_text("disk · 40 GiB")

    panel.button("Rename work").click()
    panel.confirm("Rename", name="play")
    panel.button("Resize play").click()
    panel.confirm("Resize", size="much")
    dialog = panel.page.get_by_role("dialog")
    expect(dialog).to_contain_text("a number of bytes")  # and it stays to be put right
    panel.confirm("Resize", size="1 GiB")
    expect(panel.disk("play")).to_contain_text("disk · 1 GiB")

    panel.button("Delete play").click()
    expect(dialog).to_contain_text("everything on it will be permanently lost")
    expect(panel.button("Cancel")).to_be_focused()
    panel.button("Cancel").click()
    expect(panel.disk("play")).to_be_visible()
    panel.button("Delete play").click()
    panel.confirm("Delete")
    expect(panel.disk("play")).to_have_count(0)
    expect(panel.page.get_by_text("None yet.")).to_be_visible()


def test_a_question_that_leads_to_another_is_done_once_both_are_answered(panel: PanelPage) -> None:
    panel.create_disk("work", "4 MiB")
    change = {"image": "work", "offset": 3 * MIB, "byte": 7, "length": 4096}
    panel.page.evaluate(WRITE_AND_CLOSE, change)
    dialog = panel.page.get_by_role("dialog")

    panel.button("Resize work").click()
    panel.confirm("Resize", size="1 MiB")
    expect(dialog).to_contain_text("There is data beyond the new end.")
    panel.button("Cancel").click()
    expect(dialog).to_have_count(0)
    expect(panel.disk("work")).to_contain_text("disk · 4 MiB")

    panel.button("Resize work").click()
    panel.confirm("Resize", size="1 MiB")
    expect(dialog).to_contain_text("There is data beyond the new end.")
    panel.confirm("Cut off")
    expect(panel.disk("work")).to_contain_text("disk · 1 MiB")


def test_a_file_is_imported_browsed_and_saved_again(
    panel: PanelPage, sample: Path, tmp_path: Path
) -> None:
    page = panel.page
    import_file(panel, sample)
    expect(panel.button("Open sample")).to_be_visible()

    panel.button("Open sample").click()
    panel.expect_status("sample is open: 64 MiB.")
    panel.show("Files")
    panel.button("Browse files").click()
    panel.button("Partition 1").click()
    with page.expect_download() as saved:
        panel.button("Download README.TXT").click()
    assert saved.value.suggested_filename == "README.TXT"
    assert b"sample disk of aero-browser-disk" in saved.value.path().read_bytes()
    panel.button("PAYLOAD").click()
    expect(page.get_by_role("navigation", name="Folders")).to_contain_text("PAYLOAD")
    panel.button("Partition 1").click()
    expect(panel.button("Download README.TXT")).to_be_visible()
    panel.close.click()


def test_what_a_file_becomes_is_asked_and_what_is_no_disk_is_said_to_be_none(
    panel: PanelPage, tmp_path: Path
) -> None:
    hybrid = bytearray(64 * 2048)  # a CD with a partition table in front
    hybrid[32769:32774] = b"CD001"
    hybrid[510:512] = b"\x55\xaa"
    hybrid[450], hybrid[458] = 0x17, 0xFF
    (tmp_path / "both.iso").write_bytes(hybrid)
    (tmp_path / "notes.txt").write_text("not a disk\n" * 100)
    dialog = panel.page.get_by_role("dialog", name="Import it as a CD or as a disk?")

    import_file(panel, tmp_path / "both.iso")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    import_file(panel, tmp_path / "notes.txt")
    error = panel.page.locator("#library-error")
    expect(error).to_contain_text("This is a text file. It is not a disk image")
    expect(panel.page.get_by_role("dialog")).to_have_count(0)  # no zeros are offered
    expect(panel.page.get_by_text("None yet.")).to_be_visible()

    import_file(panel, tmp_path / "both.iso")
    dialog.get_by_label("Import as").select_option("Disk, read and write")
    dialog.get_by_role("button", name="Import", exact=True).click()
    expect(panel.disk("both")).to_contain_text("disk · 128 KiB")
    expect(dialog).to_have_count(0)


def test_an_import_can_be_given_up_and_continued(panel: PanelPage, tmp_path: Path) -> None:
    page = panel.page
    path = tmp_path / "large.img"
    content = random.Random(7).randbytes(96 * MIB)
    path.write_bytes(content)
    page.evaluate(CANCEL_AT_PROGRESS)
    import_file(panel, path)
    progress = page.evaluate("progressAtCancel")
    assert re.fullmatch("Importing large.img: .* of 96.0 MiB", progress["text"])
    assert progress["stays"], "the browser asks before it leaves the page"
    expect(panel.disk("large")).to_contain_text("import incomplete")

    with page.expect_file_chooser() as chosen:
        panel.button("Continue large").click()
    chosen.value.set_files(path)
    expect(panel.button("Open large")).to_be_visible()
    panel.button("Open large").click()
    panel.expect_status("large is open: 96 MiB.")
    panel.read_range("32 MiB", "64 MiB")
    panel.expect_digest(hashlib.sha256(content[32 * MIB :]).hexdigest())


def test_files_are_dropped_one_is_written_over_in_an_overlay_committed_and_exported(
    panel: PanelPage,
) -> None:
    page = panel.page
    page.evaluate("() => delete globalThis.showSaveFilePicker")  # as where there is none
    dropped = page.evaluate_handle(
        """() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(2 ** 20).fill(5)], "dropped.img"));
          transfer.items.add(new File([new Uint8Array(2 ** 20).fill(6)], "another.img"));
          return transfer;
        }"""
    )
    page.locator("#library[data-drop]").wait_for()  # it takes files, also before Python is up
    page.dispatch_event("h1", "drop", {"dataTransfer": dropped})  # anywhere on the page
    expect(panel.disk("dropped")).to_contain_text("disk · 1 MiB")
    expect(panel.disk("another")).to_contain_text("disk · 1 MiB")  # each waits for the one before
    page.evaluate(WRITE_AND_KEEP_OPEN, {"image": "dropped", "overlay": "tries"})

    def exported(name: str, label: str) -> bytes:
        panel.button(f"Export {name}").click()
        with page.expect_download() as saved:
            panel.confirm("Export")
        assert saved.value.suggested_filename == label
        return saved.value.path().read_bytes()

    before, after = bytes([5]) * MIB, bytes([5]) * 1000 + b"written" + bytes([5]) * (MIB - 1007)
    assert exported("dropped", "dropped.img") == before, "the base of an open overlay"
    assert exported("tries", "dropped-tries.img") == after, "of which this is open"
    page.evaluate("() => globalThis.disk.close()")

    panel.button("Commit tries").click()
    expect(page.get_by_role("dialog")).to_contain_text("permanently written to dropped")
    panel.confirm("Commit")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert exported("dropped", "dropped.img") == after


def test_a_commit_that_is_cancelled_says_so_and_is_done_again(panel: PanelPage) -> None:
    page = panel.page
    panel.create_disk("base", "64 MiB")
    change = {"image": "base", "overlay": "tries", "offset": MIB, "byte": 7, "length": 32 * MIB}
    page.evaluate(WRITE_AND_CLOSE, change)
    page.evaluate(CANCEL_AT_ONCE)

    panel.button("Commit tries").click()
    panel.confirm("Commit")
    error = page.locator("#library-error")
    expect(error).to_contain_text("tries is not committed")
    expect(error).to_contain_text("commit it again before you use that disk by itself")
    expect(page.locator("#library-progress")).to_be_hidden()

    panel.button("Commit tries").click()
    panel.confirm("Commit")
    expect(error).to_be_empty()
    expect(page.locator('#library-list [data-kind="overlay"]')).not_to_contain_text("32 MiB")
    panel.button("Open base").click()
    panel.expect_status("base is open: 64 MiB.")
    panel.read_range("0", "64 MiB")
    content = bytes(MIB) + b"\7" * (32 * MIB) + bytes(31 * MIB)
    panel.expect_digest(hashlib.sha256(content).hexdigest())


def test_a_long_note_hides_no_column_of_the_files(panel: PanelPage, tmp_path: Path) -> None:
    disk = bytearray(2 * MIB)  # a partition in which there is nothing that can be read
    disk[446:462] = bytes((0, 0, 0, 0, 0x83, 0, 0, 0)) + bytes((0, 8, 0, 0, 0, 8, 0, 0))
    disk[510:512] = b"\x55\xaa"
    (tmp_path / "other.img").write_bytes(disk)
    import_file(panel, tmp_path / "other.img")
    panel.button("Open other").click()
    panel.show("Files")
    panel.button("Browse files").click()
    table = panel.page.get_by_role("table")
    expect(table.get_by_role("row")).to_have_count(2)
    expect(table).to_contain_text("The files of this volume cannot be shown")
    for width in (320, 739, 1280):
        panel.page.set_viewport_size({"width": width, "height": 800})
        box = panel.page.locator("#file-table")
        assert box.evaluate("box => box.scrollWidth - box.clientWidth") == 0, width
        expect(table.get_by_role("columnheader", name="Changed")).to_be_in_viewport()


def test_an_overlay_is_made_listed_and_reset_after_asking(panel: PanelPage) -> None:
    panel.create_disk("base", "64 MiB")
    panel.button("New overlay base").click()
    panel.confirm("Create and open", name="tries")
    panel.expect_status("base is open: 64 MiB.")
    expect(panel.row("Access")).to_have_text("read and write")
    panel.close.click()

    panel.button("Reset tries").click()
    dialog = panel.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Everything written to it will be permanently lost")
    panel.confirm("Reset")
    panel.button("Delete base").click()
    expect(dialog).to_contain_text("These overlays will be lost too: tries.")
    panel.confirm("Delete")
    expect(panel.disk("tries")).to_have_count(0)


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_a_damaged_disk_says_what_is_lost_and_its_rest_is_recovered(panel: PanelPage) -> None:
    page = panel.page
    panel.create_disk("work", "4 MiB")
    for offset, byte in ((1 * MIB, 0x81), (2 * MIB, 0x82)):
        change = {"image": "work", "offset": offset, "byte": byte, "length": 4096}
        page.evaluate(WRITE_AND_CLOSE, change)
    assert page.evaluate(DAMAGE, {"byte": 0x82, "length": 4096}) == ["sectors"]

    panel.button("Open work").click()
    panel.expect_status("work is open: 4 MiB.")
    panel.read_range("1 MiB", "4096")
    panel.expect_digest(hashlib.sha256(b"\x81" * 4096).hexdigest())
    panel.read_range("2 MiB", "4096")
    affected = "'work' is damaged (bytes 2,097,152 to 2,101,248)"
    told = ("Nothing was changed or deleted", "press “Recover” next to it in the list")
    panel.expect_error("The disk is damaged", affected, *told)
    panel.close.click()

    expect(panel.disk("work")).to_contain_text("damaged")
    panel.button("Recover work").click()
    expect(page.get_by_role("dialog")).to_contain_text("work is not changed")
    panel.confirm("Recover")
    lost = page.locator("#library-error")
    expect(lost).to_contain_text("Not all could be saved")
    expect(lost).to_contain_text(
        "4096 bytes could not be read, and are zeros now. Damaged ranges: 1."
    )
    panel.button("Open work (recovered)").click()
    panel.expect_status("work (recovered) is open: 4 MiB.")
    panel.read_range("1 MiB", "4096")
    panel.expect_digest(hashlib.sha256(b"\x81" * 4096).hexdigest())
    panel.read_range("2 MiB", "4096")
    panel.expect_digest(hashlib.sha256(bytes(4096)).hexdigest())
    panel.close.click()
    expect(panel.disk("work")).to_contain_text("damaged")


@pytest.fixture
def images(sample: Path) -> Iterator[ImageServer]:
    with ImageServer({"sample.img": sample.read_bytes()}) as server:
        yield server


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_files_of_a_remote_image_are_found_with_few_bytes_and_named_on_the_map(
    panel: PanelPage, images: ImageServer
) -> None:
    panel.turn_on().open_image(images.url("sample.img"))
    panel.show("Files")
    panel.button("Browse files").click()
    panel.button("Partition 1").click()
    expect(panel.button("Download README.TXT")).to_be_visible()

    assert sum(request.bytes_sent for request in images.requests) < 2 * MIB
    panel.map.focus()
    panel.map.press("+")
    panel.map.press("+")
    panel.map.press("Home")
    expect(panel.map).to_have_attribute("aria-valuetext", re.compile("(partition 1|/1/)"))


def test_a_remote_image_is_opened_with_an_overlay_and_its_cache_is_listed(
    panel: PanelPage, images: ImageServer
) -> None:
    panel.turn_on()
    panel.page.get_by_label("Save changes to").fill("work")
    panel.open_image(images.url("sample.img"))
    expect(panel.row("Access")).to_have_text("read and write")
    panel.close.click()

    cached = panel.page.locator('#library-list [data-kind="cache"]')
    expect(cached.first).to_contain_text("sample.img")
    panel.button("Use the address work").click()
    expect(panel.page.get_by_label("Save changes to")).to_have_value("work")
    expect(panel.url).to_have_value(images.url("sample.img"))


def test_what_was_written_over_a_remote_image_is_saved_and_loaded_again(
    panel: PanelPage, images: ImageServer
) -> None:
    page, url = panel.page, images.url("sample.img")
    page.evaluate("() => delete globalThis.showSaveFilePicker")  # as where there is none
    work = {"url": url, "allowRemote": True, "overlay": "work"}
    page.evaluate(WRITE_AND_KEEP_OPEN, work)
    page.evaluate("() => globalThis.disk.close()")
    panel.button("Export overlay work").wait_for()
    with page.expect_download() as saved:
        panel.button("Export overlay work").click()
    assert saved.value.suggested_filename == "work.overlay"
    panel.button("Delete work").click()
    panel.confirm("Delete")
    expect(panel.button("Export overlay work")).to_have_count(0)

    with page.expect_file_chooser() as chosen:
        panel.button(f"Import overlay {url}").click()
    content = saved.value.path().read_bytes()
    chosen.value.set_files({"name": "work.overlay", "mimeType": "", "buffer": content})
    panel.button("Export overlay work").wait_for()
    read = """async (options) => {
      const { openDisk } = await import("./aero-disk.mjs");
      const disk = await openDisk(options);
      const bytes = new TextDecoder().decode(await disk.read(1000, 7));
      await disk.close();
      return bytes;
    }"""
    assert page.evaluate(read, work) == "written"
