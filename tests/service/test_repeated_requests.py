"""Requests like the one before on their connection, which uvicorn's parser never sees.

The application runs in this process, behind real sockets whose protocols are fed by hand: a test
decides what comes together, in which turn of the loop, and sees how much of it was parsed.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from aero_browser_disk.service.access_log import AccessLog
from aero_browser_disk.service.assembly import Assembly
from aero_browser_disk.service.configuration import Configuration
from aero_browser_disk.service.signed_urls import SignedUrls
from aero_browser_disk.service.uvicorn_protocol import Protocol

from .conftest import DISK as BYTES
from .conftest import PATIENCE_S

DISK: Final = "/disks/disk.img/bytes"
NEW: Final = random.Random(8).randbytes(len(BYTES))
ID: Final = re.compile(rb"x-request-id: [^\r]*\r\n")
# Old enough to be settled.
LONG_AGO: Final = 1_700_000_000


class Watched(Protocol):
    """Counts what reaches the parser; says when its connection begins and ends."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.parsed = 0
        self.begun = asyncio.Event()
        self.over = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.begun.set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.over.set()

    def on_message_begin(self) -> None:
        self.parsed += 1
        super().on_message_begin()


@dataclass(frozen=True, slots=True)
class Connection:
    protocol: Watched
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def feed(self, *chunks: bytes) -> None:
        """What comes, in this turn of the loop."""
        for chunk in chunks:
            self.protocol.data_received(chunk)

    async def answer(self) -> tuple[bytes, bytes]:
        """Head and body of the next answer."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None or head.startswith(b"HTTP/1.1 304 "), head
            return head, await self.reader.readexactly(int(length[1]) if length else 0)

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        self.feed(request)
        return await self.answer()

    async def ended(self) -> None:
        """Returns when the server closed it."""
        async with asyncio.timeout(PATIENCE_S):
            assert await self.reader.read() == b""


class Running:
    """The images of a folder, served in this process."""

    def __init__(self, folder: Path, keep_alive_s: float = 3600, **sections: Any) -> None:
        development = {"mode": "development", "store": {"folder": folder, "listing": True}}
        sections.setdefault("limits", {"requests_in_flight": 0})
        configuration = Configuration.model_validate({**development, **sections})
        self.log = AccessLog(io.StringIO())
        self.assembly = Assembly(configuration, self.log)
        self.service = self.assembly.service()
        self.state = ServerState()
        self.config = uvicorn.Config(
            self.service,
            http=Watched,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
        )
        self.config.timeout_keep_alive = keep_alive_s  # type: ignore[assignment]
        self.config.load()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        protocol = Watched(config=self.config, server_state=self.state, app_state={})
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: protocol, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await protocol.begun.wait()
        try:
            yield Connection(protocol, reader, writer)
        finally:
            server.close()
            protocol.transport.abort()
            await protocol.over.wait()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def lines(self) -> list[dict[str, Any]]:
        """What the log says of requests."""
        self.log.flush()
        stream = self.log._stream
        assert isinstance(stream, io.StringIO)
        lines = [json.loads(line) for line in stream.getvalue().splitlines()]
        return [line for line in lines if line["event"] == "request"]


def asked(span: str, *more: str, path: str = DISK, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *more, f"Range: bytes={span}", "", ""]
    return "\r\n".join(lines).encode()


def put(folder: Path, content: bytes, at_s: int) -> None:
    """Replaces the image by another."""
    (folder / "next").write_bytes(content)
    os.utime(folder / "next", (at_s, at_s))
    (folder / "next").replace(folder / "disk.img")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    put(folder, BYTES, LONG_AGO)
    return folder


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
    folder = tmp_path_factory.mktemp("images")
    put(folder, BYTES, LONG_AGO)
    return Running(folder)


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
    assert connection.protocol.parsed == 2
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
        (asked("0-9").replace(b"Range", b"Ranse"), 200, BYTES),
        (asked("0-9").replace(b"bytes=", b"items="), 200, BYTES),
        (asked("0-9").replace(b"/bytes H", b"/bytes?a=b H"), 206, BYTES[:10]),
        (asked("0-9").replace(b"disk.img", b"disk.imh"), 404, None),
        (asked("0-9").replace(b"Host: x", b"Host: y"), 206, BYTES[:10]),
        (asked("0-9").replace(b"Host", b"host"), 206, BYTES[:10]),
        (asked("0-9", "X: y"), 206, BYTES[:10]),
        (asked("0-9", 'If-Match: "other"'), 412, None),
        (asked("0-9", 'If-Range: "other"'), 200, BYTES),
        (asked("0-9", "Range: bytes=4-5"), 200, BYTES),
        (asked("700000-700009"), 416, None),
        (asked("9-0"), 200, BYTES),
        (asked("0-131072"), 206, BYTES[: 128 * 1024 + 1]),
    ],
)
async def test_another_request_is_answered_for_itself(
    running: Running, request_: bytes, status: int, body: bytes | None
) -> None:
    async with running.connected() as connection:
        assert (await connection.ask(asked("0-0")))[1] == BYTES[:1]
        connection.feed(request_)
        if request_.startswith(b"HEAD"):
            head = await connection.reader.readuntil(b"\r\n\r\n")
            assert b"content-length: 10\r\n" in head
        else:
            head, found = await connection.answer()
            assert body is None or found == body
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert connection.protocol.parsed == 2
        assert (await connection.ask(asked("3-5")))[1] == BYTES[3:6]


async def test_one_that_comes_in_parts(running: Running) -> None:
    request = asked("100-199", "X-Request-Id: one")
    async with running.connected() as connection:
        await connection.ask(asked("0-9", "X-Request-Id: two"))
        for cut in range(1, len(request)):
            connection.feed(request[:cut], request[cut:])
            assert (await connection.answer())[1] == BYTES[100:200]
        assert connection.protocol.parsed == len(request)
        await connection.ask(request)
        assert connection.protocol.parsed == len(request)


async def test_those_that_come_together(running: Running) -> None:
    """In one piece, and in pieces that end anywhere, faster than they are answered."""
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
        # Nor is the end of one with another behind it.
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
        # One that comes after the answer, too.
        assert (await connection.ask(head))[1] == BYTES[:4]
        connection.feed(spelled)
        assert (await connection.ask(asked("1-2")))[1] == BYTES[1:3]
    assert connection.protocol.parsed == 4
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


# ── versions ──


def etag_of(head: bytes) -> bytes:
    found = re.search(rb"etag: ([^\r]*)\r\n", head)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("in_place", [False, True], ids=["renamed", "in place"])
@pytest.mark.parametrize("turns", [0, 1], ids=["in one turn", "in two"])
async def test_a_replaced_image_never_mixes(
    running: Running, folder: Path, in_place: bool, turns: int
) -> None:
    async with running.connected() as connection:
        head, _ = await connection.ask(asked("0-9"))
        contents = {etag_of(head): BYTES}
        for number in range(1, 20):
            content = NEW if number % 2 else BYTES
            connection.feed(asked("300000-399999"))
            if in_place:
                (folder / "disk.img").write_bytes(content)
                os.utime(folder / "disk.img", (LONG_AGO + number, LONG_AGO + number))
            else:
                put(folder, content, LONG_AGO + number)
            for _ in range(turns):
                await asyncio.sleep(0)
            connection.feed(asked("200000-299999"))
            answers = [await connection.answer(), await connection.answer()]
            answers.append(await connection.ask(asked("100000-199999")))
            for start, (head, body) in zip((300_000, 200_000, 100_000), answers, strict=True):
                assert head.startswith(b"HTTP/1.1 206 ")
                tag = etag_of(head)
                known = contents.setdefault(tag, content)
                assert body == known[start : start + 100_000]
            # Whoever asks later sees the new one.
            assert contents[etag_of(answers[-1][0])] is content


async def test_conditions_are_of_the_version_that_is_there(running: Running, folder: Path) -> None:
    async with running.connected() as connection:
        head, _ = await connection.ask(asked("0-9"))
        tag = etag_of(head).decode()
        for name, status in (("If-Match", 412), ("If-Range", 200)):
            for number in range(3):
                head, body = await connection.ask(asked(f"{number}-5", f"{name}: {tag}"))
                assert head.startswith(b"HTTP/1.1 206 ")
                assert body == BYTES[number:6]
            put(folder, NEW, LONG_AGO + 5)
            head, body = await connection.ask(asked("4-5", f"{name}: {tag}"))
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert status != 200 or body == NEW
            put(folder, BYTES, LONG_AGO)
            head, _ = await connection.ask(asked("0-9"))
            tag = etag_of(head).decode()


# ── who may read, and how much ──


@pytest.fixture
def signed(folder: Path, tmp_path: Path) -> tuple[Running, SignedUrls, str]:
    """A service with a private image, what signs its addresses, and one that it signed."""
    entries = [{"id": "disk.img", "file": "disk.img", "public": False}]
    (folder / "manifest.json").write_text(json.dumps({"images": entries}))
    keys = tmp_path / "keys.toml"
    keys.write_text('current = "a"\n[keys]\na = "{}"\n'.format("a" * 43))
    running = Running(
        folder,
        authorization={"signing_keys_file": keys},
        cors={"allow_origins": []},
        store={"folder": folder},
    )
    assert running.assembly.urls is not None
    query, _ = running.assembly.urls.sign("disk.img", 600, "bytes")
    return running, running.assembly.urls, f"/disks/disk.img/bytes?{query}"


async def test_an_address_that_ends(
    signed: tuple[Running, SignedUrls, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, urls, address = signed
    async with running.connected() as connection:
        for number in range(3):
            assert (await connection.ask(asked(f"{number}-9", path=address)))[1] == BYTES[number:10]
        assert connection.protocol.parsed == 1
        monkeypatch.setattr(urls, "_clock", lambda: time.time() + 601)
        head, body = await connection.ask(asked("1-9", path=address))
        assert head.startswith(b"HTTP/1.1 401 ")
        assert json.loads(body)["error"]["code"] == "expired"


async def test_a_key_that_is_taken_away(
    signed: tuple[Running, SignedUrls, str], tmp_path: Path
) -> None:
    running, _, address = signed
    async with running.connected() as connection:
        for number in range(3):
            assert (await connection.ask(asked(f"{number}-9", path=address)))[1] == BYTES[number:10]
        (tmp_path / "keys.toml").write_text('current = "b"\n[keys]\nb = "{}"\n'.format("b" * 43))
        await running.assembly.reload()
        head, body = await connection.ask(asked("1-9", path=address))
        assert head.startswith(b"HTTP/1.1 401 ")
        assert json.loads(body)["error"]["code"] == "unknown_key"


@pytest.mark.parametrize(
    "limits", [{"requests_per_s": 2}, {"requests_in_flight": 1}, {"bytes_per_s": 65536}], ids=str
)
async def test_limits_hold(folder: Path, limits: dict[str, int]) -> None:
    running = Running(folder, limits={"requests_in_flight": 0, **limits})
    async with running.connected() as connection:
        assert (await connection.ask(asked("0-9")))[1] == BYTES[:10]
        if "requests_in_flight" in limits:
            admitted: Any = running.assembly.limits
            async with admitted.admitted("127.0.0.1"):
                head, body = await connection.ask(asked("0-9"))
        else:
            for _ in range(100):
                head, body = await connection.ask(asked("0-131071"))
                if b" 429 " in head:
                    break
    assert head.startswith(b"HTTP/1.1 429 ")
    assert json.loads(body)["error"]["limit"] == next(iter(limits))


# ── what is known of them afterwards ──


async def test_each_is_counted_and_logged_in_order(folder: Path) -> None:
    running = Running(folder, metrics={"enabled": True, "token": "x" * 20})
    ids = []
    async with running.connected() as connection:
        for number in range(50):
            head, _ = await connection.ask(asked(f"{number}-{2 * number}"))
            ids.append(re.findall(rb"x-request-id: ([^\r]*)", head)[0].decode())
            if number % 10 == 0:
                await connection.ask(asked("0-0", path="/healthz"))
    assert connection.protocol.parsed == 6
    lines = running.lines()
    assert len(lines) == 55
    ranges = [line for line in lines if line["id"]]
    assert [line["request_id"] for line in ranges] == ids
    assert [line["range"] for line in ranges] == [f"bytes={n}-{2 * n}" for n in range(50)]
    assert [line["bytes"] for line in ranges] == [n + 1 for n in range(50)]
    assert all(line["status"] == 206 and line["duration_ms"] >= 0 for line in ranges)
    assert [index for index, line in enumerate(lines) if not line["id"]] == [1, 12, 23, 34, 45]
    assert running.assembly.metrics is not None
    text = running.assembly.metrics.exposition().decode()
    for sample in (
        'requests_total{method="GET",route="/disks/{id}/bytes",status="206"} 50.0',
        'body_bytes_total{route="/disks/{id}/bytes"} 1275.0',
        'ranges_total{result="satisfied"} 50.0',
        'request_duration_seconds_count{route="/disks/{id}/bytes"} 50.0',
        "requests_in_flight 0.0",
    ):
        assert f"aero_disk_{sample}" in text


async def test_an_id_counts_if_a_trusted_proxy_gave_it(folder: Path) -> None:
    for trusted in ((), ("127.0.0.1",)):
        running = Running(folder, server={"trusted_proxies": trusted})
        said = [f"id.{number}" for number in range(4)]
        async with running.connected() as connection:
            for number in said:
                head, _ = await connection.ask(asked("0-9", f"X-Request-Id: {number}"))
                assert (f"x-request-id: {number}\r\n".encode() in head) is bool(trusted)
            assert connection.protocol.parsed == 1
            # Two are none.
            for _ in range(2):
                head, _ = await connection.ask(asked("0-9", *["X-Request-Id: x"] * 2))
                assert b"x-request-id: x\r\n" not in head
        logged = [line["request_id"] for line in running.lines()][:4]
        assert (logged == said) is bool(trusted)
        assert len({*logged}) == 4
