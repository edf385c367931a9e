"""Local images in headless Chromium: created, imported, written, and intact after a kill."""

from __future__ import annotations

import hashlib
import random
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserType, Page, sync_playwright

from lib import browsers

MIB = 1 << 20
IMPORTED = 16 * MIB
BLANK = 1 << 30
WRITES = ((1000, b"written before the kill"), (9 * MIB + 17, bytes(range(256)) * 64))
START_TIMEOUT_MS = 120_000

PRELUDE = """async (values) => {
  const { library, openDisk } = await import("./aero-disk.mjs");
  const bytes = (hex) => Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
  const digest = async (data) => Array.from(
    new Uint8Array(await crypto.subtle.digest("SHA-256", data)),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("");
"""
WRITE = """
  await library.create("blank", { size: values.blank });
  const [file] = document.querySelector("#check-file").files;
  await library.import(file, { name: "imported" });
  globalThis.disks = [];
  for (const image of ["blank", "imported"]) {
    const disk = await openDisk({ image });
    globalThis.disks.push(disk);
    for (const [offset, data] of values.writes) await disk.write(offset, bytes(data));
    await disk.flush();
  }
"""
READ = """
  const { blob } = await library.export("imported", { to: "blob" });
  const disk = await openDisk({ image: "blank" });
  const found = [];
  for (const [offset, data] of values.writes) {
    found.push(await digest(await disk.read(offset, data.length / 2)));
  }
  const entries = await library.list();
  const blank = entries.find(({ name }) => name === "blank");
  return { exported: await digest(await blob.arrayBuffer()), found, blank: blank.usedBytes };
"""


def check_library(site_url: str) -> dict[str, object]:
    """Creates and imports images, writes, kills Chromium, starts it again, reads and exports.

    `ok` is whether exactly the flushed bytes are there.
    """
    content = bytearray(random.Random(8).randbytes(IMPORTED))  # noqa: S311 - the same each time
    writes = [[offset, data.hex()] for offset, data in WRITES]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file, profile = Path(folder, "disk.img"), Path(folder, "profile")
        file.write_bytes(content)
        context = _open(playwright.chromium, profile)
        page = _visit(context.pages[0], site_url)
        page.set_input_files("#check-file", file)
        _run(page, WRITE, blank=BLANK, writes=writes)
        browsers.kill(browsers.processes(profile))
        browsers.close_killed(context)
        context = _open(playwright.chromium, profile)
        found = _run(_visit(context.pages[0], site_url), READ, writes=writes)
        context.close()
    for offset, data in WRITES:
        content[offset : offset + len(data)] = data
    kept = found["found"] == [hashlib.sha256(data).hexdigest() for _, data in WRITES]
    exact = found["exported"] == hashlib.sha256(content).hexdigest()
    return {
        "ok": kept and exact,
        "flushed_writes_kept": kept,
        "export_is_exact": exact,
        "bytes_imported": IMPORTED,
        "room_of_1_gib_blank": found["blank"],
    }


def _open(chromium: BrowserType, profile: Path) -> Any:
    context = chromium.launch_persistent_context(profile, **browsers.launch_options(chromium))
    context.set_default_timeout(START_TIMEOUT_MS)
    return context


def _visit(page: Page, site_url: str) -> Page:
    page.goto(site_url)
    page.evaluate(
        """() => document.body.append(
          Object.assign(document.createElement("input"), { type: "file", id: "check-file" }))"""
    )
    return page


def _run(page: Page, body: str, **values: object) -> Any:
    return page.evaluate(f"{PRELUDE}{body}}}", values)
