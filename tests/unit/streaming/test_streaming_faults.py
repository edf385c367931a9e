"""What a disk does when its server fails: tries again, renews, checks, or goes on without it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aero_browser_disk.errors import (
    HttpStatusError,
    ImageChangedError,
    IntegrityError,
    InvalidDocumentError,
    InvalidOptionError,
    NetworkError,
    RenewalError,
)
from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.remote.access import RenewedAccess
from aero_browser_disk.remote.retry import RetryPolicy
from aero_browser_disk.streaming.boot_profile import BootProfile
from aero_browser_disk.streaming.digest_list import DigestList, digests_of
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from support.samples import IMAGE
from support.waiting import until

BLOCK = 65536
QUICK = RetryPolicy(tries=4, base_s=0.001, cap_s=0.01, total_s=60)


class HurriedClock:
    """The system's time, moved on by what is slept, which takes none."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.time = now
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock():
    return HurriedClock()


@pytest.fixture
async def open_url(platform, clock):
    opened = []

    async def opener(url, **options):
        defaults = {
            "allow_remote": True,
            "platform": replace(platform, clock=clock),
            "read_ahead": False,
            "block_size": BLOCK,
            "retry": QUICK,
        }
        disk = await open_disk(url, **{**defaults, **options})
        opened.append(disk)
        return disk

    yield opener
    for disk in opened:
        await disk.close()


# ── trying again ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again(server, open_url, status):
    disk = await open_url(server.url("disk.img"))
    server.forget()
    server.fail_next(Behaviour(status=status), times=3)
    assert await disk.read(2 * BLOCK, 10) == IMAGE.read(2 * BLOCK, 10)
    assert [r.status for r in server.requests] == [status] * 3 + [206]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 412, 416])
async def test_what_is_final_fails_at_once(server, open_url, status):
    disk = await open_url(server.url("disk.img"))
    server.forget()
    server.behaviour = Behaviour(status=status)
    with pytest.raises(HttpStatusError):
        await disk.read(2 * BLOCK, 10)
    assert len(server.requests) == 1


async def test_tries_are_bounded(server, open_url):
    disk = await open_url(server.url("disk.img"))
    server.forget()
    server.behaviour = Behaviour(status=503)
    with pytest.raises(HttpStatusError):
        await disk.read(2 * BLOCK, 10)
    assert len(server.requests) == QUICK.tries


async def test_the_host_says_when_to_come_back(server, open_url, clock):
    disk = await open_url(server.url("disk.img"))
    server.fail_next(Behaviour(status=429, retry_after_s=7))
    await disk.read(2 * BLOCK, 10)
    assert 7 in clock.slept


async def test_total_time_is_bounded(server, open_url, clock):
    disk = await open_url(server.url("disk.img"))
    server.behaviour = Behaviour(status=503, retry_after_s=40)
    with pytest.raises(HttpStatusError):
        await disk.read(2 * BLOCK, 10)
    assert sum(clock.slept) <= QUICK.total_s


class SlowBodies:
    """The client of a platform over a slow link: each chunk of a body takes some of the clock."""

    def __init__(self, http, clock, chunk_s):
        self._http, self._clock, self._chunk_s = http, clock, chunk_s

    def __getattr__(self, name):
        return getattr(self._http, name)

    async def request(self, *args, **options):
        response = await self._http.request(*args, **options)
        read = response.read

        async def slow_read():
            chunk = await read()
            self._clock.time += self._chunk_s
            return chunk

        response.read = slow_read
        return response


async def test_the_total_time_counts_from_the_last_progress(server, open_url, clock, platform):
    """A request that brought blocks for longer than `total_s`, and then broke off, was final."""
    slow = replace(platform, clock=clock, http=SlowBodies(platform.http, clock, 2 * QUICK.total_s))
    disk = await open_url(server.url("disk.img"), platform=slow)
    server.forget()
    server.fail_next(Behaviour(reset_after=3 * BLOCK))
    assert await disk.read(2 * BLOCK, 8 * BLOCK) == IMAGE.read(2 * BLOCK, 8 * BLOCK)
    assert [r.status for r in server.requests] == [206, 206]


@pytest.mark.parametrize("concurrency", [1, 2, 6])
async def test_a_read_that_fails_takes_no_request_slot_with_it(server, open_url, concurrency):
    """Requests that are given up before they began: `concurrency=1` needed one such failure."""
    disk = await open_url(
        server.url("disk.img"), concurrency=concurrency, max_request_bytes=BLOCK, boot_profile=None
    )
    server.behaviour = Behaviour(status=404)
    for _ in range(concurrency):
        with pytest.raises(HttpStatusError):
            await disk.read(2 * BLOCK, 20 * BLOCK)
    server.behaviour = Behaviour()
    async with asyncio.timeout(10):
        assert await disk.read(2 * BLOCK, 20 * BLOCK) == IMAGE.read(2 * BLOCK, 20 * BLOCK)


async def test_a_read_that_is_cancelled_at_any_moment_takes_no_request_slot(server, open_url):
    disk = await open_url(
        server.url("disk.img"), concurrency=1, max_request_bytes=BLOCK, boot_profile=None
    )
    for moments in range(12):
        reading = asyncio.ensure_future(disk.read((2 + moments) * BLOCK, 3 * BLOCK))
        for _ in range(moments):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})
    async with asyncio.timeout(10):
        assert await disk.read(2 * BLOCK, 20 * BLOCK) == IMAGE.read(2 * BLOCK, 20 * BLOCK)


async def test_a_broken_body_goes_on_from_its_last_whole_block(server, open_url):
    disk = await open_url(server.url("disk.img"))
    server.forget()
    server.fail_next(Behaviour(close_after=2 * BLOCK + 100))
    assert await disk.read(2 * BLOCK, 5 * BLOCK) == IMAGE.read(2 * BLOCK, 5 * BLOCK)
    assert [r.byte_range for r in server.requests] == [
        (2 * BLOCK, 7 * BLOCK),
        (4 * BLOCK, 7 * BLOCK),
    ]


async def test_a_link_that_breaks_often_gets_there_in_the_end(server, open_url):
    disk = await open_url(server.url("disk.img"))
    server.behaviour = Behaviour(reset_after=BLOCK + 100)
    assert await disk.read(2 * BLOCK, 20 * BLOCK) == IMAGE.read(2 * BLOCK, 20 * BLOCK)


async def test_no_request_slot_is_taken_while_waiting(server, open_url, platform):
    """With one place only, another read gets its turn while the first waits for its next try."""

    class StoppedClock(HurriedClock):
        def __init__(self) -> None:
            super().__init__()
            self.go_on = asyncio.Event()
            self.waits = asyncio.Event()

        async def sleep(self, seconds: float) -> None:
            self.waits.set()
            await self.go_on.wait()

    clock = StoppedClock()
    disk = await open_url(
        server.url("disk.img"), concurrency=1, platform=replace(platform, clock=clock)
    )
    server.fail_next(Behaviour(status=503))
    slow = asyncio.ensure_future(disk.read(2 * BLOCK, 10))
    await clock.waits.wait()
    assert await disk.read(5 * BLOCK, 10) == IMAGE.read(5 * BLOCK, 10)
    clock.go_on.set()
    assert await slow == IMAGE.read(2 * BLOCK, 10)


async def test_a_read_that_comes_while_waiting_joins(server, open_url):
    disk = await open_url(server.url("disk.img"))
    server.forget()
    server.fail_next(Behaviour(status=503))
    found = await asyncio.gather(disk.read(2 * BLOCK, 10), disk.read(2 * BLOCK + 5, 10))
    assert found == [IMAGE.read(2 * BLOCK, 10), IMAGE.read(2 * BLOCK + 5, 10)]
    assert len(server.requests) == 2


async def test_opening_tries_again_a_few_times(server, open_url):
    server.fail_next(Behaviour(status=503), times=2)  # HEAD, and the first byte
    disk = await open_url(server.url("disk.img"))
    assert disk.info.size == IMAGE.size


async def test_a_limit_of_the_host_is_learnt(server, open_url):
    disk = await open_url(server.url("disk.img"))
    server.behaviour = Behaviour(max_range=3 * BLOCK)
    assert await disk.read(BLOCK, 20 * BLOCK) == IMAGE.read(BLOCK, 20 * BLOCK)
    server.forget()
    assert await disk.read(21 * BLOCK, 20 * BLOCK) == IMAGE.read(21 * BLOCK, 20 * BLOCK)
    assert {r.status for r in server.requests} == {206}


async def test_a_limit_below_a_block_is_an_error(server, open_url):
    disk = await open_url(server.url("disk.img"))
    server.behaviour = Behaviour(max_range=1000)
    with pytest.raises(HttpStatusError) as caught:
        await disk.read(BLOCK, 20 * BLOCK)
    assert caught.value.status == 413


# ── access ────────────────────────────────────────────────────────────────────────────────────────


async def test_after_a_refusal_it_reads_with_a_renewed_address(server, open_url):
    async def renew():
        return RenewedAccess(server.url("disk.img") + "?token=new")

    disk = await open_url(server.url("disk.img") + "?token=old", renew=renew)
    server.forget()
    server.fail_next(Behaviour(status=403), only_when=lambda head: "old" in head.query)
    assert await disk.read(2 * BLOCK, 10) == IMAGE.read(2 * BLOCK, 10)
    assert [(r.query, r.status) for r in server.requests] == [
        ("token=old", 403),
        ("token=new", 206),
    ]


async def test_a_second_refusal_is_final(server, open_url):
    renewals = []

    async def renew():
        renewals.append(1)
        return RenewedAccess(server.url("disk.img") + f"?token={len(renewals)}")

    disk = await open_url(server.url("disk.img"), renew=renew)
    server.behaviour = Behaviour(status=401)
    with pytest.raises(HttpStatusError) as caught:
        await disk.read(2 * BLOCK, 10)
    assert caught.value.status == 401
    assert len(renewals) == 1


async def test_access_is_renewed_before_it_ends_and_once_for_all(server, open_url, clock):
    renewals = []

    async def renew():
        renewals.append(1)
        await asyncio.sleep(0)
        return RenewedAccess(
            server.url("disk.img"), {"X-Token": "new"}, expires_at=clock.time + 1000
        )

    disk = await open_url(
        server.url("disk.img"), headers={"X-Token": "old"}, renew=renew, expires_at=clock.time + 100
    )
    assert not renewals
    clock.time += 90
    server.forget()
    await asyncio.gather(disk.read(2 * BLOCK, 10), disk.read(9 * BLOCK, 10))
    assert len(renewals) == 1
    assert {r.headers["x-token"] for r in server.requests} == {"new"}


async def test_a_version_that_was_marked_fresh_and_is_gone_is_not_opened(server, open_url):
    """Its cache says that it is fresh, and the server has another by now."""
    server.behaviour = Behaviour(cache_control="max-age=1000")
    disk = await open_url(server.url("disk.img"))
    await disk.clear_cache()
    await disk.close()
    new = SyntheticImage(size=IMAGE.size, seed=51)
    server.image("disk.img").replace(new)
    disk = await open_url(server.url("disk.img"))
    assert await disk.read(100, 1000) == new.read(100, 1000)


async def test_an_address_that_is_signed_for_get_alone_is_not_renewed(server, open_url):
    async def renew():
        raise AssertionError("nothing was refused")

    server.behaviour = Behaviour(head_status=403)
    disk = await open_url(server.url("disk.img"), renew=renew)
    assert await disk.read(2 * BLOCK, 10) == IMAGE.read(2 * BLOCK, 10)


async def test_an_address_that_still_serves_is_used_when_its_renewal_fails(server, open_url, clock):
    renewals = []

    async def renew():
        renewals.append(1)
        raise OSError("signed out")

    disk = await open_url(server.url("disk.img"), renew=renew, expires_at=clock.time + 5)
    assert await disk.read(2 * BLOCK, 10) == IMAGE.read(2 * BLOCK, 10)
    assert len(renewals) == 1
    server.fail_next(Behaviour(status=403))
    with pytest.raises(OSError, match="signed out"):
        await disk.read(9 * BLOCK, 10)
    assert len(renewals) == 2


async def test_a_renewal_that_hangs_is_not_waited_for(server, open_url, clock):
    async def renew():
        await asyncio.Event().wait()

    options = {"renew": renew, "expires_at": clock.time + 5, "timeout_s": 1.0}
    disk = await open_url(server.url("disk.img"), **options)
    assert await disk.read(2 * BLOCK, 10) == IMAGE.read(2 * BLOCK, 10)
    server.fail_next(Behaviour(status=403))
    with pytest.raises(RenewalError):
        await disk.read(9 * BLOCK, 10)


async def test_a_renewal_takes_no_credentials_to_another_origin(server, open_url):
    with ImageServer({"disk.img": IMAGE}) as other:

        async def renew():
            return RenewedAccess(other.url("disk.img"))

        headers = {"authorization": "Bearer secret", "X-Other": "kept"}
        disk = await open_url(server.url("disk.img"), headers=headers, renew=renew)
        server.fail_next(Behaviour(status=401))
        other.forget()
        with contextlib.suppress(ImageChangedError):  # the other server's tag may differ
            await disk.read(2 * BLOCK, 10)
        (request,) = other.requests
        assert "authorization" not in request.headers
        assert request.headers["x-other"] == "kept"


async def test_a_renewed_address_must_lead_to_the_same_version(server, open_url):
    server.add("other.img", SyntheticImage(size=IMAGE.size, seed=77))

    async def renew():
        return RenewedAccess(server.url("other.img"))

    disk = await open_url(server.url("disk.img"), renew=renew)
    server.fail_next(Behaviour(status=403))
    with pytest.raises(ImageChangedError):
        await disk.read(2 * BLOCK, 10)


# ── integrity ─────────────────────────────────────────────────────────────────────────────────────

DIGESTS = digests_of(IMAGE.chunks(), chunk_size=16384)
OWNER, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
PUBLIC_KEY, OTHER_KEY = (key.public_key().public_bytes_raw().hex() for key in (OWNER, OTHER))
SIGNED = replace(DIGESTS, signature=OWNER.sign(DIGESTS.signed_bytes))


async def test_confirmed_bytes_are_served(server, open_url):
    disk = await open_url(server.url("disk.img"), digests=DIGESTS.encode())
    assert await disk.read(0, IMAGE.size) == IMAGE.read(0, IMAGE.size)


async def test_damage_on_the_way_is_fetched_again(server, open_url):
    disk = await open_url(server.url("disk.img"), digests=DIGESTS.encode())
    server.forget()
    server.fail_next(Behaviour(corrupt_at=3 * BLOCK + 7))
    assert await disk.read(2 * BLOCK, 4 * BLOCK) == IMAGE.read(2 * BLOCK, 4 * BLOCK)
    assert len(server.requests) == 2


async def test_a_forgery_is_an_error_and_is_not_kept(server, open_url):
    disk = await open_url(server.url("disk.img"), digests=DIGESTS.encode())
    server.behaviour = Behaviour(corrupt_at=3 * BLOCK + 7)
    with pytest.raises(IntegrityError) as caught:
        await disk.read(3 * BLOCK, BLOCK)
    assert caught.value.offset == 3 * BLOCK
    server.behaviour = Behaviour()
    assert await disk.read(3 * BLOCK, BLOCK) == IMAGE.read(3 * BLOCK, BLOCK)


@pytest.mark.parametrize("asks_server", [True, False])
async def test_what_was_cached_without_digests_is_verified_once_there_are(
    server, open_url, asks_server
):
    promised = None if asks_server else "max-age=300"
    server.behaviour = Behaviour(corrupt_at=3 * BLOCK + 7, cache_control=promised)
    disk = await open_url(server.url("disk.img"))
    forged = await disk.read(0, IMAGE.size)
    assert forged != IMAGE.read(0, IMAGE.size)
    await disk.close()
    server.behaviour = Behaviour(cache_control=promised)

    disk = await open_url(server.url("disk.img"), digests=DIGESTS.encode(), boot_profile=None)
    server.forget()
    assert await disk.read(0, IMAGE.size) == IMAGE.read(0, IMAGE.size)
    assert sum(request.bytes_sent for request in server.requests) == BLOCK
    await disk.close()


async def test_cached_blocks_are_verified_once_for_each_list(server, open_url, monkeypatch):
    verified = []
    verify = DigestList.verify
    monkeypatch.setattr(
        DigestList, "verify", lambda *given: verified.append(given[1]) or verify(*given)
    )

    async def read_all(**options) -> int:
        verified.clear()
        disk = await open_url(server.url("disk.img"), **options)
        assert await disk.read(0, IMAGE.size) == IMAGE.read(0, IMAGE.size)
        await disk.close()
        return len(verified)

    larger = digests_of(IMAGE.chunks(), chunk_size=BLOCK)
    assert await read_all(digests=DIGESTS.encode()) == DIGESTS.chunk_count
    assert await read_all(digests=DIGESTS.encode()) == 0
    assert await read_all(digests=larger.encode()) == larger.chunk_count
    assert await read_all() == 0
    assert await read_all(digests=larger.encode()) == larger.chunk_count


async def test_chunks_larger_than_a_block_make_the_block_larger(server, open_url):
    digests = digests_of(IMAGE.chunks(), chunk_size=256 * 1024)
    disk = await open_url(server.url("disk.img"), digests=digests.encode(), block_size=4096)
    assert disk.info.block_size == 256 * 1024
    assert await disk.read(5000, 300_000) == IMAGE.read(5000, 300_000)


@pytest.mark.parametrize(
    "options",
    [
        {"digests": b"junk"},
        {"digests": DIGESTS.encode(), "digests_sha256": "0" * 64},
        {"digests": digests_of([b"x" * 5000]).encode()},
        {"digests": DIGESTS.encode(), "digests_key": PUBLIC_KEY},
        {"digests": SIGNED.encode(), "digests_key": OTHER_KEY},
        {"boot_profile": b"junk"},
    ],
)
async def test_a_document_that_cannot_be_used_is_named(server, open_url, options):
    with pytest.raises(InvalidDocumentError):
        await open_url(server.url("disk.img"), **options)


async def test_a_list_signed_by_the_key_is_taken(server, open_url):
    disk = await open_url(server.url("disk.img"), digests=SIGNED.encode(), digests_key=PUBLIC_KEY)
    assert await disk.read(5, 300) == IMAGE.read(5, 300)


@pytest.mark.parametrize("key", ["", "ab", "z" * 64])
async def test_what_is_no_key_is_refused(server, open_url, key):
    with pytest.raises(InvalidOptionError):
        await open_url(server.url("disk.img"), digests=SIGNED.encode(), digests_key=key)


async def test_a_pinned_list_is_taken(server, open_url):
    disk = await open_url(
        server.url("disk.img"), digests=DIGESTS.encode(), digests_sha256=DIGESTS.pin.upper()
    )
    assert await disk.read(1, 2) == IMAGE.read(1, 2)


# ── without the network ───────────────────────────────────────────────────────────────────────────


async def test_what_is_cached_is_open_while_the_server_is_away(server, open_url):
    disk = await open_url(server.url("disk.img"))
    await disk.read(0, 4 * BLOCK)
    await disk.close()
    url = server.url("disk.img")
    server.stop()
    offline = await open_url(url)
    assert "offline" in offline.stats().notices
    assert offline.info == disk.info
    assert await offline.read(0, 4 * BLOCK) == IMAGE.read(0, 4 * BLOCK)
    with pytest.raises(NetworkError):
        await offline.read(5 * BLOCK, 1)
    server.start()
    assert await offline.read(5 * BLOCK, 1) == IMAGE.read(5 * BLOCK, 1)
    assert "offline" not in offline.stats().notices


async def test_an_image_that_was_never_opened_needs_the_network(server, open_url):
    url = server.url("disk.img")
    server.stop()
    with pytest.raises(NetworkError):
        await open_url(url)


async def test_cached_reads_go_on_while_the_network_is_down(server, open_url):
    disk = await open_url(server.url("disk.img"))
    await disk.read(0, 4 * BLOCK)
    server.stop()
    assert await disk.read(0, 4 * BLOCK) == IMAGE.read(0, 4 * BLOCK)


async def test_the_whole_image_is_kept_paused_and_resumed(server, open_url):
    disk = await open_url(server.url("disk.img"), max_request_bytes=4 * BLOCK, concurrency=2)
    server.behaviour = Behaviour(latency_s=0.002)
    disk.keep_whole_image()
    await until(lambda: disk.stats().cached_blocks > 8)
    disk.pause_keeping()
    await until(lambda: disk.stats().requests_in_flight == 0)
    assert disk.stats().cached_bytes < IMAGE.size
    await disk.close()
    again = await open_url(server.url("disk.img"))
    server.forget()
    assert again.stats().cached_blocks > 8
    again.keep_whole_image()
    await until(lambda: again.stats().cached_bytes == IMAGE.size)
    assert sum(r.bytes_sent for r in server.requests) < IMAGE.size
    server.stop()
    assert await again.read(0, IMAGE.size) == IMAGE.read(0, IMAGE.size)


async def test_keeping_goes_on_after_the_host_failed(server, open_url, clock):
    disk = await open_url(server.url("disk.img"))
    server.fail_next(Behaviour(status=503), times=3)
    disk.keep_whole_image()
    await until(lambda: disk.stats().cached_bytes == IMAGE.size)
    assert clock.slept  # it left the server alone in between


async def test_keeping_more_than_the_limit_is_refused(server, open_url):
    disk = await open_url(server.url("disk.img"), cache_limit_bytes=BLOCK)
    with pytest.raises(InvalidOptionError):
        disk.keep_whole_image()


# ── boot profiles ─────────────────────────────────────────────────────────────────────────────────


async def test_a_boot_is_recorded_and_replayed_behind_the_reads(server, open_url):
    disk = await open_url(server.url("disk.img"))
    for block in (0, 30, 31, 7, 30):
        await disk.read(block * BLOCK + 5, 100)
    recorded = disk.boot_profile()
    assert recorded.blocks == (0, 30, 31, 7)
    await disk.clear_cache()
    await disk.close()
    server.forget()
    again = await open_url(server.url("disk.img"), boot_profile=recorded.encode())
    await until(lambda: again.stats().cached_blocks == 4)
    assert sorted(r.byte_range for r in server.requests if r.method == "GET") == [
        (0, BLOCK),
        (7 * BLOCK, 8 * BLOCK),
        (30 * BLOCK, 32 * BLOCK),
    ]
    assert await again.read(30 * BLOCK, 2 * BLOCK) == IMAGE.read(30 * BLOCK, 2 * BLOCK)


async def test_a_read_that_failed_is_not_part_of_the_boot(server, open_url):
    disk = await open_url(server.url("disk.img"))
    await disk.read(3 * BLOCK, 10)
    server.fail_next(Behaviour(status=403))
    with pytest.raises(HttpStatusError):
        await disk.read(9 * BLOCK, 10)
    assert disk.boot_profile().blocks == (3,)


async def test_a_boot_is_replayed_by_itself_at_the_next_visit(server, open_url):
    disk = await open_url(server.url("disk.img"))
    for block in (0, 30, 7):
        await disk.read(block * BLOCK, 10)
    await disk.clear_cache()
    await disk.close()
    again = await open_url(server.url("disk.img"))
    await until(lambda: again.stats().cached_blocks == 3)
    await again.close()
    short = await open_url(server.url("disk.img"))
    await short.read(0, 10)
    await short.close()
    last = await open_url(server.url("disk.img"), cache_limit_bytes=5 * BLOCK)
    assert last._replay is not None
    assert last._boot._saved == 3, "a short session does not replace a longer boot"


async def test_a_replay_leaves_half_of_the_cache_alone(server, open_url):
    disk = await open_url(server.url("disk.img"))
    profile = BootProfile(IMAGE.size, disk._image.version.validator, BLOCK, tuple(range(40)))
    again = await open_url(
        server.url("disk.img"),
        boot_profile=profile.encode(),
        cache_key="half",
        cache_limit_bytes=10 * BLOCK,
    )
    await until(lambda: again.stats().cached_blocks == 5)
    await until(lambda: again.stats().requests_in_flight == 0)
    assert again.stats().cached_blocks == 5


async def test_a_profile_in_other_blocks_is_converted(server, open_url):
    disk = await open_url(server.url("disk.img"))
    profile = BootProfile(IMAGE.size, disk._image.version.validator, 4096, (16, 17, 100))
    again = await open_url(server.url("disk.img"), boot_profile=profile.encode(), cache_key="x")
    await until(lambda: again.stats().cached_blocks == 3)  # 0, 1 and 6


async def test_a_profile_of_another_version_is_ignored_with_a_notice(server, open_url):
    profile = BootProfile(IMAGE.size, '"another"', BLOCK, (20, 21))
    disk = await open_url(server.url("disk.img"), boot_profile=profile.encode())
    assert "other-profile" in disk.stats().notices
    await until(lambda: disk.stats().requests_in_flight == 0)
    assert disk.stats().cached_blocks == 1


async def test_reads_go_before_the_profile(server, open_url):
    disk = await open_url(server.url("disk.img"))
    profile = BootProfile(IMAGE.size, disk._image.version.validator, BLOCK, tuple(range(2, 40, 2)))
    server.behaviour = Behaviour(stall=True)
    again_opening = asyncio.ensure_future(
        open_url(
            server.url("disk.img"), boot_profile=profile.encode(), cache_key="y", concurrency=3
        )
    )
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 1)
    server.behaviour = Behaviour()
    server.release()
    again = await again_opening
    assert await again.read(41 * BLOCK, 1) == IMAGE.read(41 * BLOCK, 1)


# ── versions ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [IMAGE.size, IMAGE.size + 3 * BLOCK, IMAGE.size - BLOCK - 7])
async def test_a_new_version_keeps_what_its_digests_prove(server, open_url, size):
    old = IMAGE.read(0, IMAGE.size)
    new = bytearray(old[:size].ljust(size, b"n"))
    new[2 * BLOCK : 2 * BLOCK + 3] = b"new"
    disk = await open_url(server.url("disk.img"), digests=digests_of([old]).encode())
    assert await disk.read(0, IMAGE.size) == old
    await disk.close()
    server.image("disk.img").replace(bytes(new))
    disk = await open_url(server.url("disk.img"), digests=digests_of([bytes(new)]).encode())
    kept = disk.stats().kept_bytes
    assert min(size, IMAGE.size) - 2 * BLOCK <= kept < min(size, IMAGE.size)
    server.forget()
    assert await disk.read(0, size) == bytes(new)
    assert sum(r.bytes_sent for r in server.requests) <= size - kept


async def test_without_digests_nothing_of_an_older_version_is_kept(server, open_url):
    disk = await open_url(server.url("disk.img"))
    await disk.read(0, IMAGE.size)
    await disk.close()
    server.image("disk.img").replace(IMAGE.read(0, IMAGE.size))
    disk = await open_url(server.url("disk.img"))
    assert disk.stats().kept_bytes == 0
    assert disk.stats().cached_blocks == 1
