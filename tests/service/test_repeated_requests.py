"""Requests like the one before on their connection, which uvicorn's parser never sees."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .conftest import DISK as BYTES
from .fed_service import DISK, LONG_AGO, NEW, Running, asked, folder_of_images

ID: Final = re.compile(rb"x-request-id: [^\r]*\r\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of_images(tmp_path)


@pytest.fixture
def running(folder: Path) -> Running:
    return Running(folder)


# ── the same answers ──


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, runner: asyncio.Runner) -> Running:
    return Running(folder_of_images(tmp_path_factory.mktemp("shared")))


SIZE: Final = len(BYTES)
ETAG: Final = '"etag of this image"'
positions = st.one_of(
    st.integers(0, SIZE + 5), st.sampled_from([0, SIZE - 1, SIZE, 10**17]), st.just(131_072)
)
spans = st.one_of(
    st.builds(lambda first, extra: f"{first}-{first + extra}", positions, st.integers(0, 140_000)),
    st.builds(lambda first, last: f"{first}-{last}", positions, positions),
    st.builds(lambda first: f"00{first}-{first + 3}", positions),
    st.sampled_from(["5-", "-5", "0-1,3-4", "0-1 ", "x", "9-3", "0-" + "9" * 60]),
)
conditions = st.sampled_from(
    [
        *((), (), ("Origin: https://app.example.com",), ("Accept: */*", "X-Request-Id: one")),
        *((f"If-Match: {ETAG}",), (f"If-Range: {ETAG}",), ('If-Range: "other"',)),
        *(("If-Match: *",), (f"If-None-Match: {ETAG}",), ('If-None-Match: "other"',)),
        *(("Authorization: Bearer x",), ("If-Unmodified-Since: Tue, 14 Nov 2023 22:13:20 GMT",)),
    ]
)


@given(first=spans, then=st.lists(spans, min_size=1, max_size=4), more=conditions)
def test_answers_are_those_of_a_first_request(
    shared: Running, runner: asyncio.Runner, first: str, then: list[str], more: tuple[str, ...]
) -> None:
    """To the byte, but for the request's id; and so is what the log says, but for the time."""

    async def check() -> None:
        async with shared.connected() as connection:
            head, _ = await connection.ask(asked("0-0"))
            etag = re.search(rb"etag: ([^\r]*)", head)
            assert etag is not None
            named = [line.replace(ETAG, etag[1].decode()) for line in more]
            await connection.ask(asked("1-1", *named))
            for span in (first, *then):
                again = await connection.ask(asked(span, *named))
                async with shared.connected() as another:
                    fresh = await another.ask(asked(span, *named))
                assert ID.sub(b"", again[0]) == ID.sub(b"", fresh[0])
                assert again[1] == fresh[1]
                lines = shared.lines()[-2:]
                for line in lines:
                    del line["duration_ms"], line["request_id"]
                assert lines[0] == lines[1]

    runner.run(check())


async def test_they_never_reach_the_parser(running: Running) -> None:
    async with running.connected() as connection:
        for number in range(20):
            _, body = await connection.ask(asked(f"{number}-{10 * number}"))
            assert body == BYTES[number : 10 * number + 1]
        # Nor does it matter that other kinds came in between.
        await connection.ask(asked("0-9", path="/healthz"))
        for number in range(20):
            await connection.ask(asked(f"{number}-{number}"))
    # The first, and that of /healthz.
    assert (connection.protocol.parsed, connection.protocol.started) == (2, 0)
    assert running.state.total_requests == 41


async def test_the_date_is_that_of_the_answer(running: Running) -> None:
    async with running.connected() as connection:
        for second in range(3):
            date = b"Tue, 14 Nov 2023 22:13:2%d GMT" % second
            running.state.default_headers = [(b"date", date)]
            for number in range(2):
                head, _ = await connection.ask(asked(f"{number}-{number}"))
                assert head.count(b"date: ") == 1
                assert b"\r\ndate: " + date + b"\r\n" in head
    assert connection.protocol.parsed == 1


async def test_what_operators_write_is_sent_as_it_is(folder: Path) -> None:
    """Percent signs too, which mean something where answers are put together."""
    entry = {"id": "disk.img", "file": "disk.img", "public": True}
    odd = {"etag": '"100%d%%b%"', "content_type": "text/x; a=%b"}
    (folder / "manifest.json").write_text(json.dumps({"images": [entry | odd]}))
    running = Running(folder)
    async with running.connected() as connection:
        for number in range(3):
            head, body = await connection.ask(asked(f"{number}-5"))
            assert body == BYTES[number:6]
            assert b'\r\netag: "100%d%%b%"\r\n' in head
            assert b"\r\ncontent-type: text/x; a=%b\r\n" in head
    assert connection.protocol.parsed == 1


# ── everything else takes the ordinary way ──


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (asked("0-9", method="HEAD"), 206, None),
        (asked("0-9").replace(b"Range", b"Ranse"), 200, slice(None)),
        (asked("0-9").replace(b"bytes=", b"items="), 200, slice(None)),
        (asked("0-9").replace(b"/bytes H", b"/bytes?a=b H"), 206, slice(10)),
        (asked("0-9").replace(b"disk.img", b"disk.imh"), 404, None),
        (asked("0-9").replace(b"Host: x", b"Host: y"), 206, slice(10)),
        (asked("0-9").replace(b"Host", b"host"), 206, slice(10)),
        (asked("0-9", "X: y"), 206, slice(10)),
        (asked("0-9", 'If-Match: "other"'), 412, None),
        (asked("0-9", 'If-Range: "other"'), 200, slice(None)),
        (asked("0-9", "Range: bytes=4-5"), 200, slice(None)),
        (asked("700000-700009"), 416, None),
        (asked("9-0"), 200, slice(None)),
    ],
)
async def test_another_request_is_answered_for_itself(
    running: Running, request_: bytes, status: int, body: slice | None
) -> None:
    async with running.connected() as connection:
        assert (await connection.ask(asked("0-0")))[1] == BYTES[:1]
        connection.feed(request_)
        if request_.startswith(b"HEAD"):
            head = await connection.reader.readuntil(b"\r\n\r\n")
            assert b"content-length: 10\r\n" in head
        else:
            head, found = await connection.answer()
            assert body is None or found == BYTES[body]
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert connection.protocol.parsed + connection.protocol.started == 2
        assert (await connection.ask(asked("3-5")))[1] == BYTES[3:6]


async def test_those_that_take_time_are_answered_by_messages_too(running: Running) -> None:
    """Whatever came before them on their connection, a HEAD for one."""
    async with running.connected() as connection:
        await connection.ask(asked("0-9"))
        for number in range(1, 4):
            connection.feed(asked("0-9", method="HEAD"))
            assert b"content-length: 10\r\n" in await connection.reader.readuntil(b"\r\n\r\n")
            head, body = await connection.ask(asked("700000-700009"))
            assert head.startswith(b"HTTP/1.1 416 ")
            assert json.loads(body)["error"]["code"] == "range_not_satisfiable"
            assert (await connection.ask(asked("9-0")))[1] == BYTES
            assert (await connection.ask(asked("4-5")))[1] == BYTES[4:6]
            assert (connection.protocol.parsed, connection.protocol.started) == (
                1 + number,
                2 * number,
            )
        connection.feed(asked("9-0"), asked("700000-700009"), asked("2-3"))
        assert (await connection.answer())[1] == BYTES
        assert (await connection.answer())[0].startswith(b"HTTP/1.1 416 ")
        assert (await connection.answer())[1] == BYTES[2:4]


async def test_one_that_comes_in_parts(running: Running) -> None:
    request = asked("100-199", "X-Request-Id: one")
    async with running.connected() as connection:
        await connection.ask(asked("0-9", "X-Request-Id: two"))
        for cut in range(1, len(request)):
            connection.feed(request[:cut], request[cut:])
            assert (await connection.answer())[1] == BYTES[100:200]
        assert connection.protocol.parsed == 1


async def test_those_that_come_together(running: Running) -> None:
    """In one chunk, and in chunks that end anywhere, faster than they are answered."""
    async with running.connected() as connection:
        await connection.ask(asked("0-9"))
        await connection.ask(asked("1-9"))
        together = b"".join(asked(f"{number}-{number + 9}") for number in range(6))
        connection.feed(together)
        for number in range(6):
            assert (await connection.answer())[1] == BYTES[number : number + 10]
        step = len(asked("0-9"))
        for length in (step - 1, step, step + 1, 3 * step):
            connection.feed(*(together[at : at + length] for at in range(0, len(together), length)))
            for number in range(6):
                assert (await connection.answer())[1] == BYTES[number : number + 10]


async def test_two_that_come_together_are_no_form_of_one(running: Running) -> None:
    one, another = asked("0-9"), asked("5-9")
    async with running.connected() as connection:
        for _ in range(3):
            connection.feed(one + another)
            assert (await connection.answer())[1] == BYTES[:10]
            assert (await connection.answer())[1] == BYTES[5:10]
        # Nor is the end of one with another behind it, or one without its beginning.
        connection.feed(one[:20], one[20:] + another)
        assert (await connection.answer())[1] == BYTES[:10]
        assert (await connection.answer())[1] == BYTES[5:10]
        connection.feed(one[20:] + another)
        assert (await connection.answer())[0].startswith(b"HTTP/1.1 400 ")


async def test_one_behind_an_answer_under_way_waits_its_turn(running: Running) -> None:
    async with running.connected() as connection:
        await connection.ask(asked("0-9"))
        whole = asked("0-9").replace(b"Range", b"Ranse")
        connection.feed(whole, asked("5-6"), asked("7-8"))
        assert (await connection.answer())[1] == BYTES
        assert (await connection.answer())[1] == BYTES[5:7]
        assert (await connection.answer())[1] == BYTES[7:9]


async def test_what_another_request_was_offered_is_not_for_it(
    running: Running, folder: Path
) -> None:
    (folder / "other.img").write_bytes(NEW)
    os.utime(folder / "other.img", (LONG_AGO, LONG_AGO))
    other = "/disks/other.img/bytes"
    async with running.connected() as connection:
        # The second is the last that came when the first is over, and offers nothing itself.
        connection.feed(asked("0-9"), asked("700000-700009", path=other))
        assert (await connection.answer())[1] == BYTES[:10]
        assert (await connection.answer())[0].startswith(b"HTTP/1.1 416 ")
        for path, content in ((other, NEW), (DISK, BYTES), (other, NEW)):
            for number in range(2):
                _, body = await connection.ask(asked(f"{number}-9", path=path))
                assert body == content[number:10]


async def test_bodies_are_no_requests(running: Running) -> None:
    """A body that spells a request like the one before is a body all the same."""
    spelled = asked("7-9")
    async with running.connected() as connection:
        await connection.ask(asked("0-9"))
        head = asked("0-3", f"Content-Length: {len(spelled)}")
        connection.feed(head, spelled)
        assert (await connection.answer())[1] == BYTES[:4]
        connection.feed(asked("4-5", f"Content-Length: {len(spelled)}") + spelled)
        assert (await connection.answer())[1] == BYTES[4:6]
        assert (await connection.ask(asked("1-2")))[1] == BYTES[1:3]
        # One that comes after the response is no request either: the connection is over.
        answer = await connection.ask(head)
        assert b"\r\nconnection: close\r\n" in answer[0]
        assert answer[1] == BYTES[:4]
        connection.feed(spelled, asked("1-2"))
        await connection.ended()
    assert len(running.lines()) == 5


@pytest.mark.parametrize(
    "request_",
    [
        asked("0-9", "Connection: close"),
        asked("0-9").replace(b"HTTP/1.1", b"HTTP/1.0"),
        asked("0-9", "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=["close", "1.0", "1.0 keep-alive"],
)
async def test_the_last_one_ends_the_connection(running: Running, request_: bytes) -> None:
    async with running.connected() as connection:
        await connection.ask(asked("0-9"))
        head, body = await connection.ask(request_)
        assert b"connection: close\r\n" in head
        assert body == BYTES[:10]
        await connection.ended()


async def test_an_idle_connection_ends(folder: Path) -> None:
    """Counted from its last answer, of whichever way."""
    running = Running(folder, keep_alive_s=1)
    async with running.connected() as connection:
        await connection.ask(asked("0-9"))
        await connection.ask(asked("1-2"))
        answered = time.monotonic()
        assert connection.protocol.parsed == 1
        # As the timer would that the first answer set, if the second came just before its end.
        connection.protocol.timeout_keep_alive_handler()
        assert (await connection.ask(asked("1-2")))[1] == BYTES[1:3]
        await connection.ended()
        assert time.monotonic() - answered > 0.9


async def test_a_server_that_shuts_down_ends_it(running: Running) -> None:
    async with running.connected() as connection:
        await connection.ask(asked("0-9"))
        await connection.ask(asked("1-9"))
        connection.protocol.shutdown()
        connection.feed(asked("2-9"))
        await connection.ended()


async def test_a_client_that_does_not_read_holds_up_nothing(running: Running) -> None:
    """What its socket does not take waits; the next requests then take the ordinary way."""
    async with running.connected() as connection:
        await connection.ask(asked("0-9"))
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        spans = [(number, number + 99_999) for number in range(400)]
        for first, last in spans:
            connection.feed(asked(f"{first}-{last}"))
        assert connection.protocol.transport.get_write_buffer_size() < 160_000
        async with running.connected() as another:
            assert (await another.ask(asked("0-9")))[1] == BYTES[:10]
        connection.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for first, last in spans:
            assert (await connection.answer())[1] == BYTES[first : last + 1]
