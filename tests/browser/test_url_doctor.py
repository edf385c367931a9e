"""What the doctor can tell in a real browser, where much is hidden from it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage

DISK = SyntheticImage(64 << 20, seed=3)
MAX_BYTES = 1 << 20  # bytes that the doctor may download
# What sockets and the browser take of a response that goes on before it is ended.
UNREAD = 8 << 20

LOOK = """async ({ module, url, allowRemote }) => {
  const { diagnose } = await import(module);
  try {
    return await diagnose(url, { allowRemote, timeoutS: 10 });
  } catch (error) {
    return { error: error.name };
  }
}"""

Look = Callable[..., Any]


@pytest.fixture(scope="module")
def host() -> Iterator[ImageServer]:
    with ImageServer({"disk.img": DISK}) as server:
        yield server


@pytest.fixture
def images(host: ImageServer) -> ImageServer:
    host.behaviour = Behaviour()
    host.image("disk.img").replace(DISK)
    host.forget()
    return host


def asker(page: Page, site: str) -> Look:
    def look(url: str, *, allow_remote: bool = True) -> Any:
        module = f"{site.rstrip('/')}/aero-disk.mjs"
        return page.evaluate(LOOK, {"module": module, "url": url, "allowRemote": allow_remote})

    return look


@pytest.fixture(scope="module")
def look(chromium: Browser, site: SiteServer) -> Iterator[Look]:
    """Asks the doctor in one page for all tests, which is cross-origin isolated."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(site.url)
    yield asker(page, site.url)
    context.close()


def codes(found: Any, level: str) -> list[str]:
    return [finding["code"] for finding in found["findings"] if finding["level"] == level]


def assert_little_was_sent(images: ImageServer) -> None:
    """Where a server sends all of the image instead of a range, the doctor ends the response."""
    whole = [request.bytes_sent for request in images.requests if request.status == 200]
    assert sum(request.bytes_sent for request in images.requests) - sum(whole) <= MAX_BYTES
    assert all(count <= MAX_BYTES + UNREAD for count in whole)


def test_a_good_host(images: ImageServer, look: Look) -> None:
    found = look(images.url("disk.img"))
    assert found["isStreamable"] is True
    assert found["fault"] is None
    assert codes(found, "fails") == codes(found, "note") == []
    assert codes(found, "ok")[-1] == "isolated"
    assert found["size"] == DISK.size
    assert_little_was_sent(images)


def test_nothing_is_asked_without_consent(images: ImageServer, look: Look) -> None:
    assert look(images.url("disk.img"), allow_remote=False) == {
        "error": "RemoteImagesDisabledError"
    }
    assert images.requests == []


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("cors", {"cors": "none"}),
    ("content-range-unreadable", {"cors": "hidden"}),
    ("content-range-unreadable", {"content_range": "missing"}),
    ("ranges-ignored", {"ignore_range": True}),
    ("compressed", {"coding": "gzip"}),
    ("compressed", {"coding": "gzip-lie"}),
    ("length-wrong", {"long_by": 1}),
    ("cut-off", {"close_after": 1000}),
    ("validator-changing", {"validators": "changing"}),
    ("not-found", {"status": 404}),
    ("multipart", {"multipart": True}),
]


@pytest.mark.parametrize(("fault", "behaviour"), FAULTS, ids=str)
def test_it_names_the_fault(
    images: ImageServer, look: Look, fault: str, behaviour: dict[str, Any]
) -> None:
    images.behaviour = Behaviour(**behaviour)
    found = look(images.url("disk.img"))
    assert found["fault"] == fault, found["findings"]
    assert_little_was_sent(images)


def test_what_is_hidden_could_be_better(images: ImageServer, look: Look) -> None:
    exposed = (("Access-Control-Expose-Headers", "Content-Range"),)
    images.behaviour = Behaviour(headers=exposed)
    assert codes(look(images.url("disk.img")), "note") == ["validator-date"]
    images.behaviour = Behaviour(headers=exposed, validators="etag")
    found = look(images.url("disk.img"))
    assert codes(found, "note") == ["validator-missing"]
    finding = next(each for each in found["findings"] if each["code"] == "validator-missing")
    assert "Access-Control-Expose-Headers" in finding["remedy"]["nginx"]


def test_a_host_that_is_not_there(look: Look) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert look(f"http://127.0.0.1:{port}/disk.img")["fault"] == "unreachable"


def test_without_isolation_a_silent_refusal_is_not_taken_for_no_response(
    chromium: Browser, site_folder: Path, images: ImageServer
) -> None:
    """An isolated page may not even learn that a server responded unless it allows embedding."""
    images.behaviour = Behaviour(cors="none", corp=None)
    context = chromium.new_context()
    with SiteServer(site_folder, isolated=False) as site:
        page = context.new_page()
        page.goto(site.url)
        found = asker(page, site.url)(images.url("disk.img"))
    assert found["fault"] == "cors"
    origin = site.url.rstrip("/")
    assert f'"{origin}"' in found["findings"][-2]["remedy"]["nginx"]
    assert codes(found, "note") == ["not-isolated"]
    context.close()


def test_mixed_content(chromium: Browser, site: SiteServer) -> None:
    context = chromium.new_context(service_workers="block")

    def pass_on(route: Route) -> None:
        target = route.request.url.replace("https://app.test/", site.url.rstrip("/") + "/")
        route.fulfill(response=route.fetch(url=target))

    context.route("https://app.test/**", pass_on)
    page = context.new_page()
    page.goto("https://app.test/")
    found = asker(page, "https://app.test")("http://disks.example/disk.img")
    assert (found["fault"], found["requests"]) == ("mixed-content", 0)
    assert "listen 443 ssl" in found["findings"][0]["remedy"]["nginx"]
    context.close()
