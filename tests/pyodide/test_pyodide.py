"""The tests in this folder really run in Pyodide, and fail when they should."""

import pytest
from pytest_pyodide import run_in_pyodide


@run_in_pyodide
async def test_runs_isolated_in_pyodides_python_on_the_page(selenium):
    import sys

    import js

    assert sys.platform == "emscripten"
    assert sys.version_info[:2] == (3, 14)
    assert js.crossOriginIsolated
    assert hasattr(js, "document")


@run_in_pyodide
async def test_workers_have_opfs_with_sync_access_handles(selenium_worker):
    import js

    assert not hasattr(js, "document")
    root = await js.navigator.storage.getDirectory()
    file = await root.getFileHandle("probe", create=True)
    handle = await file.createSyncAccessHandle()
    try:
        data = js.Uint8Array.new([1, 2, 3])
        assert handle.write(data) == 3
        assert handle.getSize() == 3
    finally:
        handle.close()


@run_in_pyodide
async def test_this_package_is_there(selenium_worker):
    from aero_browser_disk.errors import DiskError, EmptyImageError

    assert issubclass(EmptyImageError, DiskError)


@run_in_pyodide
async def fail_in_pyodide(selenium):
    found = 2
    assert found == 1, "as it should"


@run_in_pyodide
async def raise_in_pyodide(selenium):
    import js

    js.JSON.parse("{")


def test_a_failing_assertion_fails_the_test(selenium_worker):
    with pytest.raises(AssertionError, match="as it should"):
        fail_in_pyodide(selenium_worker)


def test_an_exception_of_javascript_fails_the_test(selenium_worker):
    from pyodide.ffi import JsException

    with pytest.raises(JsException, match="JSON"):
        raise_in_pyodide(selenium_worker)
