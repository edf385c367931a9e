"""Recognises what a file is by its first and last bytes.

Imports, the doctor and the page use it before they treat a file as a raw disk: a compressed file or
a container of another format read as raw would not boot, and an error page would be stored as an
image.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

from ..disk import SECTOR_SIZE
from ..errors import DamagedImageError
from .cd_sectors import STORED, SYNC
from .cue_sheet import begins_cue_sheet
from .image_format import (
    BGZF,
    BZIP2,
    CD_SECTORS,
    CUE,
    EMPTY,
    EXT,
    FAT,
    GPT,
    GZIP,
    HTML,
    ISO9660,
    ISO9660_HYBRID,
    LUKS,
    MBR,
    NTFS,
    OVA,
    PREPARED,
    QCOW2,
    SQUASHFS,
    UDF,
    UNKNOWN,
    VDI,
    VHD_FIXED,
    VHDX,
    VMDK,
    XFS,
    XZ,
    ZSTD,
    ZSTD_SEEKABLE,
    ImageFormat,
    format_for_qemu,
    refused_format,
)
from .ova import begins_ova
from .prepared.manifest import begins_manifest
from .qcow2 import Qcow2Header
from .seekable_gzip import begins_bgzf
from .seekable_zstd import ends_with_seek_table
from .vdi import VdiHeader
from .vhd import VhdFooter
from .vhdx import begins_vhdx
from .vmdk import VmdkHeader

HEAD_LENGTH = 68 * 1024
"""How many of a file's first bytes `recognise` needs: the header of a VHDX is behind 64 KiB."""
TAIL_LENGTH = 1024
"""How many of its last bytes it needs."""

_UNPACK_FIRST = "Unpack it first, and take the disk image that is inside."
_TAR = refused_format("tar", "a tar archive", _UNPACK_FIRST)
_NO_DISK = "It is not a disk image: check that it is the right file."
_TEXT = refused_format("text", "a text file", _NO_DISK)

# Offset, magic number and format; the first match counts.
_MAGIC: tuple[tuple[int, bytes, ImageFormat], ...] = (
    (0, b"QFI\xfb\0\0\0\2", QCOW2),
    (0, b"QFI\xfb\0\0\0\3", QCOW2),
    (
        0,
        b"QFI\xfb\0\0\0\1",
        format_for_qemu("qcow", "a QEMU disk of the old kind (qcow, version 1)"),
    ),
    (0, b"QFI\xfb", refused_format("qcow", "a QEMU disk of a version that is not known", _NO_DISK)),
    (0, b"QED\0", format_for_qemu("qed", "a QEMU enhanced disk (QED)")),
    (0, b"vhdxfile", VHDX),
    (0, b"KDMV", VMDK),
    (0, b"COWD", format_for_qemu("vmdk", "a VMDK disk of VMware ESX")),
    (
        0,
        b"\xbe\xba\xfe\xca\0\0\0\0",
        format_for_qemu("vmdk", "a VMDK disk of VMware (space-efficient)"),
    ),
    (
        0,
        b"# Disk DescriptorFile",
        refused_format(
            "vmdk-descriptor",
            "the description of a VMDK disk of VMware",
            "The disk itself is in other files that it names. Make a raw image of all of them: "
            "qemu-img convert -O raw FILE disk.img",
        ),
    ),
    (64, b"\x7f\x10\xda\xbe", VDI),
    (0, b"WithoutFreeSpace", format_for_qemu("parallels", "a disk of Parallels")),
    (0, b"WithouFreSpacExt", format_for_qemu("parallels", "a disk of Parallels")),
    (0, b"Bochs Virtual HD Image", format_for_qemu("bochs", "a growing disk of Bochs")),
    (0, b"\x1f\x8b\x08", GZIP),
    (0, b"\x28\xb5\x2f\xfd", ZSTD),
    (0, b"\xfd7zXZ\0", XZ),
    (0, b"PK\3\4", refused_format("zip", "a ZIP archive", _UNPACK_FIRST)),
    (0, b"PK\5\6", refused_format("zip", "an empty ZIP archive", _NO_DISK)),
    (0, b"PK\7\x08", refused_format("zip", "a ZIP archive in several parts", _UNPACK_FIRST)),
    (0, b"7z\xbc\xaf\x27\x1c", refused_format("7z", "a 7-Zip archive", _UNPACK_FIRST)),
    (0, b"Rar!\x1a\7", refused_format("rar", "a RAR archive", _UNPACK_FIRST)),
    (
        0,
        b"\4\x22\x4d\x18",
        refused_format("lz4", "a file compressed by LZ4", "Unpack it first: unlz4"),
    ),
    (0, b"LZIP", refused_format("lzip", "a file compressed by lzip", "Unpack it first: lzip -d")),
    (
        0,
        b"MSWIM\0\0\0",
        refused_format("wim", "a Windows installation archive (WIM)", _UNPACK_FIRST),
    ),
    (
        0,
        b"\x3a\xff\x26\xed",
        refused_format(
            "android-sparse",
            "a sparse image of Android",
            "Make a raw image of it first: simg2img FILE disk.img",
        ),
    ),
    (
        0,
        b"partclone-image",
        refused_format("partclone", "a backup by partclone", "Restore it to a file first."),
    ),
    (
        0,
        b"EVF\t\r\n\xff\0",
        refused_format(
            "ewf",
            "a forensic image (EnCase, E01)",
            "Make a raw image of it first: ewfexport -f raw FILE",
        ),
    ),
    (0, SYNC, CD_SECTORS),
    (0, b"%PDF-", refused_format("pdf", "a PDF document", _NO_DISK)),
    (0, b"\x89PNG\r\n\x1a\n", refused_format("png", "a picture (PNG)", _NO_DISK)),
    (0, b"\xff\xd8\xff", refused_format("jpeg", "a picture (JPEG)", _NO_DISK)),
    (0, b"GIF8", refused_format("gif", "a picture (GIF)", _NO_DISK)),
    (0, b"RIFF", refused_format("riff", "a sound or a video (RIFF)", _NO_DISK)),
    (0, b"OggS", refused_format("ogg", "a sound or a video (Ogg)", _NO_DISK)),
    (4, b"ftyp", refused_format("mp4", "a video (MP4)", _NO_DISK)),
    (
        0,
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        refused_format("ole2", "a document of an office program", _NO_DISK),
    ),
    (0, b"\x7fELF", refused_format("elf", "a program (ELF)", _NO_DISK)),
    (
        0,
        b"version https://git-lfs.github.com/spec/",
        refused_format(
            "git-lfs",
            "a pointer of Git LFS",
            "The image itself was not downloaded: use its media address, or run git lfs pull.",
        ),
    ),
    (0, b"LUKS\xba\xbe", LUKS),
    (0, b"hsqs", SQUASHFS),
    (0, b"XFSB", XFS),
    (257, b"ustar", _TAR),
)
_ZSTD_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")  # RFC 8878 §3.1.2
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
_MARKUP = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body)[\s>]", re.IGNORECASE
)
_NO_TEXT = re.compile(r"[^\t\n\f\r\x1b -~\xa0-\ufffc\ufeff\U00010000-\U0010ffff]")
_XML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?xml\s")
_OPTICAL = {b"CD001": ISO9660, b"BEA01": UDF, b"NSR02": UDF, b"NSR03": UDF}
_OPTICAL_AT = 32769  # behind the 16 sectors of the system area (ECMA-119 §6.2.1)
_DMG = refused_format(
    "dmg",
    "a disk image of macOS (DMG)",
    "Make a raw image of it first: qemu-img convert -O raw FILE disk.img",
)
_PARTITIONS = 446  # the table in a master boot record
_FLOPPY_SIZES = frozenset(kib << 10 for kib in (160, 180, 320, 360, 720, 1200, 1440, 2880))
_VHD_COOKIE = b"conectix"


def _is_parsed(parse: Callable[[bytes], object], head: bytes) -> bool:
    try:
        parse(head)
    except DamagedImageError:
        return False
    return True


def _begins_cd_sectors(head: bytes) -> bool:
    second = head[STORED : STORED + len(SYNC)]
    return head[15:16] in (b"\1", b"\2") and SYNC.startswith(second)


# Parsers that confirm a magic number: a guest can write anything to a raw disk.
_HEADER_CHECKS: dict[ImageFormat, Callable[[bytes], bool]] = {
    QCOW2: lambda head: _is_parsed(Qcow2Header.parse, head),
    VMDK: lambda head: _is_parsed(VmdkHeader.parse, head),
    VDI: lambda head: _is_parsed(VdiHeader.parse, head),
    VHDX: begins_vhdx,
    CD_SECTORS: _begins_cd_sectors,
}


def recognise(head: bytes, tail: bytes = b"", size: int | None = None) -> ImageFormat:
    """What a file is.

    `head` are its first bytes, best `HEAD_LENGTH` of them or all, `tail` its last, best
    `TAIL_LENGTH`, where they can be had; `size` is its size in bytes, if known. What matches
    nothing counts as the bytes of a disk: `UNKNOWN`.
    """
    if not head or size == 0:
        return EMPTY
    found = _by_magic(head) or _vhd(head, tail, size) or _text(head, size)
    if found is GZIP and begins_bgzf(head):
        return BGZF
    if found is ZSTD and ends_with_seek_table(tail):
        return ZSTD_SEEKABLE
    if found is _TAR and begins_ova(head):
        return OVA
    if found is not None:
        return found
    if tail[-512:-508] == b"koly":
        return _DMG
    if optical := _OPTICAL.get(head[_OPTICAL_AT : _OPTICAL_AT + 5]):
        return ISO9660_HYBRID if optical is ISO9660 and _has_partitions(head) else optical
    return _partitioned(head) or _floppy(head, size) or UNKNOWN


def _by_magic(head: bytes) -> ImageFormat | None:
    for offset, magic, found in _MAGIC:
        if head.startswith(magic, offset):
            check = _HEADER_CHECKS.get(found)
            return found if check is None or check(head) else _with_invalid_header(found, head)
    if _ZSTD_SKIPPABLE.match(head):
        return ZSTD
    return BZIP2 if _BZIP2.match(head) else None


def _with_invalid_header(found: ImageFormat, head: bytes) -> ImageFormat:
    """A raw disk, if it begins like one; else a file that is refused by name."""
    return _partitioned(head) or refused_format(
        found.name,
        f"a file that begins like {found.title}, but has no valid header",
        "It is damaged or cut off: get it again. If it is a raw disk, name its format: raw.",
    )


def _vhd(head: bytes, tail: bytes, size: int | None) -> ImageFormat | None:
    """A VHD by its footer, of which all but the fixed kind have a copy in front."""
    # Virtual PC before 2004 wrote a footer of 511 bytes.
    for data in (tail[-512:], tail[-511:], head):
        footer = VhdFooter.parse(data)
        if footer is None:
            if data.startswith(_VHD_COOKIE):
                return _with_invalid_header(VHD_FIXED, head)
            continue
        found = footer.format
        is_fixed = found is VHD_FIXED
        if is_fixed and size is not None and size < footer.size + 511:
            continue
        if found is not None and (is_fixed or head.startswith(_VHD_COOKIE)):
            return found
    return None


def _text(head: bytes, size: int | None) -> ImageFormat | None:
    start = head[:1024]
    if _MARKUP.match(start) or (_XML.match(start) and b"<html" in start.lower()):
        return HTML
    if _XML.match(start):
        return refused_format("xml", "an XML document, such as an error of a store", _NO_DISK)
    if begins_manifest(start):
        return PREPARED
    if begins_cue_sheet(head):
        return CUE
    if b"\0" not in start and _is_json(start):
        return refused_format("json", "a JSON document, such as an error of a service", _NO_DISK)
    if size is None and len(head) < HEAD_LENGTH:
        size = len(head)
    # What has the size of a disk may be one, whatever was written to it.
    may_be_disk = size is not None and size % SECTOR_SIZE == 0
    return _TEXT if not may_be_disk and _is_text(head) else None


def _is_text(head: bytes) -> bool:
    """Whether these are lines of text: a disk has zeros, and other bytes that no text has."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = head[: len(head) // 2 * 2].decode("utf-16", "replace")
        return _NO_TEXT.search(text) is None
    # The last character may be cut off.
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(head)
    return "\n" in text and _NO_TEXT.search(text) is None


def _is_json(start: bytes) -> bool:
    return re.match(rb"\s*(?:\{\s*[\"}]|\[\s*[\[{\"\]])", start) is not None


def _floppy(head: bytes, size: int | None) -> ImageFormat | None:
    """A floppy without a description, as DOS 1 formatted them, by the beginning of its table."""
    is_table = head[512:513] >= b"\xf0" and head[513:515] == b"\xff\xff"
    return FAT if is_table and size in _FLOPPY_SIZES else None


def _has_partitions(head: bytes) -> bool:
    """Whether there is a partition table with a partition in it."""
    if _partitioned(head) is GPT:
        return True
    entries = range(_PARTITIONS, _PARTITIONS + 4 * 16, 16)
    is_table = _partitioned(head) is MBR
    # The type of a partition, and its length in sectors.
    return is_table and any(head[at + 4] and any(head[at + 12 : at + 16]) for at in entries)


def _partitioned(head: bytes) -> ImageFormat | None:
    """What a raw disk begins with."""
    if head[512:520] == b"EFI PART" or head[4096:4104] == b"EFI PART":
        return GPT
    if head[1080:1082] == b"\x53\xef":
        return EXT
    if head[510:512] != b"\x55\xaa":
        return None
    if head[3:11] == b"NTFS    ":
        return NTFS
    if head[54:57] == b"FAT" or head[82:87] == b"FAT32":
        return FAT
    return MBR
