"""What a disk does, recorded for those who watch."""

from __future__ import annotations

import json

from aero_browser_disk.streaming.activity import INTERVAL_S, MAX_INTERVALS, Activity, mean_rates


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time


def watched() -> tuple[Activity, Clock]:
    clock = Clock()
    return Activity(clock.now, on=True), clock


def test_the_latest_events_come_first_and_old_ones_not_at_all() -> None:
    activity, clock = watched()
    activity.note("hit", 0, 512)
    clock.time += 5
    activity.note("miss", 4096, 512)
    activity.note("request", 4096, 16384)

    assert [event.kind for event in activity.latest(2)] == ["request", "miss"]
    assert [event.kind for event in activity.latest(60)] == ["request", "miss", "hit"]


def test_events_are_bounded_and_what_went_is_counted() -> None:
    activity, _ = watched()

    for number in range(20_000):
        activity.note("hit", number, 1)

    assert len(activity.events) + activity.dropped == 20_000
    assert len(activity.events) < 20_000
    assert activity.events[-1].offset == 19_999
    # what they add up to is not lost
    assert sum(interval.reads for interval in activity.intervals()) == 20_000


def test_moments_hold_what_happened_in_each_and_quiet_ones_too() -> None:
    activity, clock = watched()
    activity.note("hit", 0, 100)
    activity.note("miss", 0, 200)
    activity.note("request", 0, 1000)
    activity.note("arrival", 0, 300)
    activity.note("arrival", 300, 700)
    clock.time += 2 * INTERVAL_S

    intervals = activity.intervals()

    assert len(intervals) == MAX_INTERVALS
    first = intervals[-3]
    assert (first.reads, first.requests, first.bytes_read, first.bytes_downloaded) == (
        2,
        1,
        300,
        1000,
    )
    assert intervals[-1].reads == intervals[-2].reads == 0


def test_rates_are_of_the_last_whole_moments() -> None:
    activity, clock = watched()
    for _ in range(4):
        activity.note("hit", 0, 500)
        clock.time += INTERVAL_S
    activity.note("hit", 0, 10**6)  # the present interval is not over

    rates = mean_rates(activity.intervals(), over_s=2.0)

    assert (rates.reads, rates.bytes_read) == (2, 1000)


def test_reads_are_counted_once_where_a_disk_lies_over_another() -> None:
    activity, _ = watched()
    activity.reader_level = 1

    activity.note("hit", 0, 512)  # what the lower one serves
    activity.note("hit", 0, 512, reader_level=1)
    activity.note("request", 0, 16384)

    assert [event.kind for event in activity.events] == ["hit", "request"]


def test_the_trace_is_a_document_that_others_can_read() -> None:
    activity, clock = watched()
    activity.note("miss", 512, 1024)
    clock.time += 0.25
    activity.note("request", 0, 16384)

    trace = json.loads(activity.trace(2**20, '"v1"'))

    assert trace["format"] == "aero-disk-trace"
    assert trace["image"] == {"size": 2**20, "version": '"v1"'}
    assert trace["events"] == [[0, "miss", 512, 1024], [250, "request", 0, 16384]]


def test_nothing_watched_has_an_empty_trace() -> None:
    activity = Activity()

    assert json.loads(activity.trace(1, ""))["events"] == []
