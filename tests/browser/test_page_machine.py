"""A machine on the page: nothing of it is lost without asking."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Dialog, Locator, Page, expect

from aero_browser_disk.testing.site_server import SiteServer
from browser.boot_page import BOOT_TIMEOUT_MS, copy_with_emulator
from browser.panel_page import PanelPage
from samples.emulator import can_boot

WOULD_STAY = "() => !dispatchEvent(new Event('beforeunload', { cancelable: true }))"

pytestmark = pytest.mark.skipif(
    not can_boot(), reason="Debian's seabios is not here: scripts/setup fetches it"
)


@pytest.fixture(scope="module")
def boot_site(site_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteServer]:
    folder = tmp_path_factory.mktemp("page-machine") / "site"
    copy_with_emulator(site_folder, folder)
    with SiteServer(folder, isolated=True) as server:
        yield server


def boot_blank_disk(page: Page, site: SiteServer) -> PanelPage:
    """The page with a machine that runs: SeaBIOS, which finds nothing to boot on a blank disk."""
    panel = PanelPage(page).visit(site.url)
    panel.create_disk("blank", "1 MiB")
    panel.button("Open blank").click()
    panel.expect_status("blank is open: 1 MiB.")
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
