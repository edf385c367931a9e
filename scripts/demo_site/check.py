"""The main task, done on the page as a user does it: open, read, reload, read again."""

from __future__ import annotations

import hashlib
import random
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from demo_site.library_check import check_library
from lib import browsers
from lib.image_service import ImageService
from lib.server_process import ServerError

MIB = 1 << 20
REGION = (MIB, 8 * MIB)  # where the partition of the sample starts
RANDOM_PLACES = 24
LONGEST_RANGE = 256 << 10
PREPARED_READS = 4
PACKED = re.compile(r"^of .*, packed$")
START_TIMEOUT_MS = 120_000
READ_TIMEOUT_MS = 60_000

Range = tuple[int, int]  # offset and length in bytes
Result = dict[str, object]


def ranges_to_read(size: int) -> list[Range]:
    """A whole region, random ranges, and the last bytes of a disk of `size` bytes."""
    chance = random.Random(size)  # noqa: S311 - the same ranges each time
    start = min(REGION[0], size // 2)
    ranges = [(start, min(REGION[1], size - start))]
    for _ in range(RANDOM_PLACES):
        offset = chance.randrange(size)
        ranges.append((offset, min(chance.randint(1, LONGEST_RANGE), size - offset)))
    return [*ranges, (size - 1, 1)]


def digest_on_disk(image: Path, part: Range) -> str:
    """The SHA-256 of a range of the file."""
    with image.open("rb") as file:
        file.seek(part[0])
        return hashlib.sha256(file.read(part[1])).hexdigest()


class PageError(Exception):
    """The page reports an error."""


class DemoPage:
    """The demo page, operated as by a user."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._bytes = page.get_by_role("tab", name="Bytes", exact=True)
        self._read = page.get_by_role("button", name="Read", exact=True, disabled=False)
        self._failure = page.get_by_role("alert").filter(has_text=re.compile("."))

    def open_image(self, url: str) -> None:
        """Turns remote images on, enters the address, and opens it. Raises `PageError`."""
        self._page.get_by_label("Use remote image").check(timeout=START_TIMEOUT_MS)
        self._page.get_by_label("Image URL").fill(url)
        self._page.get_by_role("button", name="Open", exact=True).click()
        expect(self._bytes.or_(self._failure).first).to_be_visible(timeout=START_TIMEOUT_MS)
        if self._failure.count():
            raise PageError(self._failure.inner_text())
        self._bytes.click()

    def shows(self, part: Range, digest: str) -> bool:
        """Reads a range; returns whether the page then shows this SHA-256."""
        self._page.get_by_label("Offset").fill(str(part[0]))
        self._page.get_by_label("Length").fill(str(part[1]))
        self._read.click()
        shown = self._page.get_by_test_id("read-sha256")
        try:
            expect(shown).to_have_text(digest, timeout=READ_TIMEOUT_MS)
        except AssertionError:
            return False
        return True


class Visit:
    """The result of opening and reading the image once."""

    def __init__(self, page: Page, service: ImageService, image: Path, started: float) -> None:
        user = DemoPage(page)
        user.open_image(service.image_url(image))
        self.start_ms = round((time.monotonic() - started) * 1000)
        self.bytes_read = self.reads = self.matches = 0
        for part in ranges_to_read(image.stat().st_size):
            self.reads += 1
            if not user.shows(part, digest_on_disk(image, part)):
                break  # one wrong response is enough, and each costs the whole time-out
            self.matches += 1
            self.bytes_read += part[1]
        self.requests = service.image_requests()

    @property
    def is_exact(self) -> bool:
        """Whether every read returned the bytes of the file."""
        return self.matches == self.reads


def check_demo(
    site_url: str, service: ImageService, image: Path, prepared: Path | None = None
) -> Result:
    """Does the main task twice in one profile, and works with local images; reports the result.

    `prepared` is the folder of the same image as a prepared one, which is then read too. `ok` is
    whether everything passed.
    """
    complaints: list[str] = []
    try:
        result = visit_twice(site_url, service, image, complaints)
        packed: Result = {"ok": True}
        if prepared is not None:
            packed = read_prepared(site_url, service.manifest_url(prepared), image)
        library = check_library(site_url)
    except (AssertionError, PageError, PlaywrightError, ServerError) as error:
        return {"ok": False, "image": image.name, "error": str(error), "console": complaints}
    ok = result["ok"] and packed["ok"] and library["ok"]
    return {**result, "ok": ok, "prepared": packed, "library": library}


def visit_twice(site_url: str, service: ImageService, image: Path, complaints: list[str]) -> Result:
    """Opens and reads the image, reloads the page, and does so again."""
    with open_profile(complaints) as context:
        page = context.pages[0]
        started = time.monotonic()
        page.goto(site_url)
        first = Visit(page, service, image, started)
        started = time.monotonic()
        page.reload()
        second = Visit(page, service, image, started)
    late = service.image_requests()  # requests that were under way when the page was left
    after_reload = len(second.requests) + len(late)
    exact = first.is_exact and second.is_exact
    return {
        "ok": exact and bool(first.requests) and not after_reload and not complaints,
        "image": image.name,
        "image_bytes": image.stat().st_size,
        "reads": first.reads + second.reads,
        "bytes_read": first.bytes_read + second.bytes_read,
        "sha256_matches": first.matches + second.matches,
        "image_requests_first": len(first.requests),
        "bytes_downloaded_first": sum(line["bytes"] for line in first.requests),
        "image_requests_after_reload": after_reload,
        "start_ms": first.start_ms,
        "start_after_reload_ms": second.start_ms,
        "console": complaints,
    }


def read_prepared(site_url: str, url: str, image: Path) -> Result:
    """Reads the prepared image at `url`, which is of `image`; the page shows what that saved."""
    complaints: list[str] = []
    with open_profile(complaints) as context:
        page = context.pages[0]
        page.goto(site_url)
        user = DemoPage(page)
        user.open_image(url)
        parts = ranges_to_read(image.stat().st_size)[:PREPARED_READS]
        exact = all(user.shows(part, digest_on_disk(image, part)) for part in parts)
        page.get_by_role("tab", name="Activity", exact=True).click()
        saved = page.locator('[data-rows="activity"]').get_by_text(PACKED)
        expect(saved).to_be_visible(timeout=READ_TIMEOUT_MS)
        said = saved.inner_text()
    return {"ok": exact and not complaints, "saved": said, "console": complaints}


@contextmanager
def open_profile(complaints: list[str]) -> Iterator[BrowserContext]:
    """Headless Chromium, on a profile that exists during the `with` block."""
    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        options = browsers.launch_options(playwright.chromium)
        context = playwright.chromium.launch_persistent_context(profile, **options)
        browsers.watch_console(context, complaints)
        yield context
        context.close()
