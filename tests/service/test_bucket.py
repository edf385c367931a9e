"""The service over a bucket: the same contract over HTTP, whatever becomes of the objects."""

from __future__ import annotations

import http.client
import json
import random
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk.remote.byte_ranges import parse_http_date

from .fed_service import Running, asked

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import RunningService
    from .object_server import Bucket

OLD = random.Random(3).randbytes(5_000_123)
NEW = bytes(byte ^ 0xFF for byte in OLD)
DISK = "/disks/disk/bytes"


@pytest.fixture
def service(bucket: Bucket, serve: Callable[..., RunningService]) -> RunningService:
    bucket.put("sub/disk.img", OLD)
    manifest = {
        "images": [
            {"id": "disk", "file": "sub/disk.img", "public": True},
            {"id": "mine", "file": "sub/disk.img", "public": False},
        ]
    }
    bucket.put("manifest.json", json.dumps(manifest).encode())
    return serve(None, *bucket.options)


def test_bytes_and_headers(service: RunningService) -> None:
    whole = service.ask(DISK)
    assert (whole.status, whole.body) == (200, OLD)
    assert parse_http_date(whole.headers["last-modified"]) is not None
    etag = whole.headers["etag"]
    for value, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=1000000-3999999", 1_000_000, 4_000_000),
        ("bytes=-7", len(OLD) - 7, len(OLD)),
        (f"bytes={len(OLD) - 1}-", len(OLD) - 1, len(OLD)),
    ):
        answer = service.ask(DISK, {"Range": value, "If-Range": etag})
        assert (answer.status, answer.body) == (206, OLD[start:stop])
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(OLD)}"
        assert answer.headers["etag"] == etag
    assert service.ask(DISK, method="HEAD").headers["content-length"] == str(len(OLD))
    assert service.ask(DISK, {"If-None-Match": etag}).status == 304
    assert service.ask(DISK, {"If-Match": '"other"'}).status == 412
    assert service.ask(DISK, {"Range": f"bytes={len(OLD)}-"}).status == 416


def test_the_catalog(service: RunningService) -> None:
    (image,) = service.ask("/v1/images").json["images"]
    assert (image["id"], image["size_bytes"]) == ("disk", len(OLD))
    assert service.ask("/v1/images/disk/meta").json == image
    for image_id in ("sub/disk.img", "nothing", "manifest.json", "%2e%2e"):
        assert service.ask(f"/disks/{image_id}/bytes").status == 404
    assert service.ask("/disks/mine/bytes").status in (401, 403)


def test_a_replaced_object_is_served_as_it_is_now(service: RunningService, bucket: Bucket) -> None:
    before = service.ask(DISK, {"Range": "bytes=0-99"})
    assert before.body == OLD[:100]
    bucket.put("sub/disk.img", NEW)
    # What the service remembers is stale, and the client does not notice.
    after = service.ask(DISK, {"Range": "bytes=0-99"})
    assert (after.status, after.body) == (206, NEW[:100])
    assert after.headers["etag"] != before.headers["etag"]
    stale = service.ask(DISK, {"Range": "bytes=0-99", "If-Range": before.headers["etag"]})
    assert (stale.status, stale.body) == (200, NEW)


async def test_what_repeats_is_not_parsed_again(service: RunningService, bucket: Bucket) -> None:
    address = bucket.address
    store = {"bucket": address.url, "endpoint": address.endpoint, "region": address.region}
    running = Running(None, store=store)
    async with running.connected(send_buffer=64 * 1024) as connection:
        for start, length in ((0, 10), (7, 1 << 20), (5, 100), (1_000_000, 3_000_000)):
            head, body = await connection.ask(asked(f"{start}-{start + length - 1}", path=DISK))
            assert head.startswith(b"HTTP/1.1 206 ")
            assert body == OLD[start : start + length]
        # They come one after the other, however slowly they are read, and at one version each.
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for start in (0, 50, 90):
            connection.feed(asked(f"{start}-{start + 2_000_000}", path=DISK))
        connection.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for start in (0, 50, 90):
            assert (await connection.answer())[1] == OLD[start : start + 2_000_001]
        bucket.put("sub/disk.img", NEW)
        assert (await connection.ask(asked("5-104", path=DISK)))[1] == NEW[5:105]
        bucket.remove("sub/disk.img")
        head, body = await connection.ask(asked("5-104", path=DISK))
        assert head.startswith(b"HTTP/1.1 404 ")
        assert json.loads(body)["error"]["code"] == "no_such_image"
        assert (connection.protocol.parsed, connection.protocol.started) == (1, 8)
    assert [line["status"] for line in running.lines()] == [206] * 8 + [404]
    running.assembly.store.close()


def test_a_removed_object_is_not_found(service: RunningService, bucket: Bucket) -> None:
    assert service.ask(DISK, {"Range": "bytes=0-99"}).status == 206
    bucket.remove("sub/disk.img")
    assert service.ask(DISK, {"Range": "bytes=0-99"}).status == 404


def test_no_body_mixes_versions(
    bucket: Bucket, service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Far more than the sockets in between hold.
    size = 32 << 20
    bucket.put("sub/disk.img", OLD[:1024] * (size >> 10))
    connection = service.connect()
    connection.request("GET", DISK)
    response = connection.getresponse()
    start = response.read(1024)
    bucket.put("sub/disk.img", NEW[:1024] * (size >> 10))
    try:
        body = start + response.read()
        assert len(body) == size
    except http.client.IncompleteRead as cut:
        body = start + cut.partial
        assert service.event("request")["cut"] == "the image changed"
    connection.close()
    assert body == (OLD[:1024] * (size >> 10))[: len(body)]


def test_a_whole_image_takes_little_memory(service: RunningService, bucket: Bucket) -> None:
    assert service.ask(DISK).status == 200
    size = 80 << 20
    bucket.put("sub/disk.img", bytes(size))
    before = service.peak_bytes()
    connection = service.connect()
    connection.request("GET", DISK)
    response = connection.getresponse()
    received = 0
    while chunk := response.read(1 << 20):
        received += len(chunk)
    connection.close()
    assert received == size
    assert service.peak_bytes() - before < 32 << 20


def test_ready(service: RunningService, bucket: Bucket) -> None:
    assert service.ask("/readyz").status == 200


def test_not_ready_without_the_bucket(bucket: Bucket, serve: Callable[..., RunningService]) -> None:
    service = serve(
        None, "--bucket", "s3://no-such-bucket/x", *bucket.options[2:], "--server", "uvicorn"
    )
    answer = service.ask("/readyz")
    assert answer.status == 503
    assert "manifest.json" in answer.json["error"]["message"]
    assert service.ask(DISK).status == 503
    assert service.ask("/healthz").status == 200
