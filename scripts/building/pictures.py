"""Makes the guide's diagrams: `web/guide/pictures/*.svg` from `*.dot` there, by Graphviz.

Run it after changing one. Each picture has a card of its own behind it, so that it can be read on
light and on dark pages, and the digest of what it was made from, which a test compares.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

from lib.project import WEB

PICTURES = WEB / "guide" / "pictures"
_MARK = re.compile(r"<!-- made from sha256:([0-9a-f]{64}) -->")
_BETWEEN_TAGS = re.compile(r"<!--.*?-->\s*|<title>.*?</title>\s*", re.DOTALL)
_SIZE = re.compile(r'width="(\d+)pt" height="(\d+)pt"\s+viewBox="([^"]*)"')
_BACKGROUND = re.compile(r'<polygon fill="[^"]*" stroke="[^"]*" points="[^"]*"/>')
_PLACE = re.compile(r'viewBox="\S+ \S+ (\S+) (\S+)".*?translate\((\S+) (\S+)\)', re.DOTALL)

_INK, _SOFT, _LINE, _PAPER, _RAISED = "#1b2124", "#566064", "#b9b3a4", "#f6f4ee", "#fffefa"
_STYLE = {
    "-G": {"bgcolor": _PAPER, "fontname": "Helvetica,Arial,sans-serif", "pad": "0.3"}
    | {"fontsize": "13", "fontcolor": _INK, "color": _LINE, "style": "rounded"},
    "-N": {"shape": "box", "style": "filled,rounded", "fillcolor": _RAISED, "color": _LINE}
    | {"fontname": "Helvetica,Arial,sans-serif", "fontsize": "12", "fontcolor": _INK},
    "-E": {"color": _SOFT, "fontcolor": _SOFT, "fontname": "Helvetica,Arial,sans-serif"}
    | {"fontsize": "11", "arrowsize": "0.7"},
}


def sources() -> list[Path]:
    """What pictures are made from."""
    return sorted(PICTURES.glob("*.dot"))


def digest_of(source: Path) -> str:
    """Names what decides how the picture of a source looks."""
    return hashlib.sha256(source.read_bytes() + Path(__file__).read_bytes()).hexdigest()


def mark_of(picture: Path) -> str | None:
    """The digest of what a picture was made from."""
    found = _MARK.search(picture.read_text(encoding="utf-8"))
    return found[1] if found else None


def draw(source: Path) -> str:
    """The picture of a source, as SVG."""
    style = [
        f"{kind}{name}={value}" for kind, set_ in _STYLE.items() for name, value in set_.items()
    ]
    drawn = subprocess.run(
        ["dot", "-Tsvg", *style, source], check=True, capture_output=True, text=True
    ).stdout
    drawn = _BETWEEN_TAGS.sub("", drawn[drawn.index("<svg") :])
    # In pixels instead of points, and on a card with round corners.
    drawn = _SIZE.sub(r'width="\1" height="\2" viewBox="\3"', drawn, count=1)
    drawn = _BACKGROUND.sub(_card(drawn), drawn, count=1)
    return f"<!-- made from sha256:{digest_of(source)} -->\n{drawn}"


def _card(drawn: str) -> str:
    found = _PLACE.search(drawn)
    assert found is not None, "Graphviz writes other SVG than it did"
    width, height, right, down = map(float, found.groups())
    box = f'x="{0.5 - right:g}" y="{0.5 - down:g}" width="{width - 1:g}" height="{height - 1:g}"'
    return f'<rect {box} rx="8" fill="{_PAPER}" stroke="#dad5c8"/>'


def main() -> int:
    """Makes all pictures anew."""
    for source in sources():
        picture = source.with_suffix(".svg")
        picture.write_text(draw(source), encoding="utf-8")
        print(f"made {picture.name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
