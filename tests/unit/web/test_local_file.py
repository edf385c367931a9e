"""What JavaScript makes of a file of the user; the cases are in local_file.test.mjs."""

from __future__ import annotations

from pathlib import Path

from support.node_cases import run_cases


def test_a_file_is_taken_or_an_error_says_why_not() -> None:
    cases = Path(__file__).with_name("local_file.test.mjs")
    run_cases(cases)
