"""Addresses mean in a browser what they mean in CPython: the table of tests/unit, read by `URL`."""

from __future__ import annotations

from pytest_pyodide import run_in_pyodide

from support.addresses import ADDRESSES, LOCATIONS


@run_in_pyodide
async def read(selenium_worker, addresses, locations):
    from aero_browser_disk.platform.redaction import redact_url
    from aero_browser_disk.platform.web_url import parse_location, parse_web_url

    def plain(url):
        return None if url is None else url.plain

    base = "http://host/folder/disk.img"
    return (
        [plain(parse_web_url(text)) for text in addresses],
        [plain(parse_location(value, base)) for value in locations],
        redact_url("HTTPS://me:p@Höst:443/ä b?secret"),
    )


def test_addresses_are_read_as_in_cpython(selenium_worker):
    found, targets, shown = read(
        selenium_worker, [text for text, _ in ADDRESSES], [value for value, _ in LOCATIONS]
    )
    assert found == [asked for _, asked in ADDRESSES]
    assert targets == [target for _, target in LOCATIONS]
    assert shown == "https://…@xn--hst-sna/%C3%A4%20b?…"
