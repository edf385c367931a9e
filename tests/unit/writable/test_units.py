"""What a slot of the commit log says is read back as it was written, checksums and all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.writable.granule_table import ALL, GRANULE
from aero_browser_disk.writable.sector_journal import (
    UNITS_IN_SLOT,
    JournalSlot,
    Record,
    UnitReader,
    encode_units,
    unpacked_units,
)
from aero_browser_disk.writable.slot_checksums import SlotChecksums

SLOTS = 20_000
MASKS = st.sampled_from([1, 0x80, ALL])


def slots_of(records: list[Record], checksums: SlotChecksums) -> list[JournalSlot]:
    units = encode_units(records, checksums)
    return [JournalSlot(2, 0, 0, 0, part) for part in unpacked_units(units)]


def written(slots: range) -> SlotChecksums:
    checksums = SlotChecksums()
    for slot in slots:
        checksums.note_written(slot, slot.to_bytes(4, "little") * (GRANULE // 4))
    return checksums


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["single", "single", "single", "run", "unchecked", "zeros"]),
            st.integers(0, (1 << 45) - 1),
            MASKS,
            st.integers(1, 40),
        ),
        max_size=60,
    ),
    st.integers(0, 2 * UNITS_IN_SLOT),
)
def test_records_and_their_checksums_are_read_as_they_were_written(
    parts: list[tuple[str, int, int, int]], singles_before: int
) -> None:
    checksums, records, slot = SlotChecksums(), [], 2
    kinds = [("single", index, ALL, 1) for index in range(singles_before)] + parts
    for kind, granule, mask, length in kinds:
        count = 1 if kind == "single" else length
        records.append((granule << 8 | mask, count, 0 if kind == "zeros" else slot))
        if kind in ("single", "run"):
            data = slot.to_bytes(4, "little") * (GRANULE // 4)
            checksums.note_written(slot, data * count)
        slot += count
    read = SlotChecksums()
    reader = UnitReader(read, SLOTS)
    found = [record for part in slots_of(records, checksums) for record in reader.read(part)]
    assert found == records
    for _, count, first in records:
        if first:
            assert read.get(first, count) == checksums.get(first, count)


def test_a_slot_of_an_earlier_format_that_is_used_again_is_checked_from_then_on() -> None:
    checksums = written(range(5, 6))
    read = SlotChecksums()
    read.forget(4, 3)  # as the journal of format 1 says nothing of its data
    assert read.get(5, 1) is None
    (slot,) = slots_of([(7 << 8 | ALL, 1, 5)], checksums)
    UnitReader(read, SLOTS).read(slot)
    assert read.get(5, 1) == checksums.get(5, 1)
    assert read.get(4, 1) is None
    with memoryview(bytes(GRANULE)) as other:
        assert read.check(5, other) == 5


@pytest.mark.parametrize("count", [1, 2])
def test_a_record_of_a_slot_that_the_file_has_not_is_refused(count: int) -> None:
    checksums = written(range(SLOTS - 1, SLOTS + 1))
    (slot,) = slots_of([(8 | ALL, 1, SLOTS - 1)], checksums)
    UnitReader(SlotChecksums(), SLOTS).read(slot)
    (slot,) = slots_of([(8 | ALL, count, SLOTS + 1 - count)], checksums)
    with pytest.raises(IndexError):
        UnitReader(SlotChecksums(), SLOTS).read(slot)
