"""A browser that is killed while it writes to an overlay: every flush that returned holds, and no
sector is torn.

The long form: AERO_CRASH_ROUNDS=60 pytest tests/browser/test_write_crash.py --timeout 3600
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from lib import browsers

ROUNDS = int(os.environ.get("AERO_CRASH_ROUNDS", "4"))
SECTORS = 8192  # of the disk
MOST_FLUSHES = 60  # before it is killed

OPEN = """async ([sectors, isNew]) => {
  const { openDisk, library } = await import("../aero-disk.mjs");
  if (isNew) await library.create("vm", { size: sectors * 512 });
  globalThis.disk = await openDisk({ image: "vm", overlay: "work" });
}"""
# What the batch of a number writes: the same each time. A sector says which it is, and which batch
# wrote it, in each of its 64 parts.
PLAN = """
globalThis.plan = (number, sectors) => {
  let state = number * 2654435761 >>> 0;
  const chance = (below) => {
    state = Math.imul(state ^ (state >>> 15), 2246822519) + 3266489917 >>> 0;
    return (state >>> 8) % below;
  };
  return Array.from({ length: 1 + chance(6) }, () => {
    const count = [1, 1, 3, 8, 8, 40, 300][chance(7)];
    return [chance(sectors - count), count];
  });
};
globalThis.content = (first, count, number) => {
  const words = new Uint32Array(count * 128);
  for (let at = 0; at < words.length; at += 2) {
    words[at] = first + Math.floor(at / 128);
    words[at + 1] = number;
  }
  return new Uint8Array(words.buffer);
};
"""
# Writes and flushes batch after batch, and says on the network which flush returned last.
WRITE = """([from, sectors, told]) => {
  const run = async () => {
    for (let number = from; ; number++) {
      for (const [first, count] of plan(number, sectors)) {
        await disk.write(first * 512, content(first, count, number));
      }
      await disk.flush();
      void fetch(`${told}?flushed=${number}`, { method: "HEAD" });
    }
  };
  void run();
}"""
# Which batch wrote each sector last, 0 for none.
FOUND = """async ([sectors]) => {
  const bytes = await disk.read(0, sectors * 512);
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, sectors * 128);
  return Array.from({ length: sectors }, (_, sector) => {
    const number = words[sector * 128 + 1];
    for (let at = sector * 128; at < sector * 128 + 128; at += 2) {
      if (words[at + 1] !== number || words[at] !== (number ? sector : 0)) {
        throw new Error(`sector ${sector} is torn`);
      }
    }
    return number;
  });
}"""
PLANS = """([from, to, sectors]) =>
  Array.from({ length: to - from }, (_, index) => plan(from + index, sectors))"""


@pytest.fixture
def images() -> Iterator[ImageServer]:
    with ImageServer({"told": SyntheticImage(512, seed=1)}) as server:
        yield server


def open_page(context: BrowserContext, site: SiteServer, *, is_new: bool) -> Page:
    page = context.new_page()
    page.goto(f"{site.url}wheels/index.json")  # of the site, and with nothing of its own
    page.evaluate(PLAN)
    page.evaluate(OPEN, [SECTORS, is_new])
    return page


def flushed(images: ImageServer) -> int:
    """The last batch of which the page said that its flush had returned."""
    queries = (request.query for request in images.requests)
    return max((int(q.partition("=")[2]) for q in queries if "flushed" in q), default=0)


def check(page: Page, before: list[int], first: int, last_flushed: int) -> list[int]:
    """That each sector is as the last flush left it, or as a batch after it wrote it."""
    found = page.evaluate(FOUND, [SECTORS])
    newest = max(found)
    expected, later = list(before), [set() for _ in range(SECTORS)]
    plans = page.evaluate(PLANS, [first, max(newest, last_flushed) + 1, SECTORS])
    for number, writes in enumerate(plans, first):
        for start, count in writes:
            for sector in range(start, start + count):
                if number <= last_flushed:
                    expected[sector] = number
                else:
                    later[sector].add(number)
    wrong = [
        sector
        for sector, number in enumerate(found)
        if number != expected[sector] and number not in later[sector]
    ]
    assert wrong == [], f"of batches up to {last_flushed}, with {newest} the newest"
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="it finds the processes in /proc")
@pytest.mark.timeout(300 + 60 * ROUNDS)
def test_a_killed_browser_keeps_every_flush_and_tears_no_sector(
    open_profile, site: SiteServer, images: ImageServer, tmp_path: Path, console
) -> None:
    chance = random.Random(23)
    state = [0] * SECTORS
    first, last = 1, 0
    for turn in range(ROUNDS + 1):
        context = open_profile()
        page = open_page(context, site, is_new=turn == 0)
        state = check(page, state, first, last)
        if turn == ROUNDS:
            break
        first = max(*state, last) + 1
        images.forget()
        page.evaluate(WRITE, [first, SECTORS, images.url("told")])
        enough = chance.randint(1, MOST_FLUSHES)
        images.wait_for(lambda server, n=first + enough: flushed(server) >= n)
        browsers.kill(browsers.processes(tmp_path / "user"))
        browsers.close_killed(context)
        last = flushed(images)
    assert sum(map(bool, state)) > SECTORS // 4, "much was written"
