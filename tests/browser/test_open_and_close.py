"""What disks that were opened and closed leave behind in a page and its worker."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext

from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage

ROUNDS = 100
# Of the worker, whose Python keeps some of its own garbage until it next looks for it.
LEFT_BY_ALL = 8 << 20

# Three disks a round: a remote one with a function that the worker calls, a local one, and that
# one attached as another thread would have it.
PRELUDE = """async ({ site, url, count }) => {
  const { attachDisk, openDisk, library } = await import(new URL("aero-disk.mjs", site).href);
  globalThis.functions ??= [];
  const lent = (called) => (functions.push(new WeakRef(called)), called);
  const openAndClose = async () => {
    const renew = lent(() => ({ url }));
    const remote = await openDisk({ url, allowRemote: true, bootProfile: null, renew });
    const local = await openDisk({ image: "blank" });
    const attached = await attachDisk(local.port());
    for (const disk of [attached, local, remote]) {
      await disk.read(0, 512);
      await disk.close();
    }
  };
  const report = lent(() => {});
  await library.duplicate("blank", `copy ${functions.length}`, { onProgress: report });
  for (let round = 0; round < count; round++) await openAndClose();
"""
FUNCTIONS_KEPT = 3
# Collecting takes a few turns of the event loop, and on a busy machine the worker takes its time to
# give functions back; it collects when it is measured.
MEASURE = """async (kept) => {
  const areLeft = () => functions.filter((called) => called.deref()).length > kept;
  for (let turn = 0; turn < 3 || (turn < 500 && areLeft()); turn++) {
    gc();
    await new Promise((resume) => setTimeout(resume, 20));
  }
  const { breakdown } = await performance.measureUserAgentSpecificMemory();
  const of = (scope) => breakdown
    .filter(({ attribution }) => attribution.some((owner) => owner.scope === scope))
    .reduce((total, { bytes }) => total + bytes, 0);
  return {
    page: of("Window"),
    worker: of("DedicatedWorkerGlobalScope"),
    functions: functions.filter((called) => called.deref()).length,
  };
}"""


@pytest.fixture
def images() -> Any:
    with ImageServer({"disk.img": SyntheticImage(2**20, seed=13)}) as server:
        yield server


@pytest.mark.timeout(300)
def test_three_hundred_disks_leave_no_memory_behind(
    chromium: Browser, site: SiteServer, images: ImageServer
) -> None:
    page = chromium.new_page()  # with a collector that can be called
    page.goto(f"{site.url}panel-first-view.json")
    found = {"site": site.url, "url": images.url("disk.img")}
    create = """async ({ site }) => {
      const { library } = await import(new URL("aero-disk.mjs", site).href);
      await library.create("blank", { size: 2 ** 20 });
    }"""
    page.evaluate(create, found)
    page.evaluate(PRELUDE + "}", {**found, "count": 1})
    before = page.evaluate(MEASURE, FUNCTIONS_KEPT)
    page.evaluate(PRELUDE + "}", {**found, "count": ROUNDS})
    after = page.evaluate(MEASURE, FUNCTIONS_KEPT)
    assert before["page"] > 0
    assert before["worker"] > 0
    assert after["page"] - before["page"] < 2 << 20, "less than one disk had left behind"
    assert after["worker"] - before["worker"] < LEFT_BY_ALL
    assert after["functions"] <= FUNCTIONS_KEPT, "functions that nobody calls any more are kept"
    page.close()


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_what_is_under_way_when_a_disk_is_closed_is_told_so(
    context: BrowserContext, site: SiteServer, images: ImageServer
) -> None:
    page = context.new_page()
    page.goto(site.url)
    found = {"site": site.url, "url": images.url("disk.img")}
    opened = """async ({ site, url }) => {
      const { openDisk } = await import(new URL("aero-disk.mjs", site).href);
      const disk = await openDisk({ url, allowRemote: true, bootProfile: null, readAhead: false });
      const reading = (length) =>
        disk.read(2 ** 19, length).then(() => "bytes", ({ name }) => name);
      globalThis.test = { disk, reading };
    }"""
    page.evaluate(opened, found)
    images.fail_next(Behaviour(stall=True), times=9)  # each of them, however they are fetched
    page.evaluate("() => { test.short = test.reading(10); test.long = test.reading(300_000); }")
    images.wait_for(lambda state: state.in_flight >= 1)
    names = page.evaluate("""async () => {
      await Promise.all([test.disk.close(), test.disk.close()]);
      await test.disk.close();
      return [await test.short, await test.long, await test.reading(1)];
    }""")
    assert names == ["DiskClosedError"] * 3
