"""What a disk does, ready to be drawn: its map in cells, its timeline in tracks, and words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..streaming.activity import INTERVAL_S, Interval, mean_rates
from ..streaming.disk_map import Cells, DiskMap, cell_states
from ..units import format_bytes
from . import page_texts as texts

View = dict[str, object]


def map_view(shown: DiskMap, start: int, length: int, max_cells: int) -> View:
    """The `length` bytes at `start` in `max_cells` cells at most, a byte for each in each plane."""
    cells = shown.cells(start, length, max_cells)
    size = shown.disk.info.size
    stop = min(cells.start + len(cells) * cells.cell_size, size)
    whole = cells.start == 0 and stop == size
    cell = format_bytes(cells.cell_size)
    return {
        "start": cells.start,
        "stop": stop,
        "size": size,
        "blockSize": shown.disk.info.block_size,
        "cellSize": cells.cell_size,
        "stored": cells.stored,
        "heat": cells.heat,
        "marks": cells.marks,
        "hint": texts.MAP_HINT.format(cell=cell)
        if whole
        else texts.MAP_PART.format(
            start=format_bytes(cells.start), stop=format_bytes(stop), cell=cell
        ),
    }


def cell_text(cells: Cells, index: int, size: int, *, is_all_here: bool) -> str:
    """One cell in words: its range and its states."""
    words = texts.CELL_STATES | (texts.CELL_STATES_LOCAL if is_all_here else {})
    start = cells.start + index * cells.cell_size
    stop = min(start + cells.cell_size, size)
    return texts.CELL.format(
        start=format_bytes(start),
        stop=format_bytes(stop),
        states=", ".join(words[state] for state in cell_states(cells, index)),
    )


def timeline_view(intervals: Sequence[Interval]) -> View:
    """The tracks, each with its values per interval and the rate of the last seconds in words."""
    rates = mean_rates(intervals)

    def track(name: str, value: Callable[[Interval], int], rate: str) -> View:
        return {
            "name": name,
            "label": texts.TRACKS[name],
            "values": [value(interval) for interval in intervals],
            "rate": rate,
        }

    return {
        "momentS": INTERVAL_S,
        "tracks": [
            track("reads", lambda interval: interval.reads, _count_rate(rates.reads)),
            track("requests", lambda interval: interval.requests, _count_rate(rates.requests)),
            track(
                "downloaded",
                lambda interval: interval.bytes_downloaded,
                texts.BYTES_RATE.format(size=format_bytes(rates.bytes_downloaded)),
            ),
        ],
    }


def _count_rate(count: int) -> str:
    return texts.COUNT_RATE.format(count=count)
