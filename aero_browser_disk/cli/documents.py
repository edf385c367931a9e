"""The files that options name: boot profiles, digest lists, traces, headers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import InvalidDocumentError
from ..streaming.boot_profile import BootProfile
from .output import UsageError


def load_profile(path: Path) -> BootProfile:
    """A boot profile; raises `InvalidDocumentError`."""
    try:
        return BootProfile.decode(path.read_bytes())
    except ValueError as error:
        raise InvalidDocumentError("boot profile", str(error)) from error


def load_reads(path: Path) -> list[tuple[int, int]]:
    """(offset, length) of each read, from a trace of the page or the bench, or from lines."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    try:
        if text.lstrip().startswith("{"):
            return [(int(read[0]), int(read[1])) for read in _reads_of(json.loads(text))]
        lines = [line.split() for line in text.splitlines() if line.strip()]
        return [(int(line[0], 0), int(line[1], 0)) for line in lines]
    except (ValueError, TypeError, IndexError, KeyError):
        raise InvalidDocumentError("trace", "it has no reads of an offset and a length") from None


def _reads_of(document: Any) -> list[Any]:
    """The reads of a trace: the page's has events, of which some are reads; the bench's reads."""
    if "events" in document:
        return [event[2:] for event in document["events"] if event[1] in ("hit", "miss")]
    return list(document["reads"])


def load_headers(given: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names and values of `NAME: VALUE` or of the lines of `@FILE`; raises `UsageError`."""
    for text in given:
        lines = Path(text[1:]).read_text().splitlines() if text.startswith("@") else [text]
        for line in filter(str.strip, lines):
            name, colon, value = line.partition(":")
            if not colon or not name.strip():
                raise UsageError("--header: write NAME: VALUE")
            yield name.strip(), value.strip()
