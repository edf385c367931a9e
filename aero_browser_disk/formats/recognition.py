"""What a file is, told from its first and last bytes, in words for people.

An import, the doctor of addresses and the page ask here before they take bytes for those of a disk:
a compressed file or a virtual machine's container read as a raw disk would boot nothing, and a page
that says "not found" would be kept as an image.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Literal

HEAD_LENGTH = 36 * 1024
"""How many of a file's first bytes tell what it is: a CD's descriptor lies behind 32 KiB."""
TAIL_LENGTH = 1024
"""How many of its last bytes do."""

Treatment = Literal[
    "raw",  # the bytes of the file are the disk's
    "cd",  # so they are, and the disk is a CD: read-only, in sectors of 2,048 bytes
    "convert",  # an import makes a raw disk of it
    "unpack",  # an import unpacks it; what is inside may be any of these
    "refuse",  # it is no disk, or of a kind that nothing here reads
]


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """A kind of file. `name` is for programs; `title` and `advice` are for people.

    `title` goes with "is": "a VMDK disk of VMware". `advice` is a sentence that says what can be
    done with it here.
    """

    name: str
    title: str
    treatment: Treatment
    advice: str

    @property
    def is_streamable(self) -> bool:
        """Whether its bytes are the disk's, so that it can be read where it lies."""
        return self.treatment in ("raw", "cd")

    @property
    def is_importable(self) -> bool:
        """Whether an import takes it."""
        return self.treatment != "refuse"


def _raw(title: str) -> ImageFormat:
    return ImageFormat("raw", title, "raw", "It can be streamed and imported as it is.")


def _refused(name: str, title: str, advice: str) -> ImageFormat:
    return ImageFormat(name, title, "refuse", advice)


def _by_qemu(name: str, title: str) -> ImageFormat:
    advice = "Make a raw image of it first: qemu-img convert -O raw FILE disk.img"
    return _refused(name, title, advice)


def _packed(name: str, title: str, command: str) -> ImageFormat:
    advice = (
        f"An import unpacks it. To stream it, unpack it on the server: {command} (a compressed "
        "file cannot be read from the middle)."
    )
    return ImageFormat(name, title, "unpack", advice)


def _converted(name: str, title: str, qemu_name: str) -> ImageFormat:
    advice = (
        "An import makes a raw disk of it. To stream it, convert it on the server: "
        f"qemu-img convert -f {qemu_name} -O raw FILE disk.img"
    )
    return ImageFormat(name, title, "convert", advice)


MBR = _raw("a raw disk image with an MBR partition table")
GPT = _raw("a raw disk image with a GPT partition table")
FAT = _raw("a raw image of a FAT file system")
NTFS = _raw("a raw image of an NTFS file system")
EXT = _raw("a raw image of an ext file system")
XFS = _raw("a raw image of an XFS file system")
SQUASHFS = _raw("a raw image of a SquashFS file system")
LUKS = _raw("a raw disk encrypted by LUKS")
UNKNOWN = _raw("raw bytes without a partition table or a file system that is known here")
ISO9660 = ImageFormat(
    "iso9660",
    "a CD or DVD image (ISO 9660)",
    "cd",
    "It is opened read-only, as a CD with sectors of 2,048 bytes.",
)
UDF = ImageFormat("udf", "a DVD image (UDF)", "cd", ISO9660.advice)

QCOW2 = _converted("qcow2", "a QEMU disk (qcow2)", "qcow2")
VHD_FIXED = _converted("vhd-fixed", "a fixed VHD of Virtual PC or Hyper-V", "vpc")
VHD_DYNAMIC = _converted("vhd-dynamic", "a dynamic VHD of Virtual PC or Hyper-V", "vpc")
VHD_DIFFERENCING = _refused(
    "vhd-differencing",
    "a differencing VHD of Virtual PC or Hyper-V",
    "It only holds what differs from another disk. Merge it into that one in Hyper-V first.",
)

GZIP = _packed("gzip", "a file compressed by gzip", "gunzip FILE")
ZSTD = _packed("zstd", "a file compressed by Zstandard", "unzstd FILE")
XZ = _packed("xz", "a file compressed by xz", "unxz FILE")
BZIP2 = _packed("bzip2", "a file compressed by bzip2", "bunzip2 FILE")

EMPTY = _refused("empty", "an empty file", "There is nothing in it: get the file again.")
HTML = _refused(
    "html",
    "a web page",
    "The address leads to a page about the image or to an error, not to the image: copy the "
    "address of the download itself.",
)
_UNPACK_FIRST = "Unpack it first, and take the disk image that is inside."
_NO_DISK = "It is no disk image: check that it is the right file."

# Where, what, and which format that says; the first that fits counts.
_MAGIC: tuple[tuple[int, bytes, ImageFormat], ...] = (
    (0, b"QFI\xfb\0\0\0\2", QCOW2),
    (0, b"QFI\xfb\0\0\0\3", QCOW2),
    (0, b"QFI\xfb\0\0\0\1", _by_qemu("qcow", "a QEMU disk of the old kind (qcow, version 1)")),
    (0, b"QFI\xfb", _refused("qcow", "a QEMU disk of a version that is not known", _NO_DISK)),
    (0, b"QED\0", _by_qemu("qed", "a QEMU enhanced disk (QED)")),
    (0, b"vhdxfile", _by_qemu("vhdx", "a VHDX disk of Hyper-V")),
    (0, b"KDMV", _by_qemu("vmdk", "a VMDK disk of VMware")),
    (0, b"COWD", _by_qemu("vmdk", "a VMDK disk of VMware ESX")),
    (0, b"\xbe\xba\xfe\xca\0\0\0\0", _by_qemu("vmdk", "a VMDK disk of VMware (space-efficient)")),
    (
        0,
        b"# Disk DescriptorFile",
        _refused(
            "vmdk-descriptor",
            "the description of a VMDK disk of VMware",
            "The disk itself is in other files that it names. Make a raw image of all of them: "
            "qemu-img convert -O raw FILE disk.img",
        ),
    ),
    (64, b"\x7f\x10\xda\xbe", _by_qemu("vdi", "a VDI disk of VirtualBox")),
    (0, b"WithoutFreeSpace", _by_qemu("parallels", "a disk of Parallels")),
    (0, b"WithouFreSpacExt", _by_qemu("parallels", "a disk of Parallels")),
    (0, b"Bochs Virtual HD Image", _by_qemu("bochs", "a growing disk of Bochs")),
    (0, b"\x1f\x8b\x08", GZIP),
    (0, b"\x28\xb5\x2f\xfd", ZSTD),
    (0, b"\xfd7zXZ\0", XZ),
    (0, b"PK\3\4", _refused("zip", "a ZIP archive", _UNPACK_FIRST)),
    (0, b"PK\5\6", _refused("zip", "an empty ZIP archive", _NO_DISK)),
    (0, b"PK\7\x08", _refused("zip", "a ZIP archive in several parts", _UNPACK_FIRST)),
    (0, b"7z\xbc\xaf\x27\x1c", _refused("7z", "a 7-Zip archive", _UNPACK_FIRST)),
    (0, b"Rar!\x1a\7", _refused("rar", "a RAR archive", _UNPACK_FIRST)),
    (0, b"\4\x22\x4d\x18", _refused("lz4", "a file compressed by LZ4", "Unpack it first: unlz4")),
    (0, b"LZIP", _refused("lzip", "a file compressed by lzip", "Unpack it first: lzip -d")),
    (0, b"MSWIM\0\0\0", _refused("wim", "a Windows installation archive (WIM)", _UNPACK_FIRST)),
    (
        0,
        b"\x3a\xff\x26\xed",
        _refused(
            "android-sparse",
            "a sparse image of Android",
            "Make a raw image of it first: simg2img FILE disk.img",
        ),
    ),
    (
        0,
        b"partclone-image",
        _refused("partclone", "a backup by partclone", "Restore it to a file first."),
    ),
    (
        0,
        b"EVF\t\r\n\xff\0",
        _refused(
            "ewf",
            "a forensic image (EnCase, E01)",
            "Make a raw image of it first: ewfexport -f raw FILE",
        ),
    ),
    (
        0,
        b"\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0",
        _refused(
            "cd-raw",
            "a CD image with raw sectors (BIN of a BIN/CUE pair)",
            "Make an ISO image of it first: bchunk FILE.bin FILE.cue disk",
        ),
    ),
    (0, b"%PDF-", _refused("pdf", "a PDF document", _NO_DISK)),
    (0, b"\x7fELF", _refused("elf", "a program (ELF)", _NO_DISK)),
    (
        0,
        b"version https://git-lfs.github.com/spec/",
        _refused(
            "git-lfs",
            "a pointer of Git LFS",
            "The image itself was not downloaded: use its media address, or run git lfs pull.",
        ),
    ),
    (0, b"LUKS\xba\xbe", LUKS),
    (0, b"hsqs", SQUASHFS),
    (0, b"XFSB", XFS),
    (257, b"ustar", _refused("tar", "a tar archive (an OVA is one too)", _UNPACK_FIRST)),
)
_ZSTD_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")  # RFC 8878 §3.1.2
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
_MARKUP = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body)[\s>]", re.IGNORECASE
)
_XML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?xml\s")
_OPTICAL = {b"CD001": ISO9660, b"BEA01": UDF, b"NSR02": UDF, b"NSR03": UDF}
_OPTICAL_AT = 32769  # behind the 16 sectors of the system area (ECMA-119 §6.2.1)
_DMG = _refused(
    "dmg",
    "a disk image of macOS (DMG)",
    "Make a raw image of it first: qemu-img convert -O raw FILE disk.img",
)
_VHD_KINDS = {2: VHD_FIXED, 3: VHD_DYNAMIC, 4: VHD_DIFFERENCING}
_FLOPPY_SIZES = frozenset(kib << 10 for kib in (160, 180, 320, 360, 720, 1200, 1440, 2880))
_VHD_COOKIE = b"conectix"
_VHD_KIND_AT = 60


def recognise(head: bytes, tail: bytes = b"", size: int | None = None) -> ImageFormat:
    """What a file is.

    `head` are its first bytes, best `HEAD_LENGTH` of them or all, `tail` its last, best
    `TAIL_LENGTH`, where they can be had; `size` is its size in bytes, if known. What fits nothing
    is taken for the bytes of a disk: `UNKNOWN`.
    """
    if not head or size == 0:
        return EMPTY
    if found := _by_magic(head) or _vhd(head, tail) or _text(head):
        return found
    if tail[-512:-508] == b"koly":
        return _DMG
    if optical := _OPTICAL.get(head[_OPTICAL_AT : _OPTICAL_AT + 5]):
        return optical
    return _partitioned(head) or _floppy(head, size) or UNKNOWN


def _by_magic(head: bytes) -> ImageFormat | None:
    for offset, magic, found in _MAGIC:
        if head.startswith(magic, offset):
            return found
    if _ZSTD_SKIPPABLE.match(head):
        return ZSTD
    return BZIP2 if _BZIP2.match(head) else None


def _vhd(head: bytes, tail: bytes) -> ImageFormat | None:
    """A VHD by its footer, of which all but the fixed kind have a copy in front."""
    # Virtual PC before 2004 wrote a footer of 511 bytes.
    for footer in (tail[-512:], tail[-511:], head):
        if footer.startswith(_VHD_COOKIE) and len(footer) >= _VHD_KIND_AT + 4:
            (kind,) = struct.unpack_from(">I", footer, _VHD_KIND_AT)
            if kind in _VHD_KINDS:
                return _VHD_KINDS[kind]
    return None


def _text(head: bytes) -> ImageFormat | None:
    start = head[:1024]
    if _MARKUP.match(start) or (_XML.match(start) and b"<html" in start.lower()):
        return HTML
    if _XML.match(start):
        return _refused("xml", "an XML document, such as an error of a store", _NO_DISK)
    if b"\0" not in start and _is_json(start):
        return _refused("json", "a JSON document, such as an error of a service", _NO_DISK)
    return None


def _is_json(start: bytes) -> bool:
    return re.match(rb"\s*(?:\{\s*[\"}]|\[\s*[\[{\"\]])", start) is not None


def _floppy(head: bytes, size: int | None) -> ImageFormat | None:
    """A floppy that DOS 1 or another system formatted, by the begin of its table."""
    is_table = head[512:513] >= b"\xf0" and head[513:515] == b"\xff\xff"
    return FAT if is_table and size in _FLOPPY_SIZES else None


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
