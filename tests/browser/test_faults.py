"""Each fault of an address, a server or an image as the user sees it: what it was, what to do."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, expect

from aero_browser_disk.formats.recognition import HEAD_LENGTH
from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from browser.panel_page import PanelPage
from lib import browsers

DISK = SyntheticImage(64 * 2**20, seed=3)
# What a browser itself says of a request that fails: the one thing that the console may hold.
NETWORK_LINE = re.compile(r"Failed to load resource|blocked by CORS policy|net::ERR_")

REFUSED = "The server refused"
NO_PARTS = "The server does not support range requests"
WRONG = "The server sent something else"
OUTSIDE = ("Outside the disk", f"which has {DISK.size} bytes")
UNREADABLE = "Invalid number"


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def started(chromium: Browser, site: SiteServer, complaints: list[str]) -> Iterator[PanelPage]:
    """One page for the whole module: a fault must leave it as good as new."""
    context = chromium.new_context(service_workers="block")
    browsers.watch_console(context, complaints)
    yield PanelPage(context.new_page()).visit(site.url).turn_on()
    context.close()


@pytest.fixture
def panel(started: PanelPage, complaints: list[str]) -> Iterator[PanelPage]:
    """That page, with nothing open; nothing but the browser's own words may be on its console."""
    if started.close.is_enabled():
        started.close.click()
    expect(started.close).to_be_disabled()
    # Without the error of the test before, which the next may expect too.
    started.url.fill("")
    started.expect_status("Enter the address of an image.")
    expect(started.error).to_be_empty()
    complaints.clear()
    yield started
    assert [text for text in complaints if not NETWORK_LINE.search(text)] == []


@pytest.fixture
def images() -> Iterator[ImageServer]:
    with ImageServer({"disk.img": DISK}) as server:
        yield server


def read_is_exact(panel: PanelPage, offset: int, length: int) -> None:
    panel.read_range(str(offset), str(length))
    panel.expect_digest(hashlib.sha256(DISK.read(offset, length)).hexdigest())


# ── it does not open ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("ftp://images.example/disk.img", "must start with https:// or http://"),
        ("disk.img", "must start with https:// or http://"),
        ("file:///disk.img", "must start with https:// or http://"),
        ("javascript:alert(1)", "must start with https:// or http://"),
        ("https://", "not a well-formed URL"),
        ("http://[::1/disk.img", "not a well-formed URL"),
        ("http://host:port/disk.img", "not a well-formed URL"),
    ],
)
def test_an_address_that_is_none(panel: PanelPage, url: str, advice: str) -> None:
    panel.start_opening(url)

    panel.expect_error("Not the address of an image", advice)
    panel.expect_status("The image was not opened.")
    expect(panel.url).to_have_attribute("aria-invalid", "true")
    expect(panel.url).to_have_accessible_description(re.compile(advice))


def test_a_server_that_does_not_respond(panel: PanelPage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    panel.start_opening(f"http://127.0.0.1:{port}/disk.img")

    panel.expect_error("No response", f"127.0.0.1:{port}", "Check the address and the connection")


@pytest.mark.parametrize(
    ("behaviour", "title", "advice"),
    [
        (Behaviour(status=401), REFUSED, "Sign in"),
        (Behaviour(status=403), REFUSED, "ask its owner"),
        (Behaviour(status=404), REFUSED, "check the spelling"),
        (Behaviour(status=500), REFUSED, "try again later"),
        (Behaviour(reset=True), "No response", "Check the address and the connection"),
        (Behaviour(cors="none"), "No response", "Access-Control-Allow-Origin"),
        (Behaviour(ignore_range=True), NO_PARTS, "206 Partial Content"),
        (Behaviour(ignore_range=True, head_status=405), NO_PARTS, "206 Partial Content"),
        (Behaviour(cors="hidden"), "The server hides a response header", "Expose-Headers"),
        (Behaviour(content_range="missing"), "The server hides a response header", "Content-Range"),
        (Behaviour(content_range="shifted"), WRONG, "Content-Range"),
        (Behaviour(content_range="malformed"), WRONG, "Content-Range"),
        (Behaviour(short_by=1), WRONG, "length"),
        (Behaviour(long_by=1), WRONG, "length"),
        (Behaviour(close_after=100), "The response ended early", "Try again"),
        (Behaviour(multipart=True), WRONG, "several parts"),
        (Behaviour(coding="gzip-lie"), WRONG, "Content-Encoding"),
        (Behaviour(coding="gzip"), WRONG, "Content-Encoding"),
    ],
    ids=lambda value: str(value.to_json()) if isinstance(value, Behaviour) else None,
)
def test_a_host_at_fault(
    panel: PanelPage, images: ImageServer, behaviour: Behaviour, title: str, advice: str
) -> None:
    if behaviour.short_by or behaviour.long_by or behaviour.close_after:
        # The response to HEAD is right, or it would be of another image.
        images.fail_next(behaviour, times=10, only_when=lambda head: head.method == "GET")
    else:
        images.behaviour = behaviour

    panel.start_opening(images.url("disk.img"))

    panel.expect_status("The image was not opened.")
    panel.expect_error(title, advice)
    expect(panel.open).to_be_enabled()
    images.wait_for(lambda server: server.in_flight == 0)


def test_a_host_that_ignores_ranges_is_not_left_to_send_it_all(
    panel: PanelPage, images: ImageServer
) -> None:
    images.behaviour = Behaviour(ignore_range=True)

    panel.start_opening(images.url("disk.img"))

    panel.expect_error(NO_PARTS)
    images.wait_for(lambda server: server.in_flight == 0)
    assert sum(request.bytes_sent for request in images.requests) < DISK.size / 4


def test_an_empty_image(panel: PanelPage, images: ImageServer) -> None:
    images.add("empty.img", b"")

    panel.start_opening(images.url("empty.img"))

    panel.expect_error("The image is empty", "0 bytes")


def test_an_opening_that_hangs_can_be_given_up(panel: PanelPage, images: ImageServer) -> None:
    images.behaviour = Behaviour(stall=True)
    panel.start_opening(images.url("disk.img"))
    panel.expect_status("Opening disk.img…")
    expect(panel.url).not_to_be_editable()

    panel.close.click()

    panel.expect_status("Ready to open.")
    expect(panel.url).to_be_editable()
    images.wait_for(lambda server: server.in_flight == 0)


def test_a_check_shows_how_far_it_is_and_can_be_cancelled(
    panel: PanelPage, images: ImageServer
) -> None:
    progress = panel.page.locator("#library-progress")
    images.fail_next(  # the range that measures the server's speed hangs in its middle
        Behaviour(stall_after=100_000),
        only_when=lambda head: head.headers.get("range", "").startswith(f"bytes={HEAD_LENGTH}-"),
    )
    panel.url.fill(images.url("disk.img"))
    panel.expect_status("Ready to open.")
    panel.button("Check this address").click()
    panel.expect_status("Checking the address…")
    expect(progress).to_contain_text(re.compile(r"Checking the address: 0\.[12] MiB of 0\.6 MiB"))
    # Nothing is lost by leaving the page.
    leave = "() => dispatchEvent(new Event('beforeunload', { cancelable: true }))"
    assert panel.page.evaluate(leave)

    progress.get_by_role("button", name="Cancel").click()

    panel.expect_status("Ready to open.")
    expect(progress).to_be_hidden()
    expect(panel.page.locator("#findings")).to_be_empty()
    images.release()
    images.wait_for(lambda server: server.in_flight == 0)
    panel.button("Check this address").click()
    expect(panel.page.get_by_role("heading", name="This address can be streamed.")).to_be_visible()
    expect(progress).to_be_hidden()


def test_the_next_image_opens_after_a_fault(panel: PanelPage, images: ImageServer) -> None:
    images.fail_next(Behaviour(status=404), times=2)
    panel.start_opening(images.url("disk.img"))
    panel.expect_error(REFUSED)

    panel.open_image(images.url("disk.img"))

    expect(panel.error).to_be_empty()
    read_is_exact(panel, 12345, 70000)


# ── it opens, and says what is odd ────────────────────────────────────────────────────────────────


def test_a_size_that_is_no_multiple_of_a_sector(panel: PanelPage, images: ImageServer) -> None:
    odd = DISK.read(0, 100_001)
    images.add("odd.img", odd)

    panel.open_image(images.url("odd.img"))

    expect(panel.notice("odd-size")).to_contain_text("not a multiple of 512")
    panel.read_range("0", "100001")
    panel.expect_digest(hashlib.sha256(odd).hexdigest())
    panel.read_range("100000", "1")
    panel.expect_digest(hashlib.sha256(odd[-1:]).hexdigest())


def test_a_host_that_refuses_head(panel: PanelPage, images: ImageServer) -> None:
    images.behaviour = Behaviour(head_status=405)

    panel.open_image(images.url("disk.img"))

    read_is_exact(panel, 0, 65536)


def test_a_host_without_a_validator(panel: PanelPage, images: ImageServer) -> None:
    images.behaviour = Behaviour(validators="none")

    panel.open_image(images.url("disk.img"))

    expect(panel.notice("no-validator")).to_contain_text("no readable ETag or Last-Modified")
    panel.show("Details")
    expect(panel.page.get_by_text("In memory until this page is closed.")).to_be_visible()
    read_is_exact(panel, 1, 200_000)


# ── a read fails ──────────────────────────────────────────────────────────────────────────────────


def test_an_image_that_changes_between_two_reads(panel: PanelPage, images: ImageServer) -> None:
    panel.open_image(images.url("disk.img"))
    read_is_exact(panel, 0, 65536)
    changed = replace(DISK, seed=4)
    images.image("disk.img").replace(changed)

    panel.read_range("1 MiB", "64 KiB")

    panel.expect_error("The image has changed", "Open it again")
    panel.expect_status("The read failed. The image is still open.")
    expect(panel.digest).to_have_text("–")
    read_is_exact(panel, 0, 65536)  # what was kept is still of the version that was opened

    panel.close.click()
    panel.open_image(images.url("disk.img"))
    panel.read_range("1 MiB", "64 KiB")
    panel.expect_digest(hashlib.sha256(changed.read(2**20, 65536)).hexdigest())
    panel.read_range("0", "64 KiB")
    panel.expect_digest(hashlib.sha256(changed.read(0, 65536)).hexdigest())


@pytest.mark.parametrize(
    ("offset", "length", "said"),
    [
        (str(DISK.size), "1", OUTSIDE),
        (str(DISK.size - 511), "512", OUTSIDE),
        ("1 TiB", "512", OUTSIDE),
        ("-1", "512", (UNREADABLE, "such as 512, 0x200 or 64 KiB, not “-1”")),
        ("0", "-512", (UNREADABLE, "not “-512”")),
        ("0", "0", (UNREADABLE, "from 1 byte to 128 MiB")),
        ("0", "1 GiB", (UNREADABLE, "from 1 byte to 128 MiB")),
        ("half", "512", (UNREADABLE, "not “half”")),
        ("", "", (UNREADABLE, "Offset must be")),
    ],
)
def test_a_range_that_cannot_be_read(
    panel: PanelPage, images: ImageServer, offset: str, length: str, said: tuple[str, str]
) -> None:
    panel.open_image(images.url("disk.img"))
    images.forget()

    panel.read_range(offset, length)

    panel.expect_error(*said)
    assert images.requests == []
    read_is_exact(panel, 0, 512)
    expect(panel.error).to_be_empty()


@pytest.mark.parametrize(
    ("behaviour", "title"),
    [
        (Behaviour(status=500), REFUSED),
        (Behaviour(short_by=1), WRONG),
        (Behaviour(content_range="shifted"), WRONG),
        (Behaviour(reset_after=10_000), "The response ended early"),
        (Behaviour(ignore_range=True), NO_PARTS),
    ],
    ids=lambda value: str(value.to_json()) if isinstance(value, Behaviour) else None,
)
def test_a_read_that_the_host_spoils_can_be_tried_again(
    panel: PanelPage, images: ImageServer, behaviour: Behaviour, title: str
) -> None:
    panel.open_image(images.url("disk.img"))
    images.behaviour = behaviour

    panel.read_range("1 MiB", "1 MiB")
    panel.expect_error(title)
    expect(panel.digest).to_have_text("–")

    images.behaviour = Behaviour()
    read_is_exact(panel, 2**20, 2**20)
    expect(panel.error).to_be_empty()


def test_a_read_that_hangs_ends_when_the_image_is_closed(
    panel: PanelPage, images: ImageServer
) -> None:
    panel.open_image(images.url("disk.img"))
    images.behaviour = Behaviour(stall_after=1000)
    panel.read_range("8 MiB", "1 MiB")
    panel.expect_status("Reading disk.img…")
    expect(panel.row("Requests")).to_contain_text("1 in flight")

    panel.close.click()

    panel.expect_status("Ready to open.")
    expect(panel.error).to_be_empty()
    images.wait_for(lambda server: server.in_flight == 0)
