"""Finds the data track of a CD whose files are named by a cue sheet (CDRWIN)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ..errors import DamagedImageError, UnsupportedImageError
from .image_format import CD_SECTORS, CUE

MAX_CUE_SHEET: Final = 64 << 10
"""Bytes of the longest cue sheet that is read."""

_LINE = re.compile(r'\s*(FILE|TRACK|INDEX)\s+("[^"]*"|\S+)\s+(\S+)\s*', re.IGNORECASE)
# What the disk of a track is opened as.
_FORMATS = {
    "MODE1/2352": CD_SECTORS.name,
    "MODE2/2352": CD_SECTORS.name,
    "MODE1/2048": "raw",
    "MODE2/2048": "raw",
}
_BEGIN = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s*(?:REM|CATALOG|TITLE|PERFORMER)\b[^\n]*\n)*\s*FILE\s")


@dataclass(frozen=True, slots=True)
class DataTrack:
    """The first data track: the name of its file, next to the sheet, and that file's format."""

    file: str
    format: str


def begins_cue_sheet(head: bytes) -> bool:
    """Whether a file begins like a cue sheet."""
    return _BEGIN.match(head) is not None and b"TRACK" in head[:4096].upper()


def data_track(sheet: bytes) -> DataTrack:
    """The first data track that a sheet names; audio tracks are left out.

    Raises `DamagedImageError`, and `UnsupportedImageError` where there is none, or one that cannot
    be read.
    """
    if len(sheet) > MAX_CUE_SHEET:
        raise _damaged(f"it has more than {MAX_CUE_SHEET:,} bytes")
    file = kind = mode = ""
    for line in sheet.decode("utf-8-sig", "replace").splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        command, first, second = found[1].upper(), found[2].strip('"'), found[3]
        if command == "FILE":
            file, kind = first, second.upper()
        elif command == "TRACK":
            mode = second.upper()
        elif first in ("1", "01") and mode != "AUDIO":
            return _checked(file, kind, mode, second)
    raise _refused("It names no data track.")


def _checked(file: str, kind: str, mode: str, start: str) -> DataTrack:
    name = re.split(r"[/\\]", file)[-1]
    if not name or name in (".", ".."):
        raise _damaged("its data track has no file")
    if kind != "BINARY":
        raise _refused(f"Its data track is in a file of type {kind[:16]}, not BINARY.")
    if mode not in _FORMATS:
        raise _refused(f"Its data track is of mode {mode[:16]}.")
    if start != "00:00:00":
        raise _refused("Its data track does not begin at the start of its file.")
    return DataTrack(name, _FORMATS[mode])


def _damaged(reason: str) -> DamagedImageError:
    return DamagedImageError(CUE.title, reason)


def _refused(reason: str) -> UnsupportedImageError:
    return UnsupportedImageError(CUE.name, CUE.title, reason)
