"""How tests ask the worker: plain values in, plain responses out."""

from __future__ import annotations

import pytest


@pytest.fixture
def ask(worker):
    """Calls an operation of the test's `worker`, which must succeed; returns its value."""

    async def one(operation, **values):
        response = await worker.call(operation, values)
        assert "error" not in response, response
        return response["value"]

    return one
