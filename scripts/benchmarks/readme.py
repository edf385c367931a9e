"""Writes what the bench found into the guide: `measurements.json`, the charts, and the tables.

The numbers are those of the last `./scripts/bench`, or of the results named on the command line.
With `--update` they replace the rows of the same names only: a run of some parts. The tables go
between the marks in `measurements.md`, in a collapsed section.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.charts import CHARTS
from lib.project import CACHE, WEB

GUIDE = WEB / "guide"
PAGE = GUIDE / "measurements.md"
RESULTS = GUIDE / "measurements.json"
PICTURES = GUIDE / "pictures"
FIRST, LAST = "<!-- bench:", "<!-- end of bench -->"
MB = 1e6
# What tells the rows of each table apart.
ROWS = {
    "runs": ("workload", "link", "client", "state"),
    "boots": ("disk", "state"),
    "measures": ("name",),
}


def tables(results: dict[str, Any]) -> str:
    """The results as Markdown: the clients, the link, and the measures."""
    parts = [f"On {results['machine']}:"]
    if runs := [run for run in results["runs"] if run["seconds"]]:
        columns = [
            "what, over which link",
            "who",
            "cache",
            "time",
            "× bound",
            "downloaded",
            "requests",
        ]
        parts.append(_folded("Every workload", _table(columns, map(_run, runs))))
    if boots := results.get("boots"):
        columns = ["a real boot in v86", "cache", "to the shell", "reads", "downloaded", "requests"]
        parts.append(_folded("Real boots in v86", _table(columns, map(_boot, boots))))
    if measures := results["measures"]:
        columns = ["measure", "ours", "against", "ratio", "goal", "verdict"]
        parts.append(_folded("Every single measure", _table(columns, map(_measure, measures))))
    return "\n\n".join(parts)


def _run(run: dict[str, Any]) -> list[str]:
    bound = run["bound_s"]
    is_bounded = bound and run["state"] != "warm"
    return [
        f"{run['workload']}, {run['link']}",
        run["client"],
        run["state"],
        f"{run['median_s']:.1f} s",
        f"{run['median_s'] / bound:.2f}" if is_bounded else "",
        f"{run['bytes'][-1] / MB:.0f} MB",
        f"{run['requests'][-1]}",
    ]


def _boot(boot: dict[str, Any]) -> list[str]:
    return [
        boot["disk"],
        boot["state"],
        f"{boot['seconds']:.0f} s",
        f"{boot['reads']}, {boot['read_bytes'] / MB:.0f} MB",
        f"{boot['bytes'] / MB:.0f} MB",
        str(boot["requests"]),
    ]


def _measure(measure: dict[str, Any]) -> list[str]:
    unit, against, goal = measure["unit"], measure["against"], measure["goal"]
    sign = "≥" if measure["at_least"] else "≤"
    return [
        measure["name"],
        f"{measure['value']:.3g} {unit}",
        "" if against is None else f"{against:.3g} {unit}",
        "" if measure["ratio"] is None else f"{measure['ratio']:.2f}",
        "" if goal is None else f"{sign} {goal:g}",
        measure["verdict"].lower(),
    ]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _folded(title: str, text: str) -> str:
    # GitHub and MkDocs both render Markdown inside it; MkDocs needs the attribute for that.
    return f'<details markdown="1">\n<summary>{title}</summary>\n\n{text}\n\n</details>'


def updated(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The old results, with the rows that the new ones have in their place, or at the end."""
    merged = {**old, "machine": new["machine"]}
    for kind, names in ROWS.items():
        rows = {tuple(row[name] for name in names): row for row in old.get(kind, [])}
        rows.update({tuple(row[name] for name in names): row for row in new.get(kind, [])})
        merged[kind] = list(rows.values())
    return merged


def written(page: str, text: str) -> str:
    """The page, with `text` inserted between its marks."""
    before, _, rest = page.partition(FIRST)
    mark, _, rest = rest.partition("-->")
    _, _, after = rest.partition(LAST)
    return f"{before}{FIRST}{mark}-->\n\n{text}\n\n{LAST}{after}"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench_readme", description=__doc__)
    parser.add_argument(
        "results", type=Path, nargs="?", default=CACHE / "bench" / "results.json", metavar="JSON"
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="replace only the rows of these names",
    )
    options = parser.parse_args()
    results = json.loads(options.results.read_text(encoding="utf-8"))
    if options.update:
        results = updated(json.loads(RESULTS.read_text(encoding="utf-8")), results)
    text = json.dumps(results, indent=1, ensure_ascii=False)
    RESULTS.write_text(f"{text}\n", encoding="utf-8")
    for name, draw in CHARTS.items():
        (PICTURES / name).write_text(draw(results), encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(written(page, tables(results)), encoding="utf-8")
    print(f"wrote {PAGE}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
