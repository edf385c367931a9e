"""NTFS's records: fix-ups, attributes, and the runs of clusters that hold their values."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import DamagedFileSystemError
from .tree import Extent, Kind, Metadata, joined, plain_mode

STANDARD, ATTRIBUTE_LIST, FILE_NAME, VOLUME_NAME = 0x10, 0x20, 0x30, 0x60
DATA, INDEX_ROOT, INDEX_ALLOCATION, BITMAP, REPARSE_POINT = 0x80, 0x90, 0xA0, 0xB0, 0xC0
COMPRESSED, ENCRYPTED = 0x0001, 0x4000

_STRIDE = 512
_END = 0xFFFFFFFF
_MAX_ATTRIBUTES = 512
_READ_ONLY = 0x01
_EPOCH_S = 11_644_473_600  # from 1601 to 1970


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a record, or one part of a large one.

    A resident one has its `value`; another has `runs` as they are stored, for the clusters from
    `first_cluster` of its value, and its sizes in bytes, which count in its first part only.
    """

    type: int
    name: str
    flags: int
    value: bytes | None
    runs: bytes = b""
    first_cluster: int = 0
    unit_bits: int = 0
    """A compression unit has 2 to the power of this many clusters; 0 when not compressed."""
    size: int = 0
    valid: int = 0


@dataclass(frozen=True, slots=True)
class FileName:
    """The value of a $FILE_NAME, which is also the key of a folder's index."""

    name: str
    times: bytes
    """As `metadata_of` reads them."""
    size: int
    flags: int
    reparse_tag: int
    namespace: int


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """An entry of a folder's index. `child` is the cluster of the entries before it."""

    record: int
    key: bytes
    child: int | None
    is_last: bool


def mended(data: bytes, magic: bytes) -> bytes:
    """A record as it was before its sectors' last bytes were replaced by a counter.

    Raises `DamagedFileSystemError` when it is no such record or was not written whole.
    """
    if data[:4] != magic or len(data) < 48:
        raise DamagedFileSystemError(f"a record does not begin with {magic.decode()}")
    at, count = struct.unpack_from("<HH", data, 4)
    if count != len(data) // _STRIDE + 1 or at + 2 * count > len(data):
        raise DamagedFileSystemError("a record has no counter for each of its sectors")
    whole = bytearray(data)
    for sector in range(1, count):
        end = sector * _STRIDE
        if data[end - 2 : end] != data[at : at + 2]:
            raise DamagedFileSystemError("a record was not written whole")
        whole[end - 2 : end] = data[at + 2 * sector : at + 2 * sector + 2]
    return bytes(whole)


def attributes(record: bytes) -> list[Attribute]:
    """The attributes of a mended record."""
    at = struct.unpack_from("<H", record, 20)[0]
    found: list[Attribute] = []
    while at + 24 <= len(record) and len(found) < _MAX_ATTRIBUTES:
        kind, length = struct.unpack_from("<II", record, at)
        if kind == _END:
            return found
        if length < 24 or length % 8 or at + length > len(record):
            break
        found.append(_attribute(record[at : at + length]))
        at += length
    if at + 4 <= len(record) and struct.unpack_from("<I", record, at)[0] == _END:
        return found
    raise DamagedFileSystemError("a record's attributes do not end")


def _attribute(data: bytes) -> Attribute:
    kind, _, is_elsewhere, name_length, name_at, flags = struct.unpack_from("<IIBBHH", data)
    name = data[name_at : name_at + 2 * name_length].decode("utf-16-le", "replace")
    if not is_elsewhere:
        length, at = struct.unpack_from("<IH", data, 16)
        if at + length > len(data):
            raise DamagedFileSystemError("an attribute is longer than its record")
        return Attribute(kind, name, flags, data[at : at + length], size=length, valid=length)
    if len(data) < 64:
        raise DamagedFileSystemError("an attribute is shorter than its head")
    first, _, runs_at, unit_bits = struct.unpack_from("<QQHH", data, 16)
    size, valid = struct.unpack_from("<QQ", data, 48)
    return Attribute(
        kind, name, flags, None, data[runs_at:], first, min(unit_bits, 8), size, min(valid, size)
    )


def run_extents(
    parts: list[Attribute], cluster_size: int, volume_offset: int, clusters: int
) -> list[Extent]:
    """Where the value of an attribute is, from the runs of all its parts, in order."""
    found: list[Extent] = []
    at = 0
    for part in parts:
        if part.first_cluster != at:
            raise DamagedFileSystemError("a part of a file's runs is missing")
        for count, cluster in _runs(part.runs):
            if at + count > clusters * 2 + (1 << 44) // cluster_size:
                raise DamagedFileSystemError("a file is longer than any file")
            if cluster is not None and not 0 <= cluster <= clusters - count:
                raise DamagedFileSystemError("a file lies outside of the volume")
            disk_offset = None if cluster is None else volume_offset + cluster * cluster_size
            joined(found, Extent(at * cluster_size, count * cluster_size, disk_offset))
            at += count
    return found


def _runs(stored: bytes) -> Iterator[tuple[int, int | None]]:
    """(how many clusters, the first of them) of each run; None: none, they are zeros."""
    at, cluster = 0, 0
    while at < len(stored) and stored[at]:
        counted, placed = stored[at] & 0xF, stored[at] >> 4
        end = at + 1 + counted + placed
        if not 1 <= counted <= 8 or placed > 8 or end > len(stored):
            raise DamagedFileSystemError("the runs of a file cannot be read")
        count = int.from_bytes(stored[at + 1 : at + 1 + counted], "little")
        if not count:
            raise DamagedFileSystemError("a run of a file is empty")
        if placed:
            cluster += int.from_bytes(stored[at + 1 + counted : end], "little", signed=True)
        yield count, cluster if placed else None
        at = end


def file_name(value: bytes) -> FileName:
    """Reads a $FILE_NAME; raises `DamagedFileSystemError`."""
    if len(value) < 66 or len(value) < 66 + 2 * value[64]:
        raise DamagedFileSystemError("a name is shorter than it says")
    size, flags, tag = struct.unpack_from("<QII", value, 48)
    name = value[66 : 66 + 2 * value[64]].decode("utf-16-le", "replace")
    return FileName(name, value[8:40], size, flags, tag, value[65])


def metadata_of(kind: Kind, times: bytes, flags: int) -> Metadata:
    """Metadata from four times, as $STANDARD_INFORMATION and $FILE_NAME have them, and flags."""
    created, modified, changed, accessed = struct.unpack_from("<4Q", times)
    return Metadata(
        modified=_time(modified),
        accessed=_time(accessed),
        changed=_time(changed),
        created=_time(created),
        mode=plain_mode(kind, is_read_only=kind == "file" and bool(flags & _READ_ONLY)),
    )


def _time(ticks: int) -> float | None:
    """Seconds since the epoch of a count of 100 ns since 1601; None for none."""
    return ticks / 1e7 - _EPOCH_S if ticks else None


def index_entries(node: bytes) -> list[IndexEntry]:
    """The entries of an index node, whose head begins with `node`."""
    at, stop = struct.unpack_from("<II", node)
    found = []
    while at + 16 <= min(stop, len(node)):
        reference, length, key_length, flags = struct.unpack_from("<QHHI", node, at)
        if length < 16 or at + length > len(node) or 16 + key_length > length:
            raise DamagedFileSystemError("a folder has an entry of an impossible length")
        child = struct.unpack_from("<Q", node, at + length - 8)[0] if flags & 1 else None
        key = node[at + 16 : at + 16 + key_length]
        is_last = bool(flags & 2)
        found.append(IndexEntry(reference & 0xFFFFFFFFFFFF, key, child, is_last))
        if is_last:
            break
        at += length
    return found
