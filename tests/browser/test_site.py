"""The built site works as it lies there: in any folder, by itself."""

from __future__ import annotations

import shutil

from playwright.sync_api import expect

from aero_browser_disk.testing.site_server import SiteServer


def test_works_in_a_sub_folder_and_fetches_nothing_from_outside_it(page, site_folder, tmp_path):
    shutil.copytree(site_folder, tmp_path / "some" / "where")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    with SiteServer(tmp_path) as server:
        address = f"{server.url}some/where/"
        page.goto(address)
        expect(page.get_by_label("Use remote image")).to_be_enabled(timeout=60_000)
        assert f"{address}pyodide/pyodide.asm.wasm" in asked  # what workers ask for is seen too
        outside = [url for url in asked if not url.startswith((address, "data:"))]
        assert outside == []
        assert page.evaluate("crossOriginIsolated")
        page.close()
