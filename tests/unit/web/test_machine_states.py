"""Under which name a machine is saved; the cases are in machine_states.test.mjs."""

from __future__ import annotations

import json
from pathlib import Path

from aero_browser_disk import open_disk
from aero_browser_disk.library.library import Library
from support.node_cases import run_cases

DISKS = {
    "a local image": {"image": "disk", "write_base": True},
    "an overlay over it": {"image": "disk", "overlay": "one"},
    "an overlay over that": {"image": "disk", "overlay": ["one", "two"]},
    "an overlay over an image at an address": {"overlay": "work", "allow_remote": True},
}


async def test_a_written_disk_keeps_its_saved_machine(platform, server):
    await Library(platform).import_bytes(bytes(1 << 20), "disk")
    versions = {}
    for name, given in DISKS.items():
        url = None if "image" in given else server.url("disk.img")
        found = []
        for _ in range(3):
            async with open_disk(url, platform=platform, **given) as disk:
                found.append(disk.info.version)
                await disk.write(0, b"\1" * 512)
                await disk.flush()
        versions[name] = found
    cases = Path(__file__).with_name("machine_states.test.mjs")
    run_cases(cases, VERSIONS=json.dumps(versions))
