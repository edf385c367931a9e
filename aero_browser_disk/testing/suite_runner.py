"""Runs a suite without pytest, where pytest cannot collect tests: in a browser's worker.

In a test of pytest-pyodide:

    @run_in_pyodide
    async def test_storage(selenium_worker):
        from aero_browser_disk.testing.storage_suite import StorageSuite
        from aero_browser_disk.testing.suite_runner import check_suite

        class OpfsSuite(StorageSuite): ...

        await check_suite(OpfsSuite)
"""

from __future__ import annotations

import asyncio
import traceback

Result = tuple[str, str | None]
"""A check's name and, if it failed, the traceback."""


def check_names(suite: type) -> list[str]:
    """The names of a suite's checks, in the order they are written, inherited ones first."""
    names: dict[str, None] = {}
    for kind in reversed(suite.__mro__):
        names.update(dict.fromkeys(name for name in vars(kind) if name.startswith("test_")))
    return [name for name in names if getattr(suite, name) is not None]


async def run_suite(suite: type, timeout_s: float = 30.0) -> list[Result]:
    """Runs each check of a suite on an instance of its own and returns how each went.

    A check fails when it raises, or takes longer than `timeout_s`. A subclass skips a check by
    setting its name to None.
    """
    results: list[Result] = []
    for name in check_names(suite):
        try:
            async with asyncio.timeout(timeout_s):
                await getattr(suite(), name)()
        except Exception:  # noqa: BLE001 - it is the result
            results.append((name, traceback.format_exc()))
        else:
            results.append((name, None))
    return results


async def check_suite(suite: type, timeout_s: float = 30.0) -> None:
    """`run_suite`, then raises AssertionError with every failed check's traceback, if any."""
    results = await run_suite(suite, timeout_s)
    failures = [f"── {name} ──\n{error}" for name, error in results if error is not None]
    if failures or not results:
        raise AssertionError(
            f"{suite.__name__}: {len(failures)} of {len(results)} checks failed\n"
            + "\n".join(failures)
        )
