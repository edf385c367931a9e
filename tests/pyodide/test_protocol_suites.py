"""The browser's HTTP client, files and locks pass the suites that every implementation passes."""

from __future__ import annotations

import re
import socket

import pytest
from pytest_pyodide import run_in_pyodide

from aero_browser_disk.testing.http_suite import HTTP_SUITE_IMAGES
from aero_browser_disk.testing.image_server import ImageServer
from lib.project import WEB_LIB


@run_in_pyodide
async def bring_bridge(selenium_worker, source):
    import sys

    import js
    from pyodide.code import run_js
    from pyodide.ffi import to_js

    from aero_browser_disk.platform.browser import interop

    module_type = to_js({"type": "text/javascript"}, dict_converter=js.Object.fromEntries)
    url = js.URL.createObjectURL(js.Blob.new(to_js([source]), module_type))
    sys.modules["aero_browser_disk_bridge"] = await run_js("(url) => import(url)")(url)
    interop.bridge.cache_clear()
    assert interop.bridge() is not None


@run_in_pyodide
async def take_bridge_away(selenium_worker):
    import sys

    from aero_browser_disk.platform.browser import interop

    sys.modules.pop("aero_browser_disk_bridge", None)
    interop.bridge.cache_clear()
    assert interop.bridge() is None


@pytest.fixture(params=[False, True], ids=["plain", "bridged"])
def _bridge(request, selenium_worker):
    """Without our bridge to JavaScript, as in any other Pyodide, and with it."""
    if request.param:
        # In one module with what it imports: a Blob has no address that others are relative to.
        early = (WEB_LIB / "early-requests.mjs").read_text().replace("\nexport ", "\n")
        source = (WEB_LIB / "python-bridge.mjs").read_text()
        source = re.sub(r'^(export|import) .* from ".*";$', "", source, flags=re.MULTILINE)
        taken = f"const fetchOrTake = (() => {{ {early}\nreturn fetchOrTake; }})();\n"
        source = taken + source
        bring_bridge(selenium_worker, source)
    yield
    take_bridge_away(selenium_worker)


@run_in_pyodide
async def check_http(selenium_worker, origin, other_origin, refusing_origin):
    import js
    from pyodide.ffi import to_js

    from aero_browser_disk.platform.browser import FetchHttp, interop
    from aero_browser_disk.testing.http_suite import CrossOriginHttpSuite
    from aero_browser_disk.testing.suite_runner import check_suite

    class FetchSuite(CrossOriginHttpSuite):
        async def make(self):
            return FetchHttp()

        async def send(self, method, url, body):
            options = to_js({"method": method, "body": body, "cache": "no-store"})
            if body is None:
                options = to_js({"method": method, "cache": "no-store"})
            response = await js.fetch(url, js.Object.fromEntries(js.Object.entries(options)))
            return await response.text()

    FetchSuite.origin = origin
    FetchSuite.other_origin = other_origin
    FetchSuite.refusing_origin = refusing_origin
    assert FetchHttp().may_push() == (interop.bridge() is not None)
    await check_suite(FetchSuite)


@run_in_pyodide
async def check_storage(selenium_worker):
    import js

    from aero_browser_disk.platform.browser import ROOT, OpfsStorage
    from aero_browser_disk.testing.storage_suite import StorageSuite
    from aero_browser_disk.testing.suite_runner import check_suite

    async def entry(path, *, create):
        """A file of the storage, reached without it."""
        folder = await js.navigator.storage.getDirectory()
        *folders, name = f"{ROOT}/{path}".split("/")
        for part in folders:
            folder = await folder.getDirectoryHandle(part, create=create)
        return await folder.getFileHandle(name, create=create)

    class OpfsSuite(StorageSuite):
        far_offset = 50_000_000  # files are not sparse for the quota

        async def make(self):
            storage = await OpfsStorage.connect()
            for name in await storage.list(""):
                await storage.remove(name)
            return storage

        async def raw_read(self, storage, path):
            file = await (await entry(path, create=False)).getFile()
            return (await file.arrayBuffer()).to_bytes()

        async def raw_write(self, storage, path, data):
            stream = await (await entry(path, create=True)).createWritable()
            await stream.write(js.Uint8Array.new(list(data)))
            await stream.close()

    await check_suite(OpfsSuite)


@run_in_pyodide
async def check_locks(selenium_worker):
    from aero_browser_disk.platform.browser.tabs import WebLocks
    from aero_browser_disk.testing.locks_suite import LocksSuite
    from aero_browser_disk.testing.suite_runner import check_suite

    class WebLocksSuite(LocksSuite):
        async def make(self):
            return WebLocks()

    await check_suite(WebLocksSuite)


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("_bridge")
def test_http(selenium_worker):
    with ImageServer(HTTP_SUITE_IMAGES) as server, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        refusing = f"http://127.0.0.1:{bound.getsockname()[1]}"
        other = f"http://localhost:{server.port}"
        check_http(selenium_worker, server.origin, other, refusing)


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("_bridge")
def test_storage(selenium_worker):
    check_storage(selenium_worker)


def test_locks(selenium_worker):
    check_locks(selenium_worker)
