"""A machine on the page: nothing of it is lost without asking, and a saved one is in sight."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.sync_api import Dialog, Locator, Page, expect

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from browser.boot_page import BOOT_TIMEOUT_MS
from browser.panel_page import PanelPage
from samples.emulator import can_boot

SAVED = """async () => {
  let folder = await navigator.storage.getDirectory();
  for (const name of ["aero-browser-disk", "states"]) {
    folder = await folder.getDirectoryHandle(name);
  }
  const names = [];
  for await (const name of folder.keys()) names.push(name);
  return names;
}"""
"""The files of saved machines."""
ECHO = bytes.fromhex("b400 cd16 b40e cd10 ebf6")
"""Prints each key: INT 16h, then INT 10h."""
BEEP = bytes.fromhex("b0b6 e643 b8a904 e642 88e0 e642 e461 0c03 e661 f4 ebfd")
"""A tone of 1 kHz from the speaker: timer 2 in mode 3, port 61h."""
SAMPLES = bytes.fromhex("ba2c02 b010 ee 88d8 ee 80c310 ebf5")
"""A saw tooth as single samples to the Sound Blaster: command 10h at port 22Ch."""
TAP_SOUND = """() => {
  const { connect } = AudioNode.prototype;
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target === this.context.destination) {
      globalThis.tap = new AnalyserNode(this.context);
      connect.call(this, tap);
    }
    return connect.call(this, target, ...rest);
  };
}"""
IS_LOUD = """(is) => {
  if (!globalThis.tap) return false;
  const samples = new Float32Array(tap.fftSize);
  tap.getFloatTimeDomainData(samples);
  return samples.some((sample) => Math.abs(sample) > 0.01) === is;
}"""
PICTURE = """(selector) => {
  const { complete, naturalWidth } = document.querySelector(selector);
  return [complete, naturalWidth > 0];
}"""
WOULD_STAY = "() => !dispatchEvent(new Event('beforeunload', { cancelable: true }))"

pytestmark = pytest.mark.skipif(
    not can_boot(), reason="Debian's seabios is not here: scripts/setup fetches it"
)


def bootable(code: bytes) -> bytes:
    """A disk with a boot sector."""
    return (code.ljust(510, b"\0") + b"\x55\xaa").ljust(2**20, b"\0")


def boot_blank_disk(page: Page, site: SiteServer, name: str = "blank") -> PanelPage:
    """The page with a machine that runs: SeaBIOS, which finds nothing to boot on a blank disk."""
    panel = PanelPage(page).visit(site.url)
    panel.create_disk(name, "1 MiB")
    panel.button(f"Open {name}").click()
    panel.expect_status(f"{name} is open: 1 MiB.")
    panel.button("Boot this disk").click()
    expect_state(panel, "running")
    return panel


def expect_state(panel: PanelPage, state: str) -> None:
    machine = panel.page.locator("#machine .boot")
    expect(machine).to_have_attribute("data-state", state, timeout=BOOT_TIMEOUT_MS)


def control(panel: PanelPage, name: str) -> Locator:
    """A button of the machine."""
    bar = panel.page.get_by_role("group", name="Machine")
    return bar.get_by_role("button", name=name, exact=True)


def test_a_running_machine_is_not_lost_unasked(page: Page, boot_site: SiteServer) -> None:
    left: list[str] = []

    def stay(dialog: Dialog) -> None:
        left.append(dialog.type)
        dialog.dismiss()

    panel = boot_blank_disk(page, boot_site)
    question = page.get_by_role("dialog")

    page.on("dialog", stay)
    page.close(run_before_unload=True)  # as the user closes the tab
    control(panel, "Switch off").click()
    expect(question).to_contain_text("What is open in it will be lost")
    expect(question).to_contain_text("What it has written to its disk stays.")
    assert left == ["beforeunload"]
    question.get_by_role("button", name="Cancel").click()
    expect(question).to_have_count(0)
    expect_state(panel, "running")

    panel.close.click()
    expect(question).to_contain_text("Close blank?")
    question.get_by_role("button", name="Cancel").click()
    expect(question).to_have_count(0)
    panel.expect_status("blank is open: 1 MiB.")

    control(panel, "Save and pause").click()
    expect(page.locator(".boot-status")).to_contain_text("saved")
    assert not page.evaluate(WOULD_STAY)
    control(panel, "Switch off").click()  # nothing is lost
    expect_state(panel, "off")
    control(panel, "Boot").click()
    expect(question).to_contain_text("A machine is saved for this disk.")
    question.get_by_role("button", name="Boot", exact=True).click()
    expect_state(panel, "running")
    assert page.evaluate(WOULD_STAY)

    panel.close.click()
    question.get_by_role("button", name="Switch off and close").click()
    panel.expect_status("Remote images are off.")
    expect(page.locator("#machine .boot")).to_have_count(0)
    assert not page.evaluate(WOULD_STAY)


def test_a_saved_machine_is_in_the_library_and_resumed_from_there(
    page: Page, boot_site: SiteServer
) -> None:
    panel = boot_blank_disk(page, boot_site, "kept")
    control(panel, "Save and pause").click()
    expect(page.locator(".boot-status")).to_contain_text("saved")

    panel.reload()
    row = panel.disk("kept")
    expect(row).to_contain_text("Machine saved")
    expect(row.locator("img")).to_be_visible()
    assert page.evaluate(PICTURE, "#library-list img") == [True, True]
    row.get_by_role("button", name="Resume the machine of kept").click()
    expect_state(panel, "running")  # without it a saved machine waits for a choice

    panel.create_disk("other", "1 MiB")
    panel.button("Open other").click()  # in place of the one that is open
    panel.confirm("Switch off and close")
    panel.expect_status("other is open: 1 MiB.")
    panel.button("Open kept").click()
    panel.expect_status("kept is open: 1 MiB.")
    machine = page.get_by_role("tabpanel", name="Machine")
    expect(machine).to_contain_text("A machine of this disk was saved")
    expect(machine.locator("img")).to_be_visible()
    machine.get_by_role("button", name="Boot this disk").click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("A machine is saved for this disk.")
    question.get_by_role("button", name="Cancel").click()
    machine.get_by_role("button", name="Resume", exact=True).click()
    expect_state(panel, "running")

    panel.close.click()
    panel.confirm("Switch off and close")
    panel.button("Delete kept").click()
    panel.confirm("Delete")
    expect(panel.disk("kept")).to_have_count(0)
    page.wait_for_function(f"async () => (await ({SAVED})()).length === 0")


def test_a_shared_link_opens_with_one_press_and_resumes(page: Page, boot_site: SiteServer) -> None:
    with ImageServer({"blank.img": bytes(2**20)}) as images:
        url = images.url("blank.img")
        link = f"{boot_site.url}?image={quote(url, safe='')}&overlay=work&boot"
        panel = PanelPage(page).visit(link)
        invitation = page.locator("#invite")
        expect(invitation).to_contain_text("Opening it turns on “Use remote image”")
        expect(panel.remote).not_to_be_checked()
        assert images.requests == []

        invitation.get_by_role("button", name="Open and boot").click()
        expect_state(panel, "running")
        expect(panel.remote).to_be_checked()
        panel.button("Share").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("textbox", name="Link")).to_have_value(link)
        dialog.get_by_role("button", name="Cancel").click()
        control(panel, "Save and pause").click()
        expect(page.locator(".boot-status")).to_contain_text("saved")

        panel.visit(link)
        overlay = page.locator('#library-list [data-kind="overlay"]')
        expect(overlay).to_contain_text("Machine saved")
        invitation.get_by_role("button", name="Open and boot").click()
        expect_state(panel, "running")
        panel.close.click()
        panel.confirm("Switch off and close")
        expect(panel.open).to_be_visible()
        expect(invitation).to_be_hidden()  # it was followed

        panel.open_image(f"{url}?token=SECRET")
        panel.button("Share").click()
        expect(dialog).to_contain_text("No link to blank.img")
        expect(dialog.get_by_role("textbox")).to_have_count(0)
        expect(dialog.get_by_role("button")).to_have_text(["OK"])
        dialog.get_by_role("button", name="OK").click()
        expect(dialog).to_have_count(0)
        page.close()  # before the server, which it may go on asking


def test_a_saved_machine_of_an_image_whose_cache_was_deleted_stays_in_sight(
    page: Page, boot_site: SiteServer
) -> None:
    with ImageServer({"blank.img": bytes(2**20)}) as images:
        url = images.url("blank.img")
        panel = PanelPage(page).visit(f"{boot_site.url}?image={quote(url, safe='')}&boot")
        invitation = page.locator("#invite")
        invitation.get_by_role("button", name="Open and boot").click()
        expect_state(panel, "running")
        control(panel, "Save and pause").click()
        expect(page.locator(".boot-status")).to_contain_text("saved")
        panel.close.click()
        cache = page.locator('#library-list [data-kind="cache"]').filter(has_text=url)
        cache.get_by_role("button", name=f"Delete {url}").click()
        panel.confirm("Delete")
        expect(cache).to_have_count(0)

        row = page.locator('#library-list [data-kind="machine"]').filter(has_text=url)
        expect(row).to_contain_text(url)
        expect(row).to_contain_text("the image is opened again first")
        row.get_by_role("button", name=f"Resume the machine of {url}").click()
        invitation.get_by_role("button", name="Open and boot").click()
        expect_state(panel, "running")
        expect(row).to_have_count(0)  # it is with its disk again

        control(panel, "Save and pause").click()
        expect(page.locator(".boot-status")).to_contain_text("saved")
        panel.close.click()
        cache.get_by_role("button", name=f"Delete {url}").click()
        panel.confirm("Delete")
        row.get_by_role("button", name=f"Delete the machine of {url}").click()
        panel.confirm("Delete")
        expect(row).to_have_count(0)
        page.close()  # before the server, which it may go on asking


def test_an_image_that_is_a_cd_and_a_disk_is_booted_from_the_drive_that_the_user_chooses(
    page: Page, boot_site: SiteServer
) -> None:
    hybrid = bytearray(bootable(b"\xeb\xfe"))  # jumps to itself
    hybrid[16 * 2048 : 16 * 2048 + 7] = b"\x01CD001\x01"
    hybrid[17 * 2048 : 17 * 2048 + 30] = b"\x00CD001\x01EL TORITO SPECIFICATION"
    panel = PanelPage(page).visit(boot_site.url).turn_on()
    question = page.get_by_role("dialog", name="Boot it as a CD or as a disk?")
    with ImageServer({"both.iso": bytes(hybrid)}) as images:
        panel.open_image(images.url("both.iso"))
        panel.button("Boot this disk").click()
        question.get_by_role("button", name="Cancel").click()
        expect(question).to_have_count(0)
        expect(page.locator("#machine .boot")).to_have_count(0)

        panel.button("Boot this disk").click()
        question.get_by_role("combobox", name="Boot as").select_option("CD")
        question.get_by_role("button", name="Boot", exact=True).click()
        expect_state(panel, "running")
        expect(page.locator("#machine")).to_contain_text("Booting from DVD/CD")
        control(panel, "Save and pause").click()
        expect(page.locator(".boot-status")).to_contain_text("saved")
        panel.close.click()
        panel.open_image(images.url("both.iso"))
        panel.button("Resume").click()  # it belongs in the same drive: nothing is asked
        expect_state(panel, "running")
        expect(page.locator("#machine")).to_contain_text("Booting from DVD/CD")
        page.close()


def test_text_and_pictures_go_in_and_out_of_the_machine(page: Page, boot_site: SiteServer) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=boot_site.url)
    with ImageServer({"echo.img": bootable(ECHO)}) as images:
        panel = PanelPage(page).visit(boot_site.url)
        panel.turn_on()
        panel.open_image(images.url("echo.img"))
        panel.button("Boot this disk").click()
        screen = page.locator(".boot-screen")
        expect(screen).to_contain_text("Booting from Hard Disk", timeout=BOOT_TIMEOUT_MS)

        page.evaluate("navigator.clipboard.writeText('dir C:\\\\Games | more')")
        panel.button("Paste text as keys").click()
        expect(screen).to_contain_text("dir C:\\Games | more")
        page.get_by_role("textbox", name="Type to the machine").focus()
        page.keyboard.insert_text(" typed")  # as a phone's keyboard, without keys
        expect(screen).to_contain_text("more typed")
        panel.button("Copy the text on the screen").click()
        page.wait_for_function(
            "async () => (await navigator.clipboard.readText()).includes('dir C:\\\\Games | more')"
        )
        with page.expect_download() as taken:
            panel.button("Save a picture of the screen").click()
        assert taken.value.suggested_filename == "screen.png"
        picture = taken.value.path().read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert (int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])) == (720, 400)

        panel.close.click()
        panel.confirm("Switch off and close")
        expect(page.locator("#machine-tools")).to_be_hidden()
        page.close()  # before the server, which it may go on asking


@pytest.mark.parametrize("code", [BEEP, SAMPLES], ids=["speaker", "sound card"])
def test_a_machine_is_heard_until_it_is_muted(
    page: Page, boot_site: SiteServer, code: bytes
) -> None:
    page.add_init_script(f"({TAP_SOUND})()")
    with ImageServer({"loud.img": bootable(code)}) as images:
        panel = PanelPage(page).visit(boot_site.url)
        panel.turn_on()
        panel.open_image(images.url("loud.img"))
        panel.button("Boot this disk").click()
        page.wait_for_function(IS_LOUD, arg=True, timeout=BOOT_TIMEOUT_MS)

        mute = control(panel, "Mute")
        mute.click()
        expect(mute).to_have_attribute("aria-pressed", "true")
        page.wait_for_function(IS_LOUD, arg=False)
        mute.click()
        page.wait_for_function(IS_LOUD, arg=True)
        page.evaluate("() => tap.context.suspend()")  # as a browser that waits for a press
        page.keyboard.press("Shift")
        page.wait_for_function("() => tap.context.state === 'running'")

        control(panel, "Capture the mouse").click()
        page.wait_for_function("() => document.pointerLockElement?.className === 'boot-screen'")
        page.evaluate("document.exitPointerLock()")
        control(panel, "Pause").click()
        expect_state(panel, "paused")
        page.close()  # before the server, which it may go on asking
