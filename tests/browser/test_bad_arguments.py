"""What callers in JavaScript pass in that cannot work, and what they give up: always our errors."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage

BOTH = pytest.mark.parametrize("is_isolated", [True, False], ids=["shared-memory", "messages"])
IMAGE = SyntheticImage(2**20, seed=7)

PRELUDE = """async (url) => {
  const module = await import("./aero-disk.mjs");
  const { attachDisk, connect, diagnose, library, openDisk, preload } = module;
  const { Files } = await import("./files.mjs");
  const nameOf = async (work) => {
    try { await work(); return "nothing"; } catch (error) { return error.name; }
  };
  const open = () => openDisk({ url, allowRemote: true, bootProfile: null });
"""


@pytest.fixture
def images() -> Any:
    with ImageServer({"disk.img": IMAGE}) as server:
        yield server


@pytest.fixture
def run(request: pytest.FixtureRequest, images: ImageServer, is_isolated: bool) -> Any:
    page: Page = request.getfixturevalue("page" if is_isolated else "plain_page")
    site: SiteServer = request.getfixturevalue("site" if is_isolated else "plain_site")
    page.goto(site.url)
    return lambda body: page.evaluate(PRELUDE + body + "}", images.url("disk.img"))


# What a caller may get wrong, and the error. None of it reaches the disk.
WRONG = {
    "InvalidOptionError": """
      () => disk.read(0, -1), () => disk.read(0, 5n), () => disk.read(0, 0.5),
      () => disk.read(0, "5"), () => disk.read(0), () => disk.read(), () => disk.read(null, 5),
      () => disk.read("0", 5), () => disk.read(NaN, 5), () => disk.read(Symbol("0"), 5),
      () => disk.read(0, 5, null), () => disk.read(0, 5, { signal: "now" }),
      () => disk.tryRead(0), () => disk.tryRead(0, [1, 2]),
      () => disk.tryRead(0, new Uint16Array(2)), () => disk.tryRead(0, new ArrayBuffer(2)),
      () => disk.tryRead(0.5, new Uint8Array(1)),
      () => disk.readSync(0), () => disk.readSync(0, [new Uint8Array(1), null]),
      () => disk.write(0), () => disk.write(0, "text"), () => disk.write(0, new ArrayBuffer(1)),
      () => disk.write(undefined, new Uint8Array(1)), () => disk.tryWrite(0, null),
      () => disk.writeSync(0, 5), () => disk.discard(0, -1), () => disk.discardSync(0, 1n),
      () => disk.ask("no.such"), () => disk.ask("disk.read", { nonsense: 1 }),
      () => disk.ask("disk.stats", { lock: new WeakMap() }),
      () => openDisk(), () => openDisk(null), () => openDisk("text"), () => openDisk({}),
      () => openDisk({ file: null }), () => openDisk({ file: "disk.img" }),
      () => openDisk({ file: new Uint8Array(512) }), () => openDisk({ file: new Blob(["x"]), url }),
      () => openDisk({ file: new Blob(["x"]), image: "a" }),
      () => openDisk({ file: new Blob(["x"]), allowRemote: true }),
      () => openDisk({ file: new Blob(["x"]), overlay: "a" }),
      () => openDisk({ file: new File(["x"], "a"), format: "nonsense" }),
      () => openDisk({ url: null }), () => openDisk({ url: 5, allowRemote: true }),
      () => openDisk({ url, allowRemote: true, renew: 5 }),
      () => openDisk({ url, allowRemote: true, headers: () => {} }),
      () => openDisk({ url, allowRemote: true, retry: { tries: "many" } }),
      () => openDisk({ url, allowRemote: true, nonsense: 1 }),
      () => openDisk({ url, allowRemote: true, onStartProgress: 5 }), () => preload(5),
      () => attachDisk(), () => attachDisk({}),
      () => diagnose(), () => diagnose(url, null), () => diagnose(url, { signal: 1 }),
      () => library.create("name"), () => library.create("name", null),
      () => library.create("name", { size: 0.5 }), () => library.create(5, { size: 512 }),
      () => library.import(), () => library.import(5), () => library.import({}),
      () => library.import(new Blob([]), { onProgress: 5 }), () => library.import({ url: null }),
      () => library.importDisk(), () => library.importDisk(disk), () => library.rename("a"),
      () => library.resize("a"), () => library.resize("a", 512, 5), () => library.remove(),
      () => library.remove("a", { nonsense: true }), () => library.prune(5),
      () => library.prune({ kinds: 5 }), () => library.overlays(), () => library.overlays({}),
      () => library.importOverlay(), () => library.importOverlay(5, { name: "a", image: "b" }),
      () => library.export("a", 5), () => library.duplicate("a"), () => library.duplicate("a", 5),
      () => library.commitOverlay(), () => library.resetOverlay(),
      () => files.list(), () => files.stat(5), () => files.read("/", -1.5, 5),
      () => files.read("/", 0, -1), () => files.where("0"), () => files.blob(),
      () => files.list("/", { signal: {} }),
    """,
    "OutOfRangeError": """
      () => disk.read(-1, 5), () => disk.read(2 ** 20, 1), () => disk.read(0, 3 * 2 ** 30),
      () => disk.read(2n ** 64n, 1), () => disk.read(0, Number.MAX_SAFE_INTEGER),
      () => disk.tryRead(2 ** 20, new Uint8Array(1)), () => disk.discard(2 ** 20, 1),
      () => disk.write(2 ** 20 - 1, new Uint8Array(2)), () => disk.readSync(-1, new Uint8Array(1)),
    """,
}


@BOTH
def test_what_cannot_work_is_an_error_of_ours(run: Any) -> None:
    for name, calls in WRONG.items():
        seen = run(f"""
          const disk = await open();
          const files = new Files(disk);
          const found = [];
          for (const call of [{calls}]) {{
            const name = await nameOf(call);
            if (name !== "{name}") found.push([String(call), name]);
          }}
          await disk.close();
          return found;
        """)
        assert seen == [], f"{name} was expected"


@BOTH
def test_more_than_fits_into_memory_is_an_error_of_ours(run: Any) -> None:
    seen = run("""
      await library.create("large", { size: 4 * 2 ** 30 });
      const disk = await openDisk({ image: "large" });
      const name = await nameOf(() => disk.read(0, 3 * 2 ** 30));
      const asked = await nameOf(() => disk.ask("disk.read", { offset: 0, length: 3 * 2 ** 30 }));
      const long = await disk.read(2 ** 31, 2 ** 27 + 1); // in parts
      const isRight = long.length === 2 ** 27 + 1 && long.every((byte) => byte === 0);
      await disk.close();
      return { name, asked, isRight };
    """)
    assert seen == {"name": "InvalidOptionError", "asked": "InvalidOptionError", "isRight": True}


@BOTH
def test_an_aborted_signal_rejects_whatever_is_in_memory(run: Any) -> None:
    seen = run("""
      const disk = await open();
      const files = new Files(disk);
      await disk.read(0, 512);
      const reason = new Error("given up");
      const signal = AbortSignal.abort(reason);
      const during = new AbortController();
      const reading = disk.read(0, 512, { signal: during.signal });
      during.abort(reason);
      const calls = [
        () => disk.read(0, 512, { signal }), () => disk.read(0, 0, { signal }), () => reading,
        () => files.list("/", { signal }), () => files.stat("/", { signal }),
        () => files.read("/1/none", 0, 1, { signal }), () => files.blob("/1/none", { signal }),
        () => files.stream("/1/none", { signal }).getReader().read(),
        () => diagnose(url, { allowRemote: true, signal }),
        () => library.import(new Blob([new Uint8Array(512)]), { name: "a", signal }),
        () => library.importDisk(disk, { name: "b", signal }),
        () => library.duplicate("a", "c", { signal }), () => library.export("a", { signal }),
      ];
      const wrong = [];
      for (const call of calls) {
        const seen = await Promise.resolve().then(call).then(() => "done", (error) => error);
        if (seen !== reason) wrong.push([String(call), String(seen)]);
      }
      await disk.close();
      return wrong;
    """)
    assert seen == []
