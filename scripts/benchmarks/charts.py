"""The bench's results as charts, SVG that is legible on light and on dark pages.

Each chart has a card of its own behind it and follows the reader's colour scheme.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from benchmarks.server import SHAPED

MB = 1e6
OURS = "ours"
# The names that the tables and the guide use.
NAMES = {
    (OURS, "cold"): "this project",
    (OURS, "profile"): "with a boot profile",
    (OURS, "warm"): "second visit",
    ("bare loop", "cold"): "bare loop",
    ("v86", "cold"): "v86's own disk",
    ("chunkd", "cold"): "chunkd",
    ("fsspec", "cold"): "fsspec",
}

_WIDTH, _VALUES = 760, 130
_FEW, _MANY = 190, 400  # width of the labels
_ROW, _BAR, _PAD = 26, 16, 20
_STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #1b2124; }
.title { font-size: 15px; font-weight: 600; }
.soft { fill: #566064; stroke: #fffefa; stroke-width: 4px; paint-order: stroke; }
.card { fill: #fffefa; stroke: #dad5c8; }
.bar { fill: #a9b0ab; }
.ours { fill: #0b7a72; }
.missed { fill: #c2570c; }
.line { stroke: #3949c6; stroke-width: 1.5; stroke-dasharray: 4 3; }
.note { fill: #3949c6; font-size: 12px; }
@media (prefers-color-scheme: dark) {
text { fill: #e9e6dd; }
.soft { fill: #a2adb0; stroke: #1a2023; }
.card { fill: #1a2023; stroke: #2c3538; }
.bar { fill: #5b676b; }
.ours { fill: #3fa79b; }
.missed { fill: #f0925a; }
.line { stroke: #93a2ff; }
.note { fill: #93a2ff; }
}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a chart: its label, its length, the text after the bar, and how it is drawn."""

    label: str
    value: float
    text: str
    kind: str = "bar"  # or "ours", "missed"


@dataclass(frozen=True, slots=True)
class Group:
    """Rows under a heading."""

    title: str
    bars: Sequence[Bar]


def chart(
    title: str,
    groups: Iterable[Group],
    mark: tuple[float, str] | None = None,
    cap: float = 0,
    labels: int = _FEW,
) -> str:
    """Horizontal bars on one scale; `mark` is a labelled line across all of them.

    If `cap` is given, longer bars are cut there; their text has the value. `labels` is the width of
    the label column.
    """
    groups = list(groups)
    values = [bar.value for group in groups for bar in group.bars]
    longest = cap or max([*values, *([mark[0]] if mark else [])])
    width = _WIDTH - labels - _VALUES
    parts, y = [f'<text class="title" x="{_PAD}" y="34">{escape(title)}</text>'], 52
    first = y
    for group in groups:
        if group.title:
            y += 22
            parts.append(f'<text class="soft" x="{_PAD}" y="{y}">{escape(group.title)}</text>')
            y += 8
        for bar in group.bars:
            length = max(2.0, min(bar.value, longest) / longest * width)
            middle = y + _ROW / 2
            parts.append(
                f'<text x="{labels - 10}" y="{middle + 4:g}" text-anchor="end">'
                f"{escape(bar.label)}</text>"
                f'<rect class="{bar.kind}" x="{labels}" y="{middle - _BAR / 2:g}" '
                f'width="{length:.1f}" height="{_BAR}" rx="2"/>'
                f'<text class="soft" x="{labels + length + 8:.1f}" y="{middle + 4:g}">'
                f"{escape(bar.text)}</text>"
            )
            y += _ROW
    if mark:
        x = labels + mark[0] / longest * width
        line = f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{first - 4}" y2="{y + 2}"/>'
        parts.insert(0, line)  # behind the bars
        parts.append(
            f'<text class="note" x="{x:.1f}" y="{y + 18}" text-anchor="middle">'
            f"{escape(mark[1])}</text>"
        )
        y += 22
    height = y + 14
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" role="img">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n"
        f'<rect class="card" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def boot_chart(results: dict[str, Any]) -> str:
    """The recorded boot over the slow link: the time and the download of each client."""
    runs = _runs(results, "boot", SHAPED.name)
    bound = runs[0]["bound_s"]
    bars = [
        Bar(
            NAMES[run["client"], run["state"]],
            run["median_s"],
            f"{run['median_s']:.1f} s, {run['bytes'][-1] / MB:.0f} MB",
            "ours" if run["client"] == OURS else "bar",
        )
        for run in runs
    ]
    title = f"Reading what a Debian boot reads, {SHAPED.name}"
    return chart(title, [Group("", bars)], (bound, f"the link's bound, {bound:.1f} s"))


def workloads_chart(results: dict[str, Any]) -> str:
    """The other workloads over the slow link, on a first visit."""
    groups = []
    for workload in ("sequential", "random 4 KiB", "strided", "mixed"):
        runs = [run for run in _runs(results, workload, SHAPED.name) if run["state"] == "cold"]
        bars = [
            Bar(
                NAMES[run["client"], "cold"],
                run["median_s"],
                f"{run['median_s']:.1f} s, {run['bytes'][-1] / MB:.0f} MB",
                "ours" if run["client"] == OURS else "bar",
            )
            for run in runs
        ]
        groups.append(Group(workload, bars))
    return chart(f"Time and bytes on a first visit, {SHAPED.name}", groups)


def goals_chart(results: dict[str, Any]) -> str:
    """Every measure that has a goal, as a multiple of the goal: 1 or more meets it."""
    bars = []
    for measure in results["measures"]:
        goal, ratio = measure["goal"], measure["ratio"] or measure["value"]
        if goal is None:
            continue
        score = ratio / goal if measure["at_least"] else goal / ratio
        is_met = measure["verdict"].lower() == "met"
        text = f"{score:.2f}" if is_met else f"{score:.2f}, missed"
        bars.append(Bar(_short(measure["name"]), score, text, "ours" if is_met else "missed"))
    title = "Measures as multiples of their goals: 1 and more is met"
    return chart(title, [Group("", bars)], (1.0, "goal"), cap=3.0, labels=_MANY)


def _short(label: str, max_length: int = 52) -> str:
    return label if len(label) <= max_length else f"{label[: max_length - 1]}…"


def _runs(results: dict[str, Any], workload: str, link: str) -> list[dict[str, Any]]:
    order = list(NAMES)
    found = [
        run
        for run in results["runs"]
        if (run["workload"], run["link"]) == (workload, link) and run.get("median_s") is not None
    ]
    return sorted(found, key=lambda run: order.index((run["client"], run["state"])))


CHARTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "measured-boot.svg": boot_chart,
    "measured-workloads.svg": workloads_chart,
    "measured-goals.svg": goals_chart,
}
