"""An overlay is written into the user's file that it lies over: all of it, or nothing."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from aero_browser_disk.testing.site_server import SiteServer

BOTH = pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)

# The handle of a private file needs no dialog; it is a FileSystemFileHandle like any other.
PRELUDE = """async () => {
  const { library, openDisk } = await import("./aero-disk.mjs");
  const SIZE = 3 * 2 ** 20 + 512;
  const root = await navigator.storage.getDirectory();
  const handle = await root.getFileHandle("private.img", { create: true });
  const put = async (bytes) => {
    const { lastModified } = await handle.getFile();
    do {
      const file = await handle.createWritable();
      await file.write(bytes);
      await file.close();
    } while ((await handle.getFile()).lastModified === lastModified);
  };
  const content = async () => new Uint8Array(await (await handle.getFile()).arrayBuffer());
  const same = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);
  const nameOf = (work) => work.then(() => "nothing", ({ name, message }) => `${name}: ${message}`);
  const open = (overlay, file = handle) => openDisk({ file, overlay });
  const expected = Uint8Array.from({ length: SIZE }, (_, at) => (at * 7 + (at >> 9)) & 255);
  const write = async (disk, offset, length, byte) => {
    const bytes = new Uint8Array(length).fill(byte);
    await disk.write(offset, bytes);
    return bytes;
  };
  await put(expected);
"""


@BOTH
def test_a_commit_writes_the_file_and_empties_the_overlay(page: Page, site: SiteServer) -> None:
    page.goto(f"{site.url}manifest.json")
    seen = page.evaluate(
        PRELUDE
        + """
      const before = expected.slice();
      const first = await open("work");
      // Across sectors, more than one chunk, the end, and what is discarded.
      const writes = [[1000, 3000, 1], [2 ** 20 - 5, 2 ** 20 + 9, 2], [SIZE - 512, 512, 3]];
      for (const [offset, length, byte] of writes) {
        expected.set(await write(first, offset, length, byte), offset);
      }
      await first.discard(512, 512);
      expected.fill(0, 512, 1024);
      const untouched = same(await content(), before);
      await first.commitToFile();
      const committed = same(await content(), expected);
      const closed = await nameOf(first.read(0, 512));
      const [entry] = (await library.list()).filter(({ name }) => name === "work");

      // The same overlay again, over the file as it is now.
      const second = await open("work");
      const read = same(await second.read(0, SIZE), expected);
      expected.set(await write(second, 0, 512, 9), 0);
      await second.commitToFile();
      const again = same(await content(), expected);
      return { untouched, committed, closed, kind: entry.kind, read, again };
    }"""
    )
    assert seen.pop("closed").startswith("DiskClosedError")
    assert seen == {
        "untouched": True,
        "committed": True,
        "kind": "overlay",
        "read": True,
        "again": True,
    }
    page.close()


@BOTH
def test_a_commit_that_is_refused_leaves_file_and_overlay(page: Page, site: SiteServer) -> None:
    page.goto(f"{site.url}manifest.json")
    seen = page.evaluate(
        PRELUDE
        + """
      const seen = {};
      const plain = await openDisk({ file: handle });
      seen.plain = await nameOf(plain.commitToFile());
      await plain.close();
      const byFile = await open("by file", await handle.getFile());
      seen.file = await nameOf(byFile.commitToFile());
      await byFile.close();
      await library.remove((await library.list()).find(({ name }) => name === "by file").id);

      // The machine writes while the file is written: the moment is chosen, all else is real.
      const disk = await open("work");
      await write(disk, 0, 512, 1);
      const { createWritable } = FileSystemFileHandle.prototype;
      FileSystemFileHandle.prototype.createWritable = async function (options) {
        await write(disk, 512, 512, 2);
        return createWritable.call(this, options);
      };
      seen.written = await nameOf(disk.commitToFile());
      FileSystemFileHandle.prototype.createWritable = createWritable;

      // Another overlay would be of no use.
      const other = await open("other");
      await write(other, 0, 512, 5);
      await other.close();
      seen.others = await nameOf(disk.commitToFile());
      seen.same = same(await content(), expected);
      await disk.commitToFile({ dropOverlays: true });
      seen.bytes = [...(await content()).subarray(510, 514)];
      seen.other = await nameOf(open("other"));

      // Somebody else has written the file.
      const late = await open("late");
      await write(late, 0, 512, 7);
      await put(expected);
      seen.changed = await nameOf(late.commitToFile({ dropOverlays: true }));
      seen.still = same(await content(), expected);
      await late.close();
      return seen;
    }"""
    )
    assert seen.pop("plain").startswith("InvalidOptionError")
    assert seen.pop("file").startswith("InvalidOptionError")
    assert "private.img cannot be written to: the disk was written to" in seen.pop("written")
    assert seen.pop("others").startswith("HasOverlaysError")
    assert seen.pop("other").startswith("BaseChangedError")
    assert "it was changed since it was opened" in seen.pop("changed")
    assert seen == {"same": True, "bytes": [1, 1, 2, 2], "still": True}
    page.close()
