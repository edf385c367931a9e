"""A program built by Emscripten over a streamed disk: a second Python, which nobody here wrote."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from support import file_images
from support.readme import blocks

ROWS = 20_000
SIZE = 20 << 20


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk with an ext4 partition that has a database and a table."""
    folder = tmp_path_factory.mktemp("emscripten")
    tree = folder / "tree"
    (tree / "data").mkdir(parents=True)
    with sqlite3.connect(tree / "data" / "words.db") as database:
        database.execute("create table words (number integer primary key, word text)")
        rows = ((number, f"word {number * 7919}") for number in range(ROWS))
        database.executemany("insert into words values (?, ?)", rows)
    database.close()
    (tree / "data" / "table.csv").write_text('name,size\n"a, b",1\nc,2\n')
    (tree / "etc").mkdir()
    (tree / "etc" / "fstab").write_text("proc /proc proc defaults 0 0\n")
    (tree / "link.csv").symlink_to("/data/table.csv")
    volume = file_images.make_ext(folder / "ext4", tree, "ext4", size=16 << 20)
    script = "label: dos\nstart=2048, size=32768, type=83\n"
    return file_images.partition(folder / "disk.img", script, SIZE, {2048: volume})


@pytest.fixture
def images(image: Path) -> Iterator[ImageServer]:
    with ImageServer({"disk.img": image}) as server:
        yield server


# The guide's sample starts Python in a worker and mounts a disk there.
IMPORTS, SAMPLE = next(
    re.sub(r'from "\./', 'from "${site}', block.text).split("\n\n", 1)
    for block in blocks("js")
    if "./emscripten.mjs" in block.text
)
# Python runs in a worker, with disks mounted at /streamed and /written; `ask` runs code there.
START = """async ({ site, url }) => {
  const { openDisk } = await import(`${site}aero-disk.mjs`);
  const remote = {
    url, allowRemote: true, readAhead: false, bootProfile: null, retry: { tries: 1 },
  };
  const streamed = await openDisk(remote);
  const written = await openDisk({ ...remote, overlay: "program" });
  const code = `
    IMPORTS
    const errors = [];
    const started = new Promise((resolve) => {
      self.onmessage = ({ data }) => resolve(data);
    });
    self.postMessage({ up: true });
    const { port, ports } = await started;
    SAMPLE
    for (const [folder, port] of Object.entries(ports)) {
      const onError = (error) => errors.push(error.name);
      mountDisk(python.FS, await attachDisk(port), folder, { files: true, onError });
    }
    self.onmessage = ({ data }) => {
      try {
        const found = python.runPython(data);
        self.postMessage({ found, errors: errors.splice(0) });
      } catch (error) {
        self.postMessage({ failure: String(error) });
      }
    };
    self.postMessage({ ready: true });
  `;
  const script = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const worker = new Worker(script, { type: "module" });
  const next = () => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      if (data.failure) reject(new Error(data.failure));
      else resolve(data);
    };
    worker.onerror = ({ message }) => reject(new Error(message));
  });
  await next();
  const ports = { "/streamed": streamed.port(), "/written": written.port() };
  const ready = next();
  const port = streamed.port();
  worker.postMessage({ port, ports }, [port, ...Object.values(ports)]);
  await ready;
  globalThis.program = { streamed, written, worker };
  globalThis.ask = (code) => {
    const response = next();
    worker.postMessage(code);
    return response;
  };
}""".replace("IMPORTS", IMPORTS).replace("SAMPLE", SAMPLE)
HEADER = """
import errno, hashlib, json, os
def fails(work):
    try:
        work()
    except OSError as error:
        return errno.errorcode[error.errno]
"""
READS = """
import csv, sqlite3
data = "/streamed/files/1/data"
database = sqlite3.connect(f"file:{data}/words.db?mode=ro", uri=True)
(word,) = database.execute("select word from words where number = 4321").fetchone()
(count,) = database.execute("select count(*) from words").fetchone()
database.close()
with open("/streamed/files/1/link.csv", newline="") as file:
    rows = list(csv.reader(file))
with open("/streamed/disk.img", "rb") as file:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
refused = fails(lambda: open(data + "/new", "w"))
json.dumps([word, count, rows, digest, sorted(os.listdir(data)), refused])
"""
# The first read of these bytes, so that the server is asked.
READS_ONCE = """
with open("/written/disk.img", "rb", buffering=0) as file:
    file.seek(19 << 20)
    target = bytearray(b"unchanged")
    found = [fails(lambda: file.readinto(target)), target.decode()]
json.dumps(found)
"""
WRITES = """
with open("/written/disk.img", "r+b", buffering=0) as file:
    file.seek((19 << 20) + 5)
    written = [file.write(b"written by a program")]
    os.fsync(file.fileno())
    file.seek(19 << 20)
    written.append(file.read(30).hex())
written += [fails(lambda: open("/streamed/disk.img", "r+b")), os.stat("/written/disk.img").st_size]
json.dumps(written)
"""


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_sqlite_and_csv_read_files_of_a_streamed_ext4_partition(
    page: Page, site: SiteServer, images: ImageServer, image: Path
) -> None:
    content = image.read_bytes()
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    page.goto(f"{site.url}manifest.json")
    page.evaluate(START, {"site": site.url, "url": images.url("disk.img")})

    def ask(code: str) -> tuple[Any, list[str]]:
        seen = page.evaluate("(code) => ask(code)", HEADER + code)
        return json.loads(seen["found"]), seen["errors"]

    images.image("disk.img").behaviour = Behaviour(content_range="shifted")
    assert ask(READS_ONCE) == (["EIO", "unchanged"], ["InvalidResponseError"])
    images.image("disk.img").behaviour = Behaviour()

    word, count, rows, digest, names, refused = ask(READS)[0]
    assert (word, count) == (f"word {4321 * 7919}", ROWS)
    assert rows == [["name", "size"], ["a, b", "1"], ["c", "2"]]
    assert digest == hashlib.sha256(content).hexdigest()
    assert names == ["table.csv", "words.db"]
    assert refused == "EROFS"

    (count, after, refused, size), errors = ask(WRITES)
    expected = bytearray(content[19 << 20 :][:30])
    expected[5:25] = b"written by a program"
    assert (count, bytes.fromhex(after), refused, size) == (20, bytes(expected), "EROFS", SIZE)
    assert errors == []
    # Another thread sees it, and what ends after an fsync has it when it is opened again.
    seen = page.evaluate("""async () => {
      const before = await program.written.read(19 << 20, 30);
      program.worker.terminate();
      await program.written.close();
      await program.streamed.close();
      return [...before];
    }""")
    assert bytes(seen) == bytes(expected)
