"""A browser that is killed while it writes: what it had kept is there, and all of it is exact,
whether the image is raw or prepared.

The long form: AERO_CRASH_ROUNDS=100 pytest tests/browser/test_crash.py --timeout 3600
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from lib import browsers
from support.prepared import prepared_files

ROUNDS = int(os.environ.get("AERO_CRASH_ROUNDS", "3"))
MIB = 1 << 20
BLOCK = 64 << 10
DISK = SyntheticImage(24 * MIB, seed=8)
BLOCKS = DISK.size // BLOCK
SETTLED = 16  # blocks that each round keeps well before its end
MORE = 128  # blocks that it asks for then, until it is killed
LIMIT = 12 * MIB  # so that blocks evict others
GONE = Behaviour(status=404)  # final, so that a block that is missing is known at once

OPEN = """async ([url, blockSize, cacheLimitBytes]) => {
  const { openDisk } = await import("../aero-disk.mjs");
  globalThis.disk = await openDisk({
    url, blockSize, cacheLimitBytes, allowRemote: true, readAhead: false, bootProfile: null,
    sharedMemoryBytes: 0, // what is read from there is no use of the cache, which may let it go
  });
  const { storage, notices } = await disk.stats();
  return [storage, ...notices];
}"""
# The digest of each block, or null for one that is not cached while the server has nothing.
DIGESTS = """async ([first, count, length]) => {
  const hex = (bytes) => Array.from(new Uint8Array(bytes), (b) => b.toString(16).padStart(2, "0"));
  const found = [];
  for (let block = first; block < first + count; block++) {
    try {
      const data = await disk.read(block * length, length);
      found.push(hex(await crypto.subtle.digest("SHA-256", data)).join(""));
    } catch (error) {
      if (error.name !== "HttpStatusError") throw error;
      found.push(null);
    }
  }
  return found;
}"""
# A block is kept for good once the request that brought it has ended, which is after the read has.
UNTIL_IDLE = "async () => { while ((await disk.stats()).requestsInFlight) await disk.stats(); }"
READ_WITHOUT_END = """([length, order]) => {
  for (const block of order) disk.read(block * length, length).catch(() => {});
}"""


@pytest.fixture
def images() -> Iterator[ImageServer]:
    fresh = Behaviour(cache_control="public, max-age=3600")
    chunks = prepared_files(DISK.read(0, DISK.size), BLOCK, level=1)  # a chunk for each block
    with ImageServer({"disk.img": DISK, **chunks}, behaviour=fresh) as server:
        yield server


def open_page(context: BrowserContext, site: SiteServer, url: str) -> Page:
    page = context.new_page()
    page.goto(f"{site.url}wheels/index.json")  # of the site, and with nothing of its own
    assert page.evaluate(OPEN, [url, BLOCK, LIMIT]) == ["opfs"]
    return page


def digests(page: Page, blocks: range) -> list[str | None]:
    return page.evaluate(DIGESTS, [blocks.start, len(blocks), BLOCK])


def expected(blocks: range) -> list[str]:
    return [hashlib.sha256(DISK.read(block * BLOCK, BLOCK)).hexdigest() for block in blocks]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="it finds the processes in /proc")
@pytest.mark.timeout(300 + 60 * ROUNDS)
@pytest.mark.parametrize("name", ["disk.img", "manifest.json"])
def test_a_killed_browser_keeps_what_it_had_and_nothing_is_wrong(
    open_profile, site: SiteServer, images: ImageServer, tmp_path: Path, name: str
) -> None:
    chance = random.Random(22)
    everything = expected(range(BLOCKS))
    settled, brought = range(0), set[int]()
    kept = []
    serving = images.behaviour
    rounds = ROUNDS if name == "disk.img" else -(-ROUNDS // 2)
    for turn in range(rounds + 1):
        context = open_profile()
        images.forget()
        page = open_page(context, site, images.url(name))

        images.behaviour = GONE
        found = digests(page, range(BLOCKS))
        images.behaviour = serving
        wrong = [b for b, have in enumerate(found) if have not in (None, everything[b])]
        assert wrong == []
        gone = {block for block in settled if found[block] is None}
        assert not gone & brought, "what was kept before is gone"
        # After a kill the order of use is only about what it was, and a block that was there before
        # may have been evicted for the first one, which is asked for at each visit.
        assert len(gone) <= 1, "what was used before is gone"
        kept.append(sum(have is not None for have in found))

        start = turn * SETTLED % (BLOCKS - SETTLED)
        settled = range(start, start + SETTLED)
        assert digests(page, settled) == everything[settled.start : settled.stop]
        brought = {block for block in settled if found[block] is None}
        page.evaluate(UNTIL_IDLE)

        images.forget()
        order = [block for block in range(BLOCKS) if block not in settled]
        chance.shuffle(order)
        page.evaluate(READ_WITHOUT_END, [BLOCK, order[:MORE]])
        enough = chance.randint(1, 40)
        images.wait_for(lambda server, n=enough: len(server.requests) >= n)
        browsers.kill(browsers.processes(tmp_path / "user"))
        browsers.close_killed(context)
    assert kept[0] <= 1, "a first visit has at most the block that checks the server"
    assert all(count >= SETTLED for count in kept[1:])
