"""Runs a coroutine where a test cannot be one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


def run(coroutine: Coroutine[object, object, T]) -> T:
    """Its result, from an event loop of its own."""
    return asyncio.run(coroutine)
