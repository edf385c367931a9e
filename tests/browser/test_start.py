"""The page before Python is there, and when it does not come."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, Route, expect

from aero_browser_disk.testing.site_server import SiteServer
from browser.accessibility import violations
from browser.panel_page import START_TIMEOUT_MS, PanelPage


def test_while_python_starts_the_panel_can_be_read_and_an_address_typed(
    page: Page, site: SiteServer
) -> None:
    paused: list[Route] = []
    page.context.route("**/pyodide.asm.wasm", lambda route: paused.append(route))  # noqa: PLW0108
    with page.context.expect_event("request", lambda request: "asm.wasm" in request.url):
        page.goto(site.url)
    panel = PanelPage(page)
    panel.expect_status("Starting Python in this browser…")
    expect(
        page.get_by_text("Its server sees your IP address, what you read, and when.")
    ).to_be_visible()
    expect(panel.remote).to_be_disabled()
    expect(panel.open).to_be_disabled()
    for button in (panel.close, panel.clear, panel.read):
        expect(button).to_be_hidden()  # nothing is open that it could be for
    panel.url.fill("https://images.example/typed-early.img")

    expect(page.locator("#working")).to_have_attribute("data-on", "true")
    paused[0].continue_()

    panel.started()
    expect(panel.url).to_have_value("https://images.example/typed-early.img")
    panel.turn_on()
    panel.expect_status("Ready to open.")


def test_a_first_visit_shows_how_much_of_python_is_there(
    fresh_context: BrowserContext, site: SiteServer
) -> None:
    held: list[Route] = []
    fresh_context.route("**/quick-start/*", lambda route: held.append(route))  # noqa: PLW0108
    page = fresh_context.new_page()
    with fresh_context.expect_event("request", lambda request: "quick-start" in request.url):
        page.goto(site.url)
    header = page.get_by_role("banner")
    bar = header.get_by_role("progressbar", name="Downloading Python: 9.2 MiB of 13")
    expect(bar).to_be_visible()  # all of the WebAssembly, and nothing yet of the snapshot
    assert violations(page) == []
    top = "() => document.querySelector('#panel').getBoundingClientRect().top"
    before = page.evaluate(top)
    held[0].continue_()

    PanelPage(page).started()
    expect(header.locator("#start")).to_be_hidden()
    assert page.evaluate(top) == before


def test_files_that_are_missing_are_said(fresh_context: BrowserContext, site: SiteServer) -> None:
    for files in ("**/quick-start/*", "**/wheels/*.whl"):
        fresh_context.route(files, lambda route: route.fulfill(status=404))
    page = fresh_context.new_page()
    page.goto(site.url)
    panel = PanelPage(page)

    expect(panel.status).to_have_text("Python did not start", timeout=START_TIMEOUT_MS)
    panel.expect_error("Python did not start", "Reload the page")
    expect(panel.remote).to_be_disabled()
    expect(panel.open).to_be_disabled()


BROKEN_WORKER = """
export const connect = () => ({
  async call(operation) {
    if (operation === "panel.open") throw new Error("<b>a defect</b>");
    const view = await (await fetch("panel-first-view.json")).json();
    return { ...view, busy: true, open: { disabled: false } };
  },
});
"""


def test_a_defect_is_shown_as_text_and_stays(page: Page, site_folder: Path, tmp_path: Path) -> None:
    for path in site_folder.iterdir():
        if path.name != "aero-disk.mjs":
            (tmp_path / path.name).symlink_to(path, target_is_directory=path.is_dir())
    (tmp_path / "aero-disk.mjs").write_text(BROKEN_WORKER, encoding="utf-8")
    with SiteServer(tmp_path) as site:
        panel = PanelPage(page).visit(site.url)
        panel.open.click()
        panel.expect_error("Unexpected error", "<b>a defect</b>")

        with page.expect_response("**/panel-first-view.json"):
            pass  # the panel is looked at again, and the view knows of no error
        panel.expect_error("Unexpected error", "<b>a defect</b>")
        page.close()  # before the server, which it goes on asking


def test_the_site_works_in_a_sub_folder_and_fetches_nothing_from_outside_it(
    page: Page, site_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "folder").symlink_to(site_folder, target_is_directory=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with SiteServer(tmp_path) as site:
        address = f"{site.url}some/folder/"
        panel = PanelPage(page).visit(address)
        panel.expect_status("Remote images are off.")
        assert f"{address}pyodide/pyodide.asm.wasm" in asked  # what workers ask for is seen too
        assert [url for url in asked if not url.startswith((address, "data:"))] == []
        assert page.evaluate("crossOriginIsolated")
        page.close()


def test_the_page_is_isolated_and_its_policy_holds(page: Page, site: SiteServer, console) -> None:
    console.allow("Content Security Policy")
    PanelPage(page).visit(site.url)

    assert page.evaluate("() => crossOriginIsolated")
    blocked = page.evaluate(
        """() => new Promise((resolve) => {
          addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
          const script = document.createElement("script");
          script.textContent = "globalThis.inline = true";
          document.body.append(script);
        })"""
    )
    assert re.fullmatch("script-src(-elem)?", blocked)
    assert page.evaluate("() => globalThis.inline") is None
