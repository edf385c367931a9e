"""The adapter for Emscripten under a real program; the cases are in the *.test.mjs beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.node_cases import run_cases


@pytest.mark.timeout(600)
@pytest.mark.parametrize("cases", ["adapter_suite", "emscripten", "sync_calls"])
def test_a_program_sees_the_disk_or_an_error(cases: str) -> None:
    path = Path(__file__).with_name(f"{cases}.test.mjs")
    run_cases(path, timeout_s=570)
