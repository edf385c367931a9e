"""Clients that take their time, with a request or with its answer, on uvicorn.

Of granian `test_limits` asks what it promises.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from aero_browser_disk.service.stores.image_store import LENT_LENGTH

from .conftest import PATIENCE_S
from .fed_service import LONG_AGO, Connection, Running, asked, put

LONG: Final = random.Random(9).randbytes(3 * LENT_LENGTH + 17)
CHANGED: Final = random.Random(10).randbytes(len(LONG))
WHOLE: Final = f"0-{LENT_LENGTH - 1}"
SEND_BUFFER: Final = 64 * 1024


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path, LONG, LONG_AGO)
    return tmp_path


@pytest.fixture
def running(folder: Path) -> Running:
    return Running(folder, metrics={"enabled": True, "token": "x" * 20})


def stop_reading(connection: Connection) -> None:
    connection.writer.transport.pause_reading()  # type: ignore[attr-defined]


def go_on_reading(connection: Connection) -> None:
    connection.writer.transport.resume_reading()  # type: ignore[attr-defined]


async def begun(connection: Connection) -> None:
    """Has a range of 1 MiB under way, of which most did not leave yet."""
    await connection.ask(asked("0-9"))
    stop_reading(connection)
    connection.feed(asked(WHOLE))
    assert (connection.protocol.parsed, connection.protocol.started) == (1, 0)
    assert not connection.protocol.cycle.response_complete
    # It may take longer than an idle connection is kept.
    assert connection.protocol.timeout_keep_alive_task is None


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what it waits for says nothing
            await asyncio.sleep(0)


def in_flight(running: Running) -> float:
    assert running.assembly.metrics is not None
    text = running.assembly.metrics.exposition().decode()
    return float(text.split("\naero_disk_requests_in_flight ")[1].split()[0])


@pytest.mark.parametrize("send_buffer", [None, SEND_BUFFER, 512 * 1024])
async def test_they_have_every_byte(running: Running, send_buffer: int | None) -> None:
    async with running.connected(send_buffer) as connection:
        await connection.ask(asked("0-9"))
        for start, length in ((0, LENT_LENGTH), (7, LENT_LENGTH), (5, 128 * 1024 + 1), (1, 2)):
            head, body = await connection.ask(asked(f"{start}-{start + length - 1}"))
            assert body == LONG[start : start + length]
            assert b"\r\ncontent-range: bytes %d-%d/" % (start, start + length - 1) in head
        assert connection.protocol.parsed == 1
        # Its end beyond that of the image, and one byte more than is lent.
        _, body = await connection.ask(asked(f"{len(LONG) - LENT_LENGTH}-{len(LONG) + 5}"))
        assert body == LONG[-LENT_LENGTH:]
        assert connection.protocol.started == 0
        _, body = await connection.ask(asked(f"0-{LENT_LENGTH}"))
        assert body == LONG[: LENT_LENGTH + 1]
        assert connection.protocol.started == 1
        assert connection.protocol.parsed == 1
    assert [line["bytes"] for line in running.lines()[1:4]] == [LENT_LENGTH] * 2 + [128 * 1024 + 1]
    assert running.state.total_requests == 7


async def test_a_slow_client_holds_up_nothing_but_its_own_next_requests(running: Running) -> None:
    async with running.connected(SEND_BUFFER) as connection:
        await begun(connection)
        # Hardly more is kept for it than what the kernel holds.
        assert connection.protocol.transport.get_write_buffer_size() <= 32 * 1024
        connection.feed(asked("5-6"), asked("7-8", "X: y"), asked(WHOLE))
        async with running.connected() as another:
            assert (await another.ask(asked("3-9")))[1] == LONG[3:10]
            assert in_flight(running) == 1
        assert [line["bytes"] for line in running.lines()] == [10, 7]
        go_on_reading(connection)
        for span in (slice(LENT_LENGTH), slice(5, 7), slice(7, 9), slice(LENT_LENGTH)):
            assert (await connection.answer())[1] == LONG[span]
        assert connection.protocol.parsed == 3
        for number in range(3):
            assert (await connection.ask(asked(f"{number}-9")))[1] == LONG[number:10]
        assert (await connection.ask(asked(WHOLE)))[1] == LONG[:LENT_LENGTH]
    assert in_flight(running) == 0
    lines = running.lines()[2:]
    lengths = [line["bytes"] for line in lines]
    assert lengths == [LENT_LENGTH, 2, 2, LENT_LENGTH, 10, 9, 8, LENT_LENGTH]
    assert {line["status"] for line in lines} == {206}
    assert len({line["request_id"] for line in lines}) == len(lines)


async def test_a_client_that_leaves(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    async with running.connected(SEND_BUFFER) as connection:
        await begun(connection)
        connection.writer.transport.abort()
        await until(lambda: len(running.lines()) == 2)
        assert in_flight(running) == 0
        assert running.lines()[-1]["range"] == f"bytes={WHOLE}"
        assert running.lines()[-1]["bytes"] < LENT_LENGTH
    # As asyncio does when it is written to all the same.
    assert "socket.send() raised exception" not in caplog.text
    async with running.connected() as another:
        assert (await another.ask(asked("0-9")))[1] == LONG[:10]


async def test_it_counts_as_in_flight(folder: Path) -> None:
    running = Running(folder, limits={"requests_in_flight": 1})
    async with running.connected(SEND_BUFFER) as connection, running.connected() as another:
        assert (await another.ask(asked("0-9")))[1] == LONG[:10]
        await begun(connection)
        for _ in range(2):
            assert (await another.ask(asked("0-9")))[0].startswith(b"HTTP/1.1 429 ")
        go_on_reading(connection)
        assert (await connection.answer())[1] == LONG[:LENT_LENGTH]
        assert (await another.ask(asked("0-9")))[1] == LONG[:10]


async def test_an_image_that_is_replaced_goes_on_as_it_was(running: Running, folder: Path) -> None:
    async with running.connected(SEND_BUFFER) as connection:
        await begun(connection)
        store: Any = running.assembly.store
        (file,) = store._store._files.values()
        put(folder, CHANGED, LONG_AGO + 1)
        async with running.connected() as another:
            assert (await another.ask(asked("0-9")))[1] == CHANGED[:10]
        go_on_reading(connection)
        assert (await connection.answer())[1] == LONG[:LENT_LENGTH]
        # Its file is closed then.
        await until(lambda: bool(file._descriptor == -1))
        assert (await connection.ask(asked(WHOLE)))[1] == CHANGED[:LENT_LENGTH]


async def test_an_image_that_is_written_in_place_ends_it(running: Running, folder: Path) -> None:
    async with running.connected(SEND_BUFFER) as connection:
        await begun(connection)
        with (folder / "disk.img").open("r+b") as file:
            file.write(CHANGED)
        os.utime(folder / "disk.img", (LONG_AGO + 1, LONG_AGO + 1))
        go_on_reading(connection)
        async with asyncio.timeout(PATIENCE_S):
            sent = await connection.reader.read()
    body = sent.partition(b"\r\n\r\n")[2]
    assert len(body) < LENT_LENGTH
    assert body == LONG[: len(body)]
    assert running.lines()[-1]["cut"] == "the image changed"
    assert running.lines()[-1]["bytes"] == len(body)


async def test_a_server_that_shuts_down_finishes_it(running: Running) -> None:
    async with running.connected(SEND_BUFFER) as connection:
        await begun(connection)
        connection.protocol.shutdown()
        go_on_reading(connection)
        assert (await connection.answer())[1] == LONG[:LENT_LENGTH]
        await connection.ended()


# ── what takes too long ends ──


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
    async with running.connected(SEND_BUFFER) as connection:
        await connection.ask(asked("0-9"))
        stop_reading(connection)
        connection.feed(asked(WHOLE), asked("5-6")[:20])
        assert connection.protocol._headers_timer is None
        go_on_reading(connection)
        assert (await connection.answer())[1] == LONG[:LENT_LENGTH]
        connection.feed(asked("5-6")[20:])
        assert (await connection.answer())[1] == LONG[5:7]


@pytest.mark.parametrize("span", [WHOLE, f"0-{LENT_LENGTH + 5}", "0-"])
async def test_an_answer_that_nobody_takes_ends(running: Running, span: str) -> None:
    async with running.connected(SEND_BUFFER) as connection:
        await connection.ask(asked("0-9"))
        stop_reading(connection)
        grow_impatient(connection)
        connection.feed(asked(span))
        await ended(connection)
    async with running.connected() as another:
        assert (await another.ask(asked("0-9")))[1] == LONG[:10]
    stalled = running.lines()[1]
    assert stalled["range"] == f"bytes={span}"
    assert 0 < stalled["bytes"] < LENT_LENGTH
