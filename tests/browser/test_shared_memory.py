"""One disk read from several threads: shared memory, synchronous reads, and closing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from lib.page_headers import page_headers

BOTH = pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
IMAGE = SyntheticImage(3 * 2**20 + 100, seed=5)
THREADS = (Path(__file__).parent / "shared_threads.mjs").read_text().replace("export ", "")

# The site's policy lets pages import nothing but the site's own modules, and lets workers be made
# of anything: so what they run is part of their own code.
PRELUDE = """async ({ site, url }) => {
  const sharedThreads = () => { THREADS; return { run, versionIn }; };
  const aeroDisk = new URL("aero-disk.mjs", site).href;
  const { attachDisk, connect, openDisk, library } = await import(aeroDisk);
  const failure = async (work) => {
    try { await work(); } catch (error) { return { name: error.name, ...error }; }
  };
  const module = (code) => URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  // A worker that gets a port to the disk and runs `body` with it: what that returns, or throws.
  const inWorker = (disk, body, values = {}) => new Promise((resolve, reject) => {
    const code = `
      const { attachDisk } = await import(${JSON.stringify(aeroDisk)});
      const failure = ${failure};
      const sharedThreads = ${sharedThreads};
      self.onmessage = async ({ data: { port, ...values } }) => {
        try {
          const disk = await attachDisk(port);
          self.postMessage({ value: await (${body})({ disk, ...values }) });
        } catch (error) { self.postMessage({ error: error.name + ": " + error.message }); }
      };
      self.postMessage({ up: true });
    `;
    const worker = new Worker(module(code), { type: "module" });
    worker.onerror = (event) => reject(new Error(event.message));
    worker.onmessage = ({ data }) => {
      if (data.up) {
        const port = disk.port();
        worker.postMessage({ port, ...values }, [port]);
      } else if (data.error) reject(new Error(data.error));
      else resolve({ worker, ...data });
    };
  });
""".replace("THREADS", THREADS)


@pytest.fixture
def images() -> Any:
    with ImageServer({"disk.img": IMAGE}) as server:
        yield server


def runner(page: Page, site: SiteServer, images: ImageServer, path: str = "") -> Any:
    found = {"site": site.url, "url": images.url("disk.img")}
    page.goto(f"{site.url}{path}")
    return lambda body: page.evaluate(PRELUDE + body + "}", found)


@pytest.fixture
def run(context: BrowserContext, site: SiteServer, images: ImageServer) -> Any:
    return runner(context.new_page(), site, images)


@BOTH
@pytest.mark.timeout(240)
def test_threads_that_read_and_write_at_random_see_no_wrong_byte(run: Any) -> None:
    """Frames for a sixteenth of the disk, so that they change hands all the time."""
    seen = run("""
      await library.create("random", { size: 2 ** 22 });
      const disk = await openDisk({ image: "random", overlay: "o", sharedMemoryBytes: 2 ** 18 });
      const acked = new Int32Array(new SharedArrayBuffer(4 * 2 ** 22 / 512));
      const { run, versionIn } = sharedThreads();
      const common = { acked, threads: 4, rounds: 250 };
      const workers = [1, 2, 3].map((thread) => inWorker(
        disk, "(work) => sharedThreads().run(work)", { ...common, thread, mayWait: true },
      ));
      const here = await run({ ...common, disk, thread: 0, mayWait: false });
      const found = [here, ...(await Promise.all(workers)).map(({ value }) => value)];
      const shared = await disk.ask("shared.stats");
      // What is left is what was written last, wherever it is read.
      const bytes = await disk.read(0, disk.size);
      let wrong = 0;
      acked.forEach((version, sector) => {
        const found = versionIn(bytes.subarray(512 * sector, 512 * sector + 512), sector);
        if (found !== version) wrong++;
      });
      await disk.close();
      return { found, shared, wrong };
    """)
    assert seen["wrong"] == 0
    for done in seen["found"]:
        assert done["reads"] > 150
        assert done["writes"] > 60
    assert sum(done["found"] for done in seen["found"]) > 50, "nobody read from shared memory"
    assert any(done["found"] < done["tried"] for done in seen["found"]), "no frame ever changed"


@BOTH
def test_a_page_and_a_worker_read_the_same_disk_each_in_its_way(run: Any) -> None:
    seen = run("""
      const disk = await openDisk({ url, allowRemote: true, bootProfile: null });
      const target = new Uint8Array(700);
      const first = disk.tryRead(1000, target);
      const bytes = await disk.read(1000, 700);
      const second = disk.tryRead(1000n, target);
      const still = await failure(() => disk.readSync(0, target));
      const outside = await failure(() => disk.tryRead(disk.size - 10, target));
      const half = await failure(() => disk.tryRead(0.5, target));
      const written = await failure(() => disk.tryWrite(0, target));
      const { value, worker } = await inWorker(disk, `async ({ disk }) => {
        const target = new Uint8Array(700);
        const found = disk.tryRead(1000, target);
        const all = new Uint8Array(disk.size);
        disk.readSync(0n, all);
        const chunks = [new Uint8Array(5), new Uint8Array(70000), new Uint8Array(1)];
        disk.readSync(123456, chunks);
        const scattered = chunks.every((chunk, at) => {
          const start = 123456 + [0, 5, 70005][at];
          return chunk.every((byte, index) => byte === all[start + index]);
        });
        return {
          found, target, scattered, all, size: disk.size,
          awaited: await disk.read(disk.size - 5, 5),
          outside: await failure(() => disk.readSync(disk.size, target)),
          written: await failure(() => disk.writeSync(0, target)),
          other: await failure(() => disk.read(-1, 5)),
        };
      }`);
      const stats = await disk.stats();
      await disk.close();
      const closed = await failure(() => disk.tryRead(1000, target));
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", value.all));
      worker.terminate();
      return {
        ...value, all: null, target: [...value.target], awaited: [...value.awaited],
        first, second, here: [...target], bytes: [...bytes], still, outsideHere: outside, half,
        writtenHere: written, closed, digest: [...digest], requests: stats.requests,
      };
    """)
    import hashlib

    assert (seen["first"], seen["second"], seen["found"]) == (False, True, True)
    expected = IMAGE.read(1000, 700)
    assert bytes(seen["here"]) == bytes(seen["bytes"]) == bytes(seen["target"]) == expected
    assert bytes(seen["digest"]) == hashlib.sha256(IMAGE.read(0, IMAGE.size)).digest()
    assert bytes(seen["awaited"]) == IMAGE.read(IMAGE.size - 5, 5)
    assert seen["scattered"]
    assert seen["size"] == IMAGE.size
    assert seen["still"]["name"] == "SyncUnavailableError"
    assert seen["outside"]["name"] == seen["outsideHere"]["name"] == "OutOfRangeError"
    assert seen["outside"]["size"] == IMAGE.size
    assert seen["other"]["name"] == "OutOfRangeError"
    assert seen["half"]["name"] == "InvalidOptionError"
    assert seen["written"]["name"] == seen["writtenHere"]["name"] == "ReadOnlyError"
    assert seen["closed"]["name"] == "DiskClosedError"


@BOTH
def test_who_dies_leaves_nothing_behind_and_who_waits_hears_of_the_end(run: Any) -> None:
    seen = run("""
      const disk = await openDisk({ url, allowRemote: true, bootProfile: null, readAhead: false });
      const clients = async () => (await disk.ask("shared.stats")).clients;
      const before = await clients();
      const { worker } = await inWorker(
        disk, "async ({ disk }) => disk.readSync(0, new Uint8Array(9))",
      );
      const during = await clients();
      worker.terminate();
      while ((await clients()) !== before);
      const left = await inWorker(disk, `async ({ disk }) => {
        await disk.close();
        return [
          await failure(() => disk.readSync(0, new Uint8Array(1))),
          await failure(() => disk.read(0, 1)),
        ];
      }`);
      left.worker.terminate();
      const after = await disk.read(0, 16);
      return { before, during, left: left.value, after: [...after] };
    """)
    assert seen["during"] == seen["before"] + 1
    assert [found["name"] for found in seen["left"]] == ["DiskClosedError"] * 2
    assert bytes(seen["after"]) == IMAGE.read(0, 16)


@BOTH
def test_a_webassembly_core_reads_synchronously(run: Any) -> None:
    """A core calls its imports with 64-bit offsets and places in its memory, and cannot await."""
    seen = run("""
      const disk = await openDisk({ url, allowRemote: true, bootProfile: null });
      const { value, worker } = await inWorker(disk, `async ({ disk }) => {
        // (import "disk" "read" (func (param i64 i32 i32) (result i32)))
        // (import "env" "memory" (memory 2))
        // (func (export "read") (param i64 i32) (result i32)
        //   local.get 0  i32.const 64  local.get 1  call 0)
        const code = Uint8Array.from(
          ("0061736d01000000010e0260037e7f7f" +
           "017f60027e7f017f021b02046469736b0472656164000003656e76" +
          "066d656d6f727902000203020101070801047265616400010a0d010b00200041c000200110000b")
            .match(/../g), (byte) => parseInt(byte, 16));
        const memory = new WebAssembly.Memory({ initial: 2 });
        const read = (offset, place, length) => {
          try {
            disk.readSync(offset, new Uint8Array(memory.buffer, place, length));
            return 0;
          } catch (error) { return error.name === "OutOfRangeError" ? 22 : 5; }
        };
        const imports = { disk: { read }, env: { memory } };
        const { instance } = await WebAssembly.instantiate(code, imports);
        const core = instance.exports.read;
        const bytes = [];
        for (const [offset, length] of [[0n, 512], [1048575n, 70000], [3145728n, 100]]) {
          bytes.push([core(offset, length), [...new Uint8Array(memory.buffer, 64, length)]]);
        }
        const far = core(2n ** 40n + 5n, 512);
        // Two halves of an offset, and a list of places.
        const [low, high] = [2 ** 20 + 3, 0];
        const places = [[10, 5], [100, 3000], [5000, 1]];
        const views = places.map(([place, length]) => new Uint8Array(memory.buffer, place, length));
        disk.readSync((BigInt(high) << 32n) | BigInt(low), views);
        return { bytes, far, scattered: views.flatMap((view) => [...view]) };
      }`);
      worker.terminate();
      await disk.close();
      return value;
    """)
    places = [(0, 512), (1048575, 70000), (3145728, 100)]
    for (offset, length), (result, found) in zip(places, seen["bytes"], strict=True):
        assert result == 0
        assert bytes(found) == IMAGE.read(offset, length)
    assert seen["far"] == 22
    assert bytes(seen["scattered"]) == IMAGE.read(2**20 + 3, 3006)


@BOTH
def test_a_read_can_be_aborted_and_who_waits_hears_that_the_worker_has_ended(
    run: Any, images: ImageServer
) -> None:
    run("""
      const disk = await openDisk({ url, allowRemote: true, bootProfile: null, readAhead: false });
      globalThis.test = { disk };
    """)
    images.fail_next(Behaviour(stall=True))
    run("""
      test.controller = new AbortController();
      test.reading = failure(() => test.disk.read(2 ** 21, 10, { signal: test.controller.signal }));
    """)
    images.wait_for(lambda state: state.in_flight == 1)
    assert run("test.controller.abort(); return test.reading;")["name"] == "AbortError"
    images.wait_for(lambda state: state.in_flight == 0)
    images.fail_next(Behaviour(stall=True))
    run("""
      test.waiting = inWorker(test.disk, `async ({ disk }) => [
        await failure(() => disk.readSync(2 ** 21, new Uint8Array(10))),
        await failure(() => disk.readSync(2 ** 21, new Uint8Array(10))),
      ]`);
    """)
    images.wait_for(lambda state: state.in_flight == 1)
    found = run("connect().terminate(); return (await test.waiting).value;")
    assert [failure["name"] for failure in found] == ["WorkerError"] * 2


# A worker and a page that write and read: what each of them found.
WRITING = """
  await library.create("written", { size: 2 ** 21 });
  const disk = await openDisk({ image: "written", overlay: "o" });
  const pattern = (length, seed) => Uint8Array.from({ length }, (_, at) => at * seed + (at >> 8));
  const same = (one, other) => one.length === other.length && one.every((b, at) => b === other[at]);
  const long = pattern(700_001, 7);
  await disk.write(5, pattern(1000, 3));
  const first = same(await disk.read(5, 1000), pattern(1000, 3));
  const { value, worker } = await inWorker(disk, `async ({ disk, long, mayWait }) => {
    const target = new Uint8Array(long.length);
    if (mayWait) {
      disk.writeSync(1001, [long.subarray(0, 3), long.subarray(3)]);
      disk.flushSync();
      disk.readSync(1001, target);
    } else {
      await disk.write(1001, long);
      await disk.flush();
      target.set(await disk.read(1001, long.length));
    }
    return {
      target,
      here: disk.tryRead(1001, new Uint8Array(10)),
      written: disk.tryWrite(0, new Uint8Array(1)),
      still: await failure(() => disk.readSync(0, new Uint8Array(1))),
    };
  }`, { long, mayWait });
  const second = same(value.target, long) && same(await disk.read(1001, long.length), long);
  await disk.discard(1001, 3);
  const third = same(await disk.read(1000, 5), [pattern(1000, 3)[995], 0, 0, 0, long[3]]);
  await disk.close();
  worker.terminate();
  return { ...value, target: null, exact: [first, second, third] };
"""


@BOTH
def test_a_long_write_is_done_from_a_worker_at_once(run: Any) -> None:
    seen = run(f"const mayWait = true; {WRITING}")
    assert seen["exact"] == [True] * 3
    assert seen["still"] is None


def test_without_isolation_all_but_the_synchronous_calls_goes_over_messages(
    plain_page: Page, plain_site: SiteServer, images: ImageServer
) -> None:
    run = runner(plain_page, plain_site, images)
    seen = run(f"const mayWait = globalThis.crossOriginIsolated; {WRITING}")
    assert seen["exact"] == [True] * 3
    assert (seen["here"], seen["written"]) == (False, False)
    assert seen["still"]["name"] == "SyncUnavailableError"


@pytest.fixture
def without_wait_async(site_folder: Path, tmp_path: Path) -> Path:
    """The site in a browser that cannot wait without standing still."""
    for entry in site_folder.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "favicon.ico").write_bytes(b"")
    (tmp_path / "forget.mjs").write_text("delete Atomics.waitAsync;")
    (tmp_path / "old.mjs").write_text('import "./forget.mjs";\nimport "./worker.mjs";\n')
    return tmp_path


def test_a_browser_without_wait_async_has_the_same_disk(
    context: BrowserContext, without_wait_async: Path, images: ImageServer
) -> None:
    with SiteServer(without_wait_async, isolated=True, headers=page_headers()) as old:
        run = runner(context.new_page(), old, images, path="panel-first-view.json")
        seen = run(f"""
          delete Atomics.waitAsync;
          connect({{ workerUrl: new URL("old.mjs", site) }});
          const mayWait = true;
          {WRITING}
        """)
        context.pages[-1].close()
    assert seen["exact"] == [True] * 3
    assert seen["still"] is None
