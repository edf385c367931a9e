"""The bytes counted while Python is downloaded; the cases are in start_progress.test.mjs."""

from __future__ import annotations

from pathlib import Path

from support.node_cases import run_cases


def test_what_is_downloaded_is_counted() -> None:
    cases = Path(__file__).with_name("start_progress.test.mjs")
    run_cases(cases)
