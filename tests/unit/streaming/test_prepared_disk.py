"""A prepared image on a plain server without ranges is a disk as a raw image is."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aero_browser_disk.errors import (
    DamagedImageError,
    HttpStatusError,
    ImageChangedError,
    IntegrityError,
    InvalidDocumentError,
    InvalidOptionError,
    NetworkError,
    UnsupportedImageError,
)
from aero_browser_disk.formats.prepared.manifest import Manifest
from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.platform.base import Platform
from aero_browser_disk.platform.memory import MemoryChannels, MemoryLocks
from aero_browser_disk.remote.access import RenewedAccess
from aero_browser_disk.remote.retry import RetryPolicy
from aero_browser_disk.streaming.boot_profile import BootProfile
from aero_browser_disk.streaming.digest_list import digests_of
from aero_browser_disk.streaming.streaming_disk import StreamingDisk
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.transfer.pack_check import open_folder
from support.lasting_storage import LastingStorage
from support.prepared import bytes_of, files_of, pack
from support.qemu import MIB
from support.waiting import until

Open = Callable[..., Coroutine[Any, Any, StreamingDisk]]

CHUNK = 64 << 10
SIZE = 4 * MIB + 5 * 512
BOOT = [*range(64, 80), 2, 3, 200, 201, *range(120, 160), 0, 1]


def content(seed: int = 1) -> bytes:
    """Noise, text and zeros by chunks: a third each."""
    chance = random.Random(seed)
    data = bytearray(SIZE)
    for chunk, at in enumerate(range(0, SIZE, CHUNK)):
        length = min(CHUNK, SIZE - at)
        if chunk % 3 == 0:
            data[at : at + length] = chance.randbytes(length)
        elif chunk % 3 == 1:
            data[at : at + length] = (b"line %d of a text\n" % chunk * CHUNK)[:length]
    return bytes(data)


DATA = content()


class Served:
    """A folder of prepared images on a server that knows no ranges."""

    def __init__(self, folder: Path, server: ImageServer) -> None:
        self.folder = folder
        self.server = server
        self.images: dict[str, Any] = {}
        self.publish()

    @property
    def url(self) -> str:
        return self.server.url("manifest.json")

    def publish(self) -> None:
        """Serves what is in the folder now."""
        for name, data in files_of(self.folder).items():
            if name not in self.images:
                self.images[name] = self.server.add(name, data)
            elif name.endswith(".json"):
                self.images[name].replace(data)

    def withdraw(self, name: str) -> None:
        self.images[name].behaviour = Behaviour(status=404)

    def chunks_asked(self) -> Counter[str]:
        return Counter(
            request.path for request in self.server.requests if "/chunks/" in request.path
        )

    @property
    def manifest(self) -> Manifest:
        return Manifest.decode(bytes_of(self.folder / "manifest.json"))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def plain_server() -> Iterator[ImageServer]:
    behaviour = Behaviour(ignore_range=True, accept_ranges=False, head_status=405)
    with ImageServer(behaviour=behaviour) as server:
        yield server


@pytest.fixture
async def served(raw: Path, tmp_path: Path, plain_server: ImageServer) -> Served:
    await pack(raw, tmp_path / "prepared")
    return Served(tmp_path / "prepared", plain_server)


@pytest.fixture
async def with_bundle(raw: Path, tmp_path: Path, plain_server: ImageServer) -> Served:
    await pack(raw, tmp_path / "prepared", boot_blocks=BOOT)
    return Served(tmp_path / "prepared", plain_server)


@pytest.fixture
async def open_url(platform: Platform) -> AsyncIterator[Open]:
    opened: list[StreamingDisk] = []

    async def opener(url: str, **options: Any) -> StreamingDisk:
        retry = RetryPolicy(tries=2, base_s=0.001, cap_s=0.01)
        defaults = {"allow_remote": True, "platform": platform, "retry": retry}
        disk = await open_disk(url, **{**defaults, "read_ahead": False, **options})
        opened.append(disk)
        return disk

    yield opener
    for disk in opened:
        await disk.close()


async def check(disk: StreamingDisk, data: bytes = DATA, step: int = 777_777) -> None:
    for at in range(0, len(data), step):
        length = min(step, len(data) - at)
        assert await disk.read(at, length) == data[at : at + length]


# ── reading ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("block_size", [4096, 16384, CHUNK, 4 * CHUNK])
async def test_it_reads_as_the_raw_disk_does(served: Served, open_url: Open, block_size) -> None:
    disk = await open_url(served.url, block_size=block_size, read_ahead=True)
    assert disk.info.size == SIZE
    assert disk.info.version.startswith(f"prepared {SIZE} {served.manifest.image_version.hex()}")
    chance = random.Random(5)
    for _ in range(60):
        offset = chance.randrange(SIZE)
        length = min(chance.choice([1, 512, 5000, 200_000]), SIZE - offset)
        assert await disk.read(offset, length) == DATA[offset : offset + length]
    await check(disk)


async def test_plain_gets_of_whole_files_are_all_it_takes(served: Served, open_url: Open) -> None:
    await check(await open_url(served.url, read_ahead=True))
    for request in served.server.requests:
        assert request.method == "GET"
        assert "range" not in request.headers
        assert request.status == 200


async def test_each_file_is_downloaded_once_and_zeros_never(served: Served, open_url: Open) -> None:
    disk = await open_url(served.url, read_ahead=True)
    await check(disk)
    await check(disk, step=5000)
    stored = {f"/{name}" for name in files_of(served.folder) if name.startswith("chunks/")}
    assert served.chunks_asked() == Counter(dict.fromkeys(stored, 1))
    assert disk.stats().bytes_downloaded == sum(map(len, files_of(served.folder).values()))


async def test_many_reads_of_one_chunk_are_one_request(served: Served, open_url: Open) -> None:
    disk = await open_url(served.url)
    served.server.forget()
    at = 3 * CHUNK
    reads = [disk.read(offset, 512) for offset in range(at, at + CHUNK, 512)]
    assert b"".join(await asyncio.gather(*reads)) == DATA[at : at + CHUNK]
    assert len(served.server.requests) == 1


async def test_a_chunk_of_which_a_part_is_cached_is_downloaded_once(
    with_bundle: Served, open_url: Open
) -> None:
    disk = await open_url(with_bundle.url)
    await until(lambda: len(disk.cached_blocks()) >= len(BOOT))
    with_bundle.server.forget()
    chunk = 200 * 16384 // CHUNK  # of which two blocks in the middle came with the bundle
    at = chunk * CHUNK
    assert await disk.read(at, CHUNK) == DATA[at : at + CHUNK]
    assert len(with_bundle.server.requests) <= 1


async def test_blocks_are_cached_and_read_without_the_server(
    served: Served, open_url: Open, platform: Platform
) -> None:
    first = await open_url(served.url)
    await check(first)
    await first.close()
    served.server.behaviour = Behaviour(reset=True)
    disk = await open_url(served.url)
    assert "offline" in disk.stats().notices
    await check(disk)


async def test_a_fresh_manifest_is_not_asked_for(served: Served, open_url: Open) -> None:
    behaviour = replace(served.server.behaviour, cache_control="max-age=1000")
    served.server.behaviour = behaviour
    first = await open_url(served.url)
    await check(first)
    await first.close()
    served.server.forget()
    await check(await open_url(served.url))
    assert served.server.requests == []


async def test_a_fresh_manifest_is_no_reason_to_refuse_a_pin(
    served: Served, raw: Path, open_url: Open
) -> None:
    served.server.behaviour = replace(served.server.behaviour, cache_control="max-age=1000")
    await (await open_url(served.url)).close()
    data = content(2)
    await new_version(served, raw, data)
    pin = hashlib.sha256(bytes_of(served.folder / "manifest.json")).hexdigest()
    await check(await open_url(served.url, digests_sha256=pin), data)


async def test_another_name_takes_a_format(served: Served, open_url: Open) -> None:
    served.server.add("debian", bytes_of(served.folder / "manifest.json"))
    await check(await open_url(served.server.url("debian"), format="prepared"))
    served.server.behaviour = Behaviour()
    with pytest.raises(UnsupportedImageError, match="prepared"):
        await open_url(served.server.url("debian"))


async def test_json_that_is_no_manifest_is_told(served: Served, open_url: Open) -> None:
    served.server.add("error.json", b'{"error": "no such thing"}')
    with pytest.raises(UnsupportedImageError, match="not the manifest"):
        await open_url(served.server.url("error.json"))
    document = json.loads(bytes_of(served.folder / "manifest.json"))
    served.server.add("new.json", json.dumps({**document, "version": 7}).encode())
    with pytest.raises(UnsupportedImageError, match="version 7"):
        await open_url(served.server.url("new.json"))
    with pytest.raises(HttpStatusError):
        await open_url(served.server.url("missing.json"))


async def test_the_rest_of_a_small_table_is_loaded_behind_the_reads(
    raw: Path, tmp_path: Path, plain_server: ImageServer, open_url: Open
) -> None:
    await pack(raw, tmp_path / "prepared", chunk_size=4096)
    served = Served(tmp_path / "prepared", plain_server)
    layout = open_folder(served.folder / "manifest.json")
    pages = {f"/{e.file.path}" async for chunk, e in layout.table.files() if chunk < 0 and e.file}
    assert len(pages) == 4, "a root and three leaves"
    disk = await open_url(served.url)
    await until(lambda: pages <= set(served.chunks_asked()))
    await check(disk)


# ── what is not proved is not used ────────────────────────────────────────────────────────────────


async def test_a_wrong_chunk_is_fetched_once_more(served: Served, open_url: Open) -> None:
    disk = await open_url(served.url)
    served.server.forget()
    served.server.fail_next(Behaviour(corrupt_at=100))
    assert await disk.read(3 * CHUNK, 10) == DATA[3 * CHUNK : 3 * CHUNK + 10]
    assert len(served.server.requests) == 2


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(corrupt_at=100),
        Behaviour(short_by=1),
        Behaviour(long_by=1),
        Behaviour(long_by=1 << 20),
    ],
)
async def test_a_chunk_that_stays_wrong_is_an_error(served: Served, open_url: Open, behaviour):
    disk = await open_url(served.url)
    served.server.forget()
    served.server.behaviour = behaviour
    with pytest.raises(IntegrityError):
        await disk.read(3 * CHUNK, 10)
    assert len(served.server.requests) == 2
    served.server.behaviour = Behaviour()
    await check(disk)


async def test_a_wrong_page_is_an_error(served: Served, open_url: Open) -> None:
    page = served.images[served.manifest.table.path]
    page.behaviour = Behaviour(corrupt_at=50)
    with pytest.raises(IntegrityError):
        await open_url(served.url)
    page.behaviour = None
    await check(await open_url(served.url))


async def test_kept_pages_that_were_spoilt_are_fetched_again(
    served: Served, open_url: Open, platform: Platform, tmp_path: Path
) -> None:
    first = await open_url(served.url)
    await check(first)
    await first.close()
    kept = next((tmp_path / "storage").rglob("kept"))
    size = kept.stat().st_size
    for spoil in (
        lambda data: data[: size // 2],
        lambda data: data[:20] + b"\xff" * 20 + data[40:],
        lambda data: data[:-3] + b"\xff\xff\xff",
        lambda _: b"",
        lambda _: b"something else entirely, and long enough to have a record in it",
    ):
        kept.write_bytes(spoil(kept.read_bytes()))
        disk = await open_url(served.url)
        assert disk.stats().storage == "folder"
        await disk.clear_cache()
        await check(disk)
        await disk.close()


async def test_a_manifest_is_trusted_by_pin_and_by_key(
    raw: Path, tmp_path: Path, plain_server: ImageServer, open_url: Open
) -> None:
    key = Ed25519PrivateKey.generate()
    await pack(raw, tmp_path / "prepared", sign=key.sign)
    served = Served(tmp_path / "prepared", plain_server)
    pin = hashlib.sha256(bytes_of(served.folder / "manifest.json")).hexdigest()
    public = key.public_key().public_bytes_raw().hex()
    await check(await open_url(served.url, digests_sha256=pin, digests_key=public))
    with pytest.raises(InvalidDocumentError, match="SHA-256"):
        await open_url(served.url, digests_sha256="00" * 32)
    with pytest.raises(InvalidDocumentError, match="not signed"):
        await open_url(served.url, digests_key="00" * 32)
    with pytest.raises(InvalidOptionError):
        await open_url(served.url, digests_key="short")


async def test_a_digest_list_is_checked_too(served: Served, open_url: Open) -> None:
    right = digests_of([DATA]).encode()
    await check(await open_url(served.url, digests=right))
    wrong = digests_of([content(2)]).encode()
    with pytest.raises(IntegrityError):
        await open_url(served.url, digests=wrong, cache_key="other")
    with pytest.raises(IntegrityError):  # also what is cached
        await open_url(served.url, digests=wrong)


# ── servers that fail ─────────────────────────────────────────────────────────────────────────────


async def test_what_may_pass_is_tried_again(served: Served, open_url: Open) -> None:
    disk = await open_url(served.url, retry=RetryPolicy(tries=4, base_s=0.001, cap_s=0.01))
    served.server.forget()
    served.server.fail_next(Behaviour(status=503))
    served.server.fail_next(Behaviour(reset=True))
    assert await disk.read(3 * CHUNK, 10) == DATA[3 * CHUNK : 3 * CHUNK + 10]


async def test_what_is_gone_is_an_error(served: Served, open_url: Open) -> None:
    disk = await open_url(served.url)
    for name in served.images:
        if name.startswith("chunks/"):
            served.withdraw(name)
    with pytest.raises(HttpStatusError):
        await disk.read(3 * CHUNK, 10)


async def test_access_is_renewed_and_the_query_sent_along(served: Served, open_url: Open) -> None:
    renewals = 0

    async def renew() -> RenewedAccess:
        nonlocal renewals
        renewals += 1
        served.server.behaviour = Behaviour(ignore_range=True)
        return RenewedAccess(f"{served.url}?token=new")

    disk = await open_url(f"{served.url}?token=old", cache_key="it", renew=renew)
    assert {request.query for request in served.server.requests} == {"token=old"}
    served.server.behaviour = Behaviour(status=403)
    served.server.forget()
    assert await disk.read(3 * CHUNK, 10) == DATA[3 * CHUNK : 3 * CHUNK + 10]
    assert renewals == 1
    assert served.server.requests[-1].query == "token=new"


async def test_a_read_that_is_cancelled_leaves_the_others_alone(
    served: Served, open_url: Open
) -> None:
    disk = await open_url(served.url)
    served.server.behaviour = Behaviour(stall=True)
    leaving = asyncio.ensure_future(disk.read(3 * CHUNK, 100))
    staying = asyncio.ensure_future(disk.read(3 * CHUNK + 20_000, 100))
    await until(lambda: disk.stats().requests_in_flight > 0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    served.server.behaviour = Behaviour()
    served.server.release()
    assert await staying == DATA[3 * CHUNK + 20_000 : 3 * CHUNK + 20_100]


async def test_a_request_that_nobody_waits_for_is_given_up(served: Served, open_url: Open) -> None:
    disk = await open_url(served.url)
    served.server.behaviour = Behaviour(stall=True)
    read = asyncio.ensure_future(disk.read(3 * CHUNK, 100))
    await until(lambda: disk.stats().requests_in_flight > 0)
    read.cancel()
    await asyncio.gather(read, return_exceptions=True)
    await until(lambda: disk.stats().requests_in_flight == 0)
    served.server.release()


# ── versions ──────────────────────────────────────────────────────────────────────────────────────


async def new_version(served: Served, raw: Path, data: bytes) -> set[str]:
    """Publishes another version; returns the files that only the old one has."""
    old = set(files_of(served.folder))
    await asyncio.to_thread(raw.write_bytes, data)
    other = served.folder.with_name("other")
    await pack(raw, other)
    for name, found in files_of(other).items():
        (served.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (served.folder / name).write_bytes(found)
    served.publish()
    return old - set(files_of(other))


async def test_a_disk_that_is_open_stays_at_its_version(
    served: Served, open_url: Open, raw: Path
) -> None:
    disk = await open_url(served.url)
    other = b"\x00other".ljust(CHUNK, b"!") + content(3)[CHUNK:]  # a text is no disk
    for name in await new_version(served, raw, other):
        served.withdraw(name)
    with pytest.raises(ImageChangedError) as changed:
        await check(disk)
    assert changed.value.pinned != changed.value.found
    await disk.close()
    await check(await open_url(served.url), other)


async def test_nothing_cached_of_one_version_is_read_as_another(
    served: Served, open_url: Open, raw: Path
) -> None:
    disk = await open_url(served.url)
    await check(disk)
    await disk.close()
    other = content(9)
    await new_version(served, raw, other)
    await check(await open_url(served.url), other)


async def test_a_new_version_keeps_what_did_not_change(
    served: Served, open_url: Open, raw: Path
) -> None:
    disk = await open_url(served.url)
    await check(disk)
    await disk.close()
    changed = bytearray(DATA)
    at = 3 * CHUNK + 500
    changed[at : at + 5] = b"other"
    await new_version(served, raw, bytes(changed))
    served.server.forget()
    disk = await open_url(served.url)
    assert disk.stats().kept_bytes == SIZE - CHUNK
    await check(disk, bytes(changed))
    packed = sum(map(len, files_of(served.folder).values()))
    assert disk.stats().bytes_downloaded < CHUNK + 8192 < packed
    assert len(served.server.requests) == 3, "the manifest, a page and a chunk"


async def test_nothing_is_kept_of_what_cannot_be_compared(
    served: Served, open_url: Open, raw: Path, tmp_path: Path
) -> None:
    disk = await open_url(served.url)
    await check(disk)
    await disk.close()
    changed = b"other" + DATA[5:]
    next((tmp_path / "storage").rglob("kept")).unlink()
    await new_version(served, raw, changed)
    disk = await open_url(served.url)
    assert disk.stats().kept_bytes == 0
    await check(disk, changed)


async def test_a_longer_version_keeps_all_but_the_end(
    served: Served, open_url: Open, raw: Path
) -> None:
    disk = await open_url(served.url)
    await check(disk)
    await disk.close()
    longer = DATA + b"more" * 100_000
    await new_version(served, raw, longer)
    disk = await open_url(served.url)
    assert SIZE - CHUNK <= disk.stats().kept_bytes < SIZE
    await check(disk, longer)


# ── boots ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_bundle_brings_the_boot_in_a_few_files(with_bundle: Served, open_url: Open) -> None:
    disk = await open_url(with_bundle.url)
    await until(lambda: set(BOOT) <= set(disk.cached_blocks()))
    assert list(disk.profile_blocks()) == BOOT
    before = len(with_bundle.server.requests)
    # Manifest, bundle, three parts; on a slow machine also what the disk reads meanwhile.
    assert before < 12
    for block in BOOT:
        at = block * 16384
        assert await disk.read(at, 16384) == DATA[at : at + 16384]
    assert len(with_bundle.server.requests) == before
    await check(disk)


async def test_a_bundle_whose_blocks_are_cached_is_not_fetched(
    with_bundle: Served, open_url: Open
) -> None:
    first = await open_url(with_bundle.url)
    await until(lambda: set(BOOT) <= set(first.cached_blocks()))
    await first.close()
    with_bundle.server.forget()
    disk = await open_url(with_bundle.url)
    await disk.read(BOOT[5] * 16384, 100)
    assert [request.path for request in with_bundle.server.requests] == ["/manifest.json"]


@pytest.mark.parametrize(
    "behaviour", [Behaviour(corrupt_at=5), Behaviour(status=404), Behaviour(short_by=3)]
)
async def test_a_bundle_that_cannot_be_had_is_no_harm(
    with_bundle: Served, open_url: Open, behaviour: Behaviour
) -> None:
    boot = with_bundle.manifest.boot
    assert boot is not None
    bundle = json.loads(bytes_of(with_bundle.folder / boot.path))
    parts = [part["sha256"] for part in bundle["parts"]]
    for name, image in with_bundle.images.items():
        if name.rpartition("/")[2] in parts:
            image.behaviour = behaviour
    await check(await open_url(with_bundle.url))
    with_bundle.images[boot.path].behaviour = behaviour
    await check(await open_url(with_bundle.url, cache_key="other"))


async def test_larger_blocks_do_without_the_bundle(with_bundle: Served, open_url: Open) -> None:
    await check(await open_url(with_bundle.url, block_size=CHUNK))
    await check(await open_url(with_bundle.url, block_size=4096, cache_key="other"))


async def test_a_profile_of_the_version_is_replayed(served: Served, open_url: Open) -> None:
    version = f"prepared {SIZE} {served.manifest.image_version.hex()}"
    profile = BootProfile(SIZE, version, 16384, (5, 130, 131)).encode()
    disk = await open_url(served.url, boot_profile=profile)
    await until(lambda: {5, 130, 131} <= set(disk.cached_blocks()))
    recorded = disk.boot_profile()
    assert recorded.fits(SIZE, version)


# ── several tabs ──────────────────────────────────────────────────────────────────────────────────


async def test_a_second_tab_reads_through_the_first_and_takes_over(
    with_bundle: Served, open_url: Open, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aero_browser_disk.streaming.cache_folder._TAB_LEAVES_WITHIN_S", 0.01)
    browser = replace(
        platform, storage=LastingStorage(), locks=MemoryLocks(), channels=MemoryChannels()
    )
    first = await open_url(with_bundle.url, platform=browser)
    await check(first)
    with_bundle.server.forget()
    second = await open_url(with_bundle.url, platform=browser)
    assert "shared-cache" in second.stats().notices
    await check(second)
    assert [request.path for request in with_bundle.server.requests] == ["/manifest.json"]
    await first.close()
    await until(lambda: "shared-cache" not in second.stats().notices)
    await second.clear_cache()
    await check(second)


# ── everything above ──────────────────────────────────────────────────────────────────────────────


async def test_the_whole_image_can_be_kept(served: Served, open_url: Open) -> None:
    disk = await open_url(served.url)
    disk.keep_whole_image()
    await until(lambda: disk.stats().cached_bytes == SIZE)
    served.server.behaviour = Behaviour(reset=True)
    await check(disk)


async def test_an_overlay_stays_bound_to_the_version(
    served: Served, platform: Platform, raw: Path, open_url: Open
) -> None:
    options = {"allow_remote": True, "platform": platform, "overlay": "work"}
    async with await open_disk(served.url, **options) as disk:
        await disk.write(100, b"written")
    async with await open_disk(served.url, **options) as disk:
        assert await disk.read(95, 20) == DATA[95:100] + b"written" + DATA[107:115]


async def test_an_index_of_another_kind_is_no_file_of_the_image(
    served: Served, open_url: Open
) -> None:
    document = json.loads(bytes_of(served.folder / "manifest.json"))
    table = {**document["table"], "sha256": "ab" * 32}
    served.server.add("lost.json", json.dumps({**document, "table": table}).encode())
    with pytest.raises(HttpStatusError):
        await open_url(served.server.url("lost.json"))
    swapped = next(name for name in served.images if name.startswith("chunks/"))
    digest = swapped.rpartition("/")[2]
    length = len(bytes_of(served.folder / swapped))
    table = {**document["table"], "sha256": digest, "length": length}
    if digest != document["table"]["sha256"]:
        served.server.add("odd.json", json.dumps({**document, "table": table}).encode())
        with pytest.raises((DamagedImageError, NetworkError)):
            await open_url(served.server.url("odd.json"))


async def test_a_disk_that_is_closed_asks_for_nothing_more(served: Served, open_url: Open) -> None:
    """What was left of a long run of the background was asked for after the end."""
    disk = await open_url(served.url, concurrency=2)
    served.server.behaviour = Behaviour(stall=True)
    disk.keep_whole_image()
    disk._queue._planned.append(range(100, 200))
    disk._queue.pump()
    await until(lambda: disk.stats().requests_in_flight > 0)
    await disk.close()
    asked = disk.stats().requests
    served.server.release()
    await asyncio.sleep(0)
    assert disk.stats().requests == asked
    assert not disk._queue._tasks
