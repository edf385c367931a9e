"""The bench's results, as JSON and as tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

MB = 1e6


@dataclass(slots=True)
class Run:
    """One client at one workload over one link, with all repetitions."""

    workload: str
    link: str
    client: str
    state: str  # cold, warm, or with a boot profile
    bound_s: float
    distinct_bytes: int
    seconds: list[float] = field(default_factory=list)
    open_ms: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    preflights: int = 0
    max_at_once: int = 0
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """The run as JSON, with the medians."""
        medians = {} if not self.seconds else {"median_s": self.median_s}
        return {**asdict(self), **medians}

    @property
    def median_s(self) -> float:
        """The median time."""
        return statistics.median(self.seconds)


@dataclass(frozen=True, slots=True)
class Measure:
    """A number, the number it is compared with, and the goal for the ratio, if any."""

    name: str
    value: float
    unit: str
    against: float | None = None
    goal: float | None = None
    at_least: bool = False  # the goal is a floor, not a ceiling

    @property
    def ratio(self) -> float | None:
        """The number divided by the one it is compared with."""
        return None if not self.against else self.value / self.against

    @property
    def verdict(self) -> str:
        """Whether the goal is met."""
        ratio = self.value if self.against is None else self.ratio
        if self.goal is None or ratio is None:
            return ""
        met = ratio >= self.goal if self.at_least else ratio <= self.goal
        return "met" if met else "MISSED"

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {**asdict(self), "ratio": self.ratio, "verdict": self.verdict}


def runs_table(runs: Iterable[Run]) -> str:
    """The runs, a table for each workload and link."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.workload, run.link), []).append(run)
    return "\n\n".join(_group(name, link, found) for (name, link), found in groups.items())


def _group(name: str, link: str, runs: Sequence[Run]) -> str:
    bound, distinct = runs[0].bound_s, runs[0].distinct_bytes
    bound_text = f"{bound:.2f} s" if bound else "none"
    head = f"{name} · {link} · {distinct / MB:.1f} MB distinct · bound {bound_text}"
    bare = next((run for run in runs if run.client == "bare loop" and run.seconds), None)
    rows = [_row(run, bare) for run in runs]
    columns = [
        "client",
        "state",
        "median",
        "× bound",
        "× bare",
        "MB",
        "× bytes",
        "requests",
        "open",
    ]
    return f"{head}\n{table(columns, rows)}"


def _row(run: Run, bare: Run | None) -> list[str]:
    if not run.seconds:
        return [run.client, run.state, run.error or "-", *[""] * 6]
    seconds, sent = run.median_s, statistics.median(run.bytes)
    comparable = bare is not None and run.state == "cold" and bare.median_s > 0
    return [
        run.client,
        run.state,
        f"{seconds:.3f} s",
        f"{seconds / run.bound_s:.2f}" if run.bound_s and run.state != "warm" else "",
        f"{seconds / bare.median_s:.2f}" if comparable and bare else "",
        f"{sent / MB:.1f}",
        f"{sent / run.distinct_bytes:.2f}",
        f"{statistics.median(run.requests):.0f}",
        f"{statistics.median(run.open_ms):.0f} ms" if run.open_ms else "",
    ]


def measures_table(measures: Iterable[Measure]) -> str:
    """The measures, as a table."""
    rows = []
    for m in measures:
        against = "" if m.against is None else f"{m.against:.3g} {m.unit}"
        ratio = "" if m.ratio is None else f"{m.ratio:.2f}"
        sign = "≥" if m.at_least else "≤"
        goal = "" if m.goal is None else f"{sign} {m.goal:g}"
        rows.append([m.name, f"{m.value:.3g} {m.unit}", against, ratio, goal, m.verdict])
    return table(["measure", "ours", "against", "ratio", "goal", ""], rows)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side; the first is text, the others are numbers."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = [columns, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
