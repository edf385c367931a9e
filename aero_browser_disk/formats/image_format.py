"""The kinds of files that disk images come in, in words for people."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

_STREAMED_PACKED = ("zstd-seekable", "bgzf")
Treatment = Literal[
    "raw",  # the bytes of the file are the disk's
    "cd",  # the same, and the disk is a CD: read-only, in sectors of 2,048 bytes
    "convert",  # the disk is read out of it, in place or by an import
    "unpack",  # an import unpacks it; what is inside may be any of these
    "refuse",  # it is not a disk, or of a kind that cannot be read here
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
    is_cd: bool = False
    """Whether the disk is a CD: read-only, in sectors of 2,048 bytes."""
    is_hybrid: bool = False
    """Whether a CD is a disk as well: it has a partition table in front."""

    @property
    def is_streamable(self) -> bool:
        """Whether parts of the disk can be read without the rest of the file."""
        return self.treatment in ("raw", "cd", "convert") or self.name in _STREAMED_PACKED

    @property
    def is_importable(self) -> bool:
        """Whether an import takes it."""
        return self.treatment != "refuse"


def raw_format(title: str) -> ImageFormat:
    """A file whose bytes are those of a disk."""
    return ImageFormat("raw", title, "raw", "It can be streamed and imported as it is.")


def refused_format(name: str, title: str, advice: str) -> ImageFormat:
    """A file that cannot be opened or imported here."""
    return ImageFormat(name, title, "refuse", advice)


def format_for_qemu(name: str, title: str) -> ImageFormat:
    """A disk that is not read here, but by QEMU."""
    advice = "Make a raw image of it first: qemu-img convert -O raw FILE disk.img"
    return refused_format(name, title, advice)


def packed_format(name: str, title: str, command: str) -> ImageFormat:
    """A compressed file, which `command` unpacks."""
    advice = (
        f"An import unpacks it. To stream it, unpack it on the server: {command} (a compressed "
        "file cannot be read from the middle)."
    )
    return ImageFormat(name, title, "unpack", advice)


def converted_format(name: str, title: str) -> ImageFormat:
    """A disk in a file of another format."""
    advice = "It can be streamed as it is. An import makes a raw disk of it."
    return ImageFormat(name, title, "convert", advice)


MBR = raw_format("a raw disk image with an MBR partition table")
GPT = raw_format("a raw disk image with a GPT partition table")
FAT = raw_format("a raw image of a FAT file system")
NTFS = raw_format("a raw image of an NTFS file system")
EXT = raw_format("a raw image of an ext file system")
XFS = raw_format("a raw image of an XFS file system")
SQUASHFS = raw_format("a raw image of a SquashFS file system")
LUKS = raw_format("a raw disk encrypted by LUKS")
UNKNOWN = raw_format("raw bytes without a known partition table or file system")
ISO9660 = ImageFormat(
    "iso9660",
    "a CD or DVD image (ISO 9660)",
    "cd",
    "It is opened read-only, as a CD with sectors of 2,048 bytes.",
    is_cd=True,
)
ISO9660_HYBRID = replace(ISO9660, title="a CD or DVD image that is a disk as well", is_hybrid=True)
UDF = ImageFormat("udf", "a DVD image (UDF)", "cd", ISO9660.advice, is_cd=True)
CD_SECTORS = ImageFormat(
    "cd-raw",
    "a CD image with raw sectors (BIN of a BIN/CUE pair)",
    "convert",
    "It can be streamed as it is: the 2,048 bytes of data are taken out of each sector.",
    is_cd=True,
)

CUE = refused_format(
    "cue",
    "a cue sheet of a CD",
    "The disc is in the files that it names. Open the sheet by an address or path that ends in "
    ".cue, with these files next to it, or take the BIN file of the data track.",
)

QCOW2 = converted_format("qcow2", "a QEMU disk (qcow2)")
VHD_FIXED = converted_format("vhd-fixed", "a fixed VHD of Virtual PC or Hyper-V")
VHD_DYNAMIC = converted_format("vhd-dynamic", "a dynamic VHD of Virtual PC or Hyper-V")
VHDX = converted_format("vhdx", "a VHDX disk of Hyper-V")
VMDK = converted_format("vmdk", "a VMDK disk of VMware")
OVA = converted_format("ova", "a virtual appliance (OVA)")
VDI = converted_format("vdi", "a VDI disk of VirtualBox")
PREPARED = ImageFormat(
    "prepared",
    "a prepared image",
    "convert",
    "It can be streamed as it is, from any server: its address is that of the manifest.",
)
VHD_DIFFERENCING = refused_format(
    "vhd-differencing",
    "a differencing VHD of Virtual PC or Hyper-V",
    "It only holds what differs from another disk. Merge it into that one in Hyper-V first.",
)

GZIP = packed_format("gzip", "a file compressed by gzip", "gunzip FILE")
ZSTD = packed_format("zstd", "a file compressed by Zstandard", "unzstd FILE")
BGZF = ImageFormat(
    "bgzf",
    "a file compressed by bgzip",
    "unpack",
    "It can be streamed with its index next to it (FILE.gzi, which bgzip -r FILE makes). An import "
    "unpacks it.",
)
ZSTD_SEEKABLE = ImageFormat(
    "zstd-seekable",
    "a file compressed by Zstandard with a seek table",
    "unpack",
    "It can be streamed as it is. An import unpacks it.",
)
XZ = packed_format("xz", "a file compressed by xz", "unxz FILE")
BZIP2 = packed_format("bzip2", "a file compressed by bzip2", "bunzip2 FILE")

EMPTY = refused_format("empty", "an empty file", "There is nothing in it: get the file again.")
HTML = refused_format(
    "html",
    "a web page",
    "It is a page about the image, or an error page, not the image: use the file that the page's "
    "download link leads to.",
)
