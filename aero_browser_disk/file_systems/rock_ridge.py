"""What Rock Ridge adds to a directory record (IEEE P1281 and P1282)."""

from __future__ import annotations

import calendar
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from .tree import Kind, Metadata
from .volume import Volume

_SECTOR = 2048
_MAX_CONTINUATIONS = 32
_KINDS: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
_TIMES = ("created", "modified", "accessed", "changed")  # bits 0 to 3, in the order they follow
_LONG_FORM = 0x80


def starts_rock_ridge(system_use: bytes) -> int | None:
    """How many bytes come before the fields of each record; None without such fields."""
    for at in (0, 14):  # a CD-ROM XA record has 14 bytes of its own before them
        if system_use[at : at + 2] == b"SP" and system_use[at + 4 : at + 6] == b"\xbe\xef":
            return system_use[at + 6]
    return None


@dataclass(slots=True)
class RockRidge:
    """The fields of one record."""

    name: str = ""
    metadata: Metadata = field(default_factory=Metadata)
    target: str | None = None
    child: int | None = None
    """The block of the folder that stands here, if it was moved away."""
    is_relocated: bool = False
    cannot: str = ""

    @property
    def kind(self) -> Kind | None:
        """What it is, where the record says so."""
        mode = self.metadata.mode
        return None if mode is None else _KINDS.get(stat.S_IFMT(mode), "other")

    @classmethod
    async def read(cls, volume: Volume, system_use: bytes) -> RockRidge:
        """Reads the fields, those that go on elsewhere too."""
        found = cls()
        name, link = b"", _LinkTarget()
        area = system_use
        for _ in range(_MAX_CONTINUATIONS):
            following = None
            for kind, body in _fields(area):
                if kind == b"CE" and len(body) >= 24:
                    following = struct.unpack_from("<I4xI4xI", body)
                elif kind == b"NM" and body and not body[0] & 0x06:
                    name += body[1:]
                elif kind == b"SL" and body:
                    link.add(body[1:])
                else:
                    found._take(kind, body)
            if following is None:
                break
            block, offset, length = following
            area = await volume.read_up_to(block * _SECTOR + offset, min(length, _SECTOR))
        found.name = name.decode("utf-8", "backslashreplace")
        if found.kind == "link":
            found.target = link.text()
        return found

    def _take(self, kind: bytes, body: bytes) -> None:
        if kind == b"PX" and len(body) >= 28:
            mode, uid, gid = struct.unpack_from("<I12xI4xI", body)
            self.metadata = replace(self.metadata, mode=mode, uid=uid, gid=gid)
        elif kind == b"TF" and body:
            self.metadata = replace(self.metadata, **_times(body))
        elif kind == b"CL" and len(body) >= 4:
            self.child = struct.unpack_from("<I", body)[0]
        elif kind == b"RE":
            self.is_relocated = True
        elif kind == b"ZF":
            self.cannot = "it is compressed (zisofs)"
        elif kind == b"SF":
            self.cannot = "it is stored as a sparse file"


def _fields(area: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 4 <= len(area):
        kind, length = area[at : at + 2], area[at + 2]
        if length < 4 or kind == b"ST":
            return
        yield kind, area[at + 4 : at + length]
        at += length


class _LinkTarget:
    """A link's target, from the components of its SL fields (P1282, §4.1.3)."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._goes_on = False

    def add(self, components: bytes) -> None:
        at = 0
        while at + 2 <= len(components):
            flags, length = components[at], components[at + 1]
            text = components[at + 2 : at + 2 + length].decode("utf-8", "backslashreplace")
            if flags & 0x02:
                text = "."
            elif flags & 0x04:
                text = ".."
            elif flags & 0x08:
                text = ""  # the root
            if self._goes_on:
                self._parts[-1] += text
            else:
                self._parts.append(text)
            self._goes_on = bool(flags & 0x01)
            at += 2 + length

    def text(self) -> str:
        """The target as a path."""
        return "/" if self._parts == [""] else "/".join(self._parts)


def _times(body: bytes) -> dict[str, Any]:
    """The times that a TF field has (P1282, §4.1.6)."""
    flags, at = body[0], 1
    size = 17 if flags & _LONG_FORM else 7
    found: dict[str, Any] = {}
    for bit, name in enumerate(_TIMES):
        if flags & 1 << bit:
            time = _time(body[at : at + size], size)
            at += size
            if time is not None:
                found[name] = time
    return found


def _time(stamp: bytes, size: int) -> float | None:
    if len(stamp) < size:
        return None
    hundredths = 0
    if size == 17:
        digits = stamp[:16].decode("latin-1")
        if not (digits.isascii() and digits.isdecimal()):
            return None
        parts = [int(digits[:4])] + [int(digits[n : n + 2]) for n in range(4, 16, 2)]
        hundredths = parts.pop()
    else:
        parts = [1900 + stamp[0], *stamp[1:6]]
    if not parts[0] or not 1 <= parts[1] <= 12 or not 1 <= parts[2] <= 31:
        return None
    quarters: int = struct.unpack("b", stamp[-1:])[0]
    return calendar.timegm((*parts,)) - quarters * 900.0 + hundredths / 100
