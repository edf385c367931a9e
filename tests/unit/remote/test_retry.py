"""Retries: which failures count, from when the time runs, and when there is no other try."""

from __future__ import annotations

import pytest

from aero_browser_disk.errors import HttpStatusError, IntegrityError, NetworkError
from aero_browser_disk.remote.retry import Retries, RetryPolicy

POLICY = RetryPolicy(tries=3, base_s=1, cap_s=8, total_s=60)
URL = "https://images.example/disk.img"


class TurnedClock:
    """Stands still but for what is slept."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


class Failing:
    """Fails with each of `errors` in turn, then returns how often it was called."""

    def __init__(self, *errors: Exception) -> None:
        self.calls = 0
        self._errors = list(errors)

    async def __call__(self) -> int:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return self.calls


async def test_transient_failures_are_tried_again():
    operation = Failing(NetworkError(URL), HttpStatusError(URL, 503))
    assert await Retries(POLICY, TurnedClock()).run(operation) == 3


async def test_the_last_failure_is_raised():
    operation = Failing(NetworkError(URL), NetworkError(URL), HttpStatusError(URL, 503))
    with pytest.raises(HttpStatusError):
        await Retries(POLICY, TurnedClock()).run(operation)
    assert operation.calls == POLICY.tries


@pytest.mark.parametrize("error", [HttpStatusError(URL, 404), ValueError("a defect of ours")])
async def test_other_failures_are_raised_at_once(error):
    operation = Failing(error)
    with pytest.raises(type(error)):
        await Retries(POLICY, TurnedClock()).run(operation)
    assert operation.calls == 1


async def test_wrong_bytes_are_asked_for_once_more():
    operation = Failing(IntegrityError(0, 512), IntegrityError(0, 512), IntegrityError(0, 512))
    with pytest.raises(IntegrityError):
        await Retries(POLICY, TurnedClock()).run(operation)
    assert operation.calls == 2


async def test_it_waits_as_long_as_the_server_says_but_no_longer_than_in_all():
    clock = TurnedClock()
    started = clock.time
    asked = [HttpStatusError(URL, 429, retry_after_s) for retry_after_s in (40, 40)]
    with pytest.raises(HttpStatusError):
        await Retries(POLICY, clock).run(Failing(*asked))
    assert clock.time - started == 40


def test_progress_forgets_failures_and_starts_the_time():
    clock = TurnedClock()
    retries = Retries(POLICY, clock)
    for _ in range(10):
        retries.begin()
        clock.time += 2 * POLICY.total_s
        retries.progress()
        assert retries.delay_s(NetworkError(URL)) is not None


def test_time_before_the_first_try_does_not_count():
    clock = TurnedClock()
    retries = Retries(POLICY, clock)
    clock.time += 2 * POLICY.total_s
    retries.begin()
    assert retries.delay_s(NetworkError(URL)) is not None
    clock.time += 2 * POLICY.total_s
    retries.begin()
    assert retries.delay_s(NetworkError(URL)) is None
