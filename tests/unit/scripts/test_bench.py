"""What the bench computes from what it measured, and the workloads it makes up."""

import sys

import pytest

from benchmarks import packing
from benchmarks.boot_images import runs_of
from benchmarks.prepared import CONTENDERS, goals
from benchmarks.readme import updated
from benchmarks.results import Measure, Run, measures_table, runs_table
from benchmarks.saved_guest import digest_in, pushed
from benchmarks.server import LOCAL, SHAPED
from benchmarks.workloads import (
    LONGEST_THINK_MS,
    Workload,
    mixed,
    random_pages,
    recorded_boot,
    sequential,
    strided,
)

MIB = 1 << 20


def run(client, seconds, *, state="cold", sent=0):
    return Run("boot", "link", client, state, 2.0, 1000, [seconds], [], [7], [sent])


class TestWorkload:
    def test_bytes_that_are_read_twice_count_once(self):
        reads = ((0, 100, 0.0), (50, 100, 0.0), (0, 100, 0.0), (1000, 10, 0.0))
        workload = Workload("", "", reads)
        assert workload.bytes == 310
        assert workload.distinct_bytes == 160

    @pytest.mark.parametrize("make", [random_pages, mixed])
    def test_the_same_each_time(self, make):
        assert make(50, 512 * MIB) == make(50, 512 * MIB)

    @pytest.mark.parametrize(
        "workload",
        [sequential(8 * MIB), random_pages(50, 64 * MIB), strided(50), mixed(50, 64 * MIB)],
        ids=lambda workload: workload.name,
    )
    def test_stays_within_the_image(self, workload):
        assert all(length > 0 and offset >= 0 for offset, length, _ in workload.reads)
        assert max(offset + length for offset, length, _ in workload.reads) <= 512 * MIB

    def test_the_recorded_boot(self):
        workload, size = recorded_boot("debian-boot")
        assert size == 4 << 30
        assert workload.think_s == 0
        assert 40 * MIB < workload.distinct_bytes < 50 * MIB
        assert all(offset + length <= size for offset, length, _ in workload.reads)

    def test_think_time_is_scaled_and_bounded(self):
        slow, _ = recorded_boot("debian-boot", think=1.0)
        fast, _ = recorded_boot("debian-boot", think=0.1)
        assert max(think for _, _, think in slow.reads) == LONGEST_THINK_MS
        assert fast.think_s == pytest.approx(slow.think_s / 10)


class TestBound:
    def test_is_a_round_trip_and_the_bytes(self):
        assert SHAPED.bound_s(6_250_000) == pytest.approx(1.04)

    def test_there_is_none_without_a_link(self):
        assert LOCAL.bound_s(1 << 30) == 0


class TestMeasure:
    def test_a_ceiling(self):
        assert Measure("", 4.0, "µs", 1.0, goal=4.0).verdict == "met"
        assert Measure("", 4.1, "µs", 1.0, goal=4.0).verdict == "MISSED"

    def test_a_floor(self):
        assert Measure("", 9.9, "MB/s", 10.0, 0.98, at_least=True).verdict == "met"
        assert Measure("", 9.7, "MB/s", 10.0, 0.98, at_least=True).verdict == "MISSED"

    def test_a_goal_for_the_number_itself(self):
        assert Measure("", 501, "ms", goal=500).verdict == "MISSED"

    def test_without_a_goal(self):
        assert Measure("", 1.0, "ms", 0.5).verdict == ""

    def test_the_table_shows_the_ratio(self):
        assert "2.00" in measures_table([Measure("a read", 1.0, "ms", 0.5)])


class TestTables:
    def test_a_run_is_compared_with_the_bound_and_the_bare_loop(self):
        text = runs_table([run("ours", 3.0, sent=1800), run("bare loop", 4.0, sent=1000)])
        ours = next(line for line in text.splitlines() if line.startswith("ours"))
        assert ours.split() == [
            "ours", "cold", "3.000", "s", "1.50", "0.75", "0.0", "1.80", "7",
        ]  # fmt: skip

    def test_a_client_that_failed_says_why(self):
        failed = Run("boot", "link", "v86", "cold", 2.0, 1000, error="no such thing")
        assert "no such thing" in runs_table([failed])

    def test_the_median_is_what_counts(self):
        measured = run("ours", 9.0)
        measured.seconds += [1.0, 2.0]
        assert measured.to_json()["median_s"] == 2.0


class TestUpdated:
    def test_rows_of_the_same_name_are_replaced_where_they_are(self):
        old = {
            "machine": "old",
            "runs": [run("ours", 1.0).to_json(), run("v86", 9.0).to_json()],
            "measures": [Measure("a", 1, "s").to_json(), Measure("b", 2, "s").to_json()],
        }
        new = {
            "machine": "new",
            "runs": [run("ours", 3.0).to_json(), run("ours", 2.0, state="warm").to_json()],
            "measures": [Measure("c", 3, "s").to_json(), Measure("a", 4, "s").to_json()],
        }
        merged = updated(old, new)
        assert merged["machine"] == "new"
        assert [(row["client"], row["state"], row["seconds"]) for row in merged["runs"]] == [
            ("ours", "cold", [3.0]),
            ("v86", "cold", [9.0]),
            ("ours", "warm", [2.0]),
        ]
        assert [(row["name"], row["value"]) for row in merged["measures"]] == [
            ("a", 4),
            ("b", 2),
            ("c", 3),
        ]
        assert merged["boots"] == []


class TestPacking:
    def test_an_update_changes_a_sector_in_one_chunk_of_a_hundred(self, tmp_path):
        image = tmp_path / "disk.img"
        image.write_bytes(bytes(200 * packing.CHUNK))
        chunks = packing.picked(dict.fromkeys(range(200), 1000))
        packing.change(image, chunks)
        data = image.read_bytes()
        chunks = [data[at : at + packing.CHUNK] for at in range(0, len(data), packing.CHUNK)]
        assert [chunk.count(0xFF) for chunk in chunks if any(chunk)] == [512, 512]

    def test_the_chunks_that_change_are_of_an_average_size(self):
        sizes = {number: 1 + number % 7 * 100 for number in range(1000)}
        chunks = packing.picked(sizes)
        assert len(set(chunks)) == 10
        assert sum(sizes[number] for number in chunks) == pytest.approx(3010, rel=0.05)

    def test_the_memory_is_that_of_the_program(self):
        small = packing.measured(sys.executable, "-S", "-c", "")
        large = packing.measured(sys.executable, "-S", "-c", f"bytearray({64 * MIB})")
        assert large.peak_bytes - small.peak_bytes > 60 * MIB

    async def test_a_loop_of_its_own_runs_beside_another(self):
        async def work():
            return 7

        assert packing.in_own_loop(work()) == 7


class TestBootImages:
    def test_chunks_that_follow_one_another_are_one_run(self):
        size = packing.CHUNK
        assert list(runs_of([])) == []
        assert list(runs_of([3, 4, 9])) == [(3 * size, 2 * size), (9 * size, size)]

    def test_a_boot_is_measured_against_the_raw_bound_and_raw_itself(self):
        def of(contender, link, seconds):
            return Run(
                "", link.name, contender.name, contender.state, 2.0, 1, [seconds], [], [], [9]
            )

        runs = [of(contender, SHAPED, 4.0) for contender in CONTENDERS]
        runs += [of(contender, LOCAL, 1.0) for contender in CONTENDERS]
        found = {measure.name: measure for measure in goals(runs)}
        assert found["boot of a Debian, prepared: time"].ratio == 2.0
        assert found["boot of a Debian, prepared: time"].verdict == "MISSED"
        assert found["boot of a Debian, prepared with a boot bundle: bytes"].verdict == "met"
        assert found["boot of a Debian, raw: time"].verdict == ""
        assert found["boot of a Debian, local link, prepared against raw"].ratio == 1.0


def test_pushes_of_a_guest_are_compared_with_what_they_changed() -> None:
    pushes = [
        {"changedBytes": 4_000_000, "chunkBytes": 900_000, "manifestBytes": 100_000, "ms": 500},
        {"changedBytes": 90_000, "chunkBytes": 10_000, "manifestBytes": 1_500, "ms": 50},
        {"changedBytes": 30_000, "chunkBytes": 1_000, "manifestBytes": 500, "ms": 50},
    ]
    first, _, file, _, line, _ = pushed(pushes)
    assert (first.value, first.ratio) == (1.0, 0.25)
    assert (file.value, file.verdict) == (11.5, "MISSED")
    assert (line.value, line.verdict) == (1.5, "")


def test_the_digest_of_a_guest_is_found_in_what_it_said() -> None:
    digest = "0123456789abcdef" * 2
    assert digest_in(f"cat FILE | md5sum; echo \r\n{digest}  -\r\n") == digest
    with pytest.raises(RuntimeError, match="no digest"):
        digest_in("md5sum: FILE: No such file")
