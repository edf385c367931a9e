"""The requests that JavaScript sends while Python starts; most cases are in
early_requests.test.mjs."""

from __future__ import annotations

import inspect
import json
import subprocess
from pathlib import Path

from aero_browser_disk.formats.prepared.manifest import MAX_BUNDLE, MAX_MANIFEST
from aero_browser_disk.platform.browser.interop import ROOT
from aero_browser_disk.remote.access import ImageAddress
from aero_browser_disk.streaming.opening import cache_path
from aero_browser_disk.streaming.prefetch import BundleReplay
from aero_browser_disk.streaming.remote_options import DEFAULT_BLOCK_SIZE
from aero_browser_disk.worker.disk_options import read_options
from lib.project import WEB_LIB
from support.node_cases import run_cases

ADDRESSES = [
    "https://images.example/disk.img",
    "http://127.0.0.1:8080/a/manifest.json?key=%20a%2Fb&c",
    "https://[2001:db8::1]/%C3%A4.img",
    "https://xn--bcher-kva.example/a//b/;c=d",
]

OPTIONS: dict[str, object] = {
    "allowRemote": True,
    "readAhead": True,
    "writeBase": True,
    "cacheLimitBytes": 1,
    "blockSize": 1,
    "concurrency": 1,
    "maxRequestBytes": 1,
    "cacheKey": "",
    "credentials": "",
    "format": "",
    "digestsSha256": "",
    "digestsKey": "",
    "headers": {},
    "retry": {},
    "expiresAt": 1,
    "timeoutS": 1,
    "overlay": ["a"],
    "bootProfile": "auto",
    "renew": lambda: None,
}


def test_they_are_those_that_python_sends_first() -> None:
    cases = Path(__file__).with_name("early_requests.test.mjs")
    run_cases(cases)


def test_both_sides_know_the_same_folders_names_and_numbers() -> None:
    module = json.dumps((WEB_LIB / "early-requests.mjs").as_uri())
    script = f"""
      import * as early from {module};
      const folders = await Promise.all({json.dumps(ADDRESSES)}.map(early.cacheFolderOf));
      console.log(JSON.stringify({{ ...early, folders, OPTIONS: [...early.OPTIONS] }}));
    """
    run = ["node", "--input-type=module", "-e", script]
    found = json.loads(subprocess.run(run, capture_output=True, check=True).stdout)
    for address, folder in zip(ADDRESSES, found.pop("folders"), strict=True):
        assert ImageAddress.parse(address).url == address
        assert "/".join(folder) == f"{ROOT}/{cache_path(ImageAddress.parse(address), None)}"
    assert found.pop("MAX_REQUESTS") == (
        inspect.signature(BundleReplay).parameters["max_requests"].default
    )
    assert set(found.pop("OPTIONS")) == {"url", *OPTIONS}
    read_options(OPTIONS)  # raises for one that it does not know
    assert found == {
        "DEFAULT_BLOCK_SIZE": DEFAULT_BLOCK_SIZE,
        "MAX_BUNDLE": MAX_BUNDLE,
        "MAX_MANIFEST": MAX_MANIFEST,
    }
