"""A browser checks signatures as CPython does: the table of tests/unit, read by WebCrypto."""

from __future__ import annotations

from pytest_pyodide import run_in_pyodide

from support.signatures import cases


@run_in_pyodide
async def verified(selenium_worker, given):
    from aero_browser_disk.platform.signatures import verify_ed25519

    return [await verify_ed25519(*map(bytes.fromhex, case)) for case in given]


def test_signatures_are_checked_as_in_cpython(selenium_worker):
    given = [[part.hex() for part in case[:3]] for case in cases()]
    assert verified(selenium_worker, given) == [is_right for *_, is_right in cases()]
