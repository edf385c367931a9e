"""Clients that take their time, with a request or with its answer, on uvicorn.

Of granian `test_limits` asks what it promises.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Final

import pytest

from aero_browser_disk.service.image_store import LENT_LENGTH

from .conftest import PATIENCE_S
from .fed_service import LONG_AGO, Connection, Running, asked, put

LONG: Final = random.Random(9).randbytes(3 * LENT_LENGTH + 17)
WHOLE: Final = f"0-{LENT_LENGTH - 1}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path, LONG, LONG_AGO)
    return tmp_path


@pytest.fixture
def running(folder: Path) -> Running:
    return Running(folder)


def grow_impatient(connection: Connection) -> None:
    """Has what begins from now on end soon."""
    connection.protocol.timeout_keep_alive = 0.1  # type: ignore[assignment]


async def ended(connection: Connection) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await connection.protocol.over.wait()


async def test_a_connection_that_says_nothing_ends(folder: Path) -> None:
    async with Running(folder, keep_alive_s=0.1).connected() as connection:
        await ended(connection)


async def test_headers_that_do_not_come_end_it(running: Running) -> None:
    request = asked("0-9")
    async with running.connected() as connection:
        # Each request has its own time, one that is like the one before too.
        for cut in (1, 20, len(request) - 1):
            connection.feed(request[:cut])
            assert connection.protocol._headers_timer is not None
            connection.feed(request[cut:])
            assert connection.protocol._headers_timer is None
            assert (await connection.answer())[1] == LONG[:10]
        grow_impatient(connection)
        connection.feed(request[:20])
        await ended(connection)


async def test_headers_behind_an_answer_under_way_have_time(running: Running) -> None:
    async with running.connected(send_buffer=64 * 1024) as connection:
        await connection.ask(asked("0-9"))
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        connection.feed(asked(WHOLE), asked("5-6")[:20])
        # As the timer would.
        connection.protocol._miss_headers()
        connection.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert (await connection.answer())[1] == LONG[:LENT_LENGTH]
        connection.feed(asked("5-6")[20:])
        assert (await connection.answer())[1] == LONG[5:7]


@pytest.mark.parametrize("span", [WHOLE, f"0-{LENT_LENGTH + 5}", "0-"])
async def test_an_answer_that_nobody_takes_ends(running: Running, span: str) -> None:
    async with running.connected(send_buffer=64 * 1024) as connection:
        await connection.ask(asked("0-9"))
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        grow_impatient(connection)
        connection.feed(asked(span))
        await ended(connection)
    async with running.connected() as another:
        assert (await another.ask(asked("0-9")))[1] == LONG[:10]
    stalled = running.lines()[1]
    assert stalled["range"] == f"bytes={span}"
    assert 0 < stalled["bytes"] < LENT_LENGTH
