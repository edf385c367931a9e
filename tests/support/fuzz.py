"""How long tests go on that look for what nobody thought of: `scripts/test --fuzz N` says it."""

from __future__ import annotations

import os

import pytest

fuzz = pytest.mark.fuzz
"""Marks what `scripts/test --fuzz N` runs; an ordinary run tries a few examples of it."""


def rounds(few: int) -> int:
    """How many examples or rounds to try: `few`, or what --fuzz asks for."""
    return int(os.environ.get("AERO_FUZZ", few))
