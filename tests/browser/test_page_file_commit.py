"""The page writes an overlay's changes into the user's file that it lies over."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from aero_browser_disk.testing.site_server import SiteServer
from browser.panel_page import PanelPage
from browser.test_local_files import PICKER, WRITE

COMMIT = "Write changes into the file…"
# What a guest writes, through the disk that the page opens afterwards.
CHANGE = """async () => {
  const { openDisk } = await import("./aero-disk.mjs");
  const [file] = await showOpenFilePicker();
  const disk = await openDisk({ file, overlay: "work" });
  await disk.write(512, new TextEncoder().encode("changed"));
  await disk.close();
}"""
CONTENT = """async () => {
  const [handle] = await showOpenFilePicker();
  return (await handle.getFile()).slice(510, 521).text();
}"""
# The copy is written when the test says so; all else is real.
HOLD = """() => {
  const { prototype } = FileSystemWritableFileStream;
  const { write } = prototype;
  globalThis.held = new Promise((isHeld) => {
    prototype.write = async function (...values) {
      prototype.write = write;
      await new Promise((resolve) => {
        globalThis.goOn = resolve;
        isHeld();
      });
      return write.apply(this, values);
    };
  });
}"""


def test_the_changes_go_into_the_file_or_it_stays_as_it_was(page: Page, site: SiteServer) -> None:
    page.add_init_script(PICKER)
    panel = PanelPage(page).visit(site.url)
    page.evaluate(WRITE, ord("-"))
    page.evaluate(CHANGE)
    commit = panel.button(COMMIT)
    expect(commit).to_have_count(0)
    panel.button("Use a file where it is").click()
    panel.expect_status("private.img is open: 1 MiB.")
    expect(commit).to_have_count(0)  # it is read-only
    panel.close.click()
    panel.expect_status("Remote images are off.")
    page.get_by_role("combobox", name="Save changes to").fill("work")
    panel.button("Use private.img again").click()
    panel.expect_status("private.img is open: 1 MiB.")

    # Cancelled.
    page.evaluate(HOLD)
    commit.click()
    panel.confirm("Write")
    page.evaluate("held")
    expect(page.locator("#library-progress-text")).to_contain_text("Writing into private.img")
    page.locator("#library-cancel").click()
    page.evaluate("goOn()")
    expect(page.locator("#library-progress")).to_be_hidden()
    expect(commit).to_be_enabled()
    assert page.evaluate(CONTENT) == "-----------"

    commit.click()
    panel.confirm("Write")
    done = page.get_by_role("dialog", name="The changes are in private.img")
    done.get_by_role("button", name="OK").click()
    assert page.evaluate(CONTENT) == "--changed--"
    panel.expect_status("private.img is open: 1 MiB.")
    expect(panel.disk("work")).to_contain_text("overlay")

    # Somebody else writes the file.
    page.evaluate(WRITE, ord("+"))
    commit.click()
    panel.confirm("Write")
    problem = page.locator("#library-error")
    expect(problem).to_contain_text("it was changed since it was opened. Open it again")
    assert page.evaluate(CONTENT) == "+++++++++++"
    panel.close.click()
    expect(commit).to_have_count(0)
    page.close()
