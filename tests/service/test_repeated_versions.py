"""Repeated requests: the version that is there, who may read it, and what is known of them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aero_browser_disk.service.access.signed_urls import SignedUrls

from .conftest import DISK as BYTES
from .fed_service import LONG_AGO, NEW, Running, asked, etag_of, folder_of_images, put


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of_images(tmp_path)


@pytest.fixture
def running(folder: Path) -> Running:
    return Running(folder)


def put_copy(folder: Path, content: bytes) -> None:
    """As `cp -p` of a file of equal size and date."""
    (folder / "disk.img").write_bytes(content)
    os.utime(folder / "disk.img", (LONG_AGO, LONG_AGO))


def put_bytes(folder: Path, content: bytes) -> None:
    """As a program that writes in place and sets the date back."""
    with (folder / "disk.img").open("r+b", buffering=0) as file:
        os.pwrite(file.fileno(), content, 0)
        os.utime(file.fileno(), (LONG_AGO, LONG_AGO))


@pytest.mark.parametrize(
    "write",
    [put_copy, put_bytes, partial(put, at_s=LONG_AGO)],
    ids=["copied", "in place", "set back"],
)
async def test_a_date_that_is_set_back_is_a_new_version_all_the_same(
    running: Running, folder: Path, write: Callable[[Path, bytes], None]
) -> None:
    async with running.connected() as connection:
        head, _ = await connection.ask(asked("0-9"))
        contents = {etag_of(head): BYTES}
        for number in range(1, 10):
            content = NEW if number % 2 else BYTES
            write(folder, content)
            for first in (0, 300_000):
                head, body = await connection.ask(asked(f"{first}-{first + 9}"))
                assert body == content[first : first + 10]
                assert contents.setdefault(etag_of(head), content) is content
        assert len(contents) == 10
        # What the operator says of a version counts for more.
        entry = {"id": "disk.img", "file": "disk.img", "public": True, "etag": '"mine"'}
        (folder / "manifest.json").write_text(json.dumps({"images": [entry]}))
        for content in (BYTES, NEW):
            write(folder, content)
            head, body = await connection.ask(asked("0-9"))
            assert (etag_of(head), body) == (b'"mine"', content[:10])


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
            # Whoever asks later sees the new one, and is answered at once again.
            assert contents[etag_of(answers[-1][0])] is content
            started = connection.protocol.started
            await connection.ask(asked("0-9"))
            assert connection.protocol.started == started
        assert connection.protocol.parsed <= 20


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
