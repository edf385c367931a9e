"""How fast work goes on, as the page says it; the cases are in rate.test.mjs."""

from __future__ import annotations

from pathlib import Path

from support.node_cases import run_cases


def test_the_rate_and_the_time_left() -> None:
    cases = Path(__file__).with_name("rate.test.mjs")
    run_cases(cases)
