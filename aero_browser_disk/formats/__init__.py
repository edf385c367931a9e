"""Disk images in files: which format a file has, and where in it the bytes of the disk are.

    layout = await open_layout(source)              # qcow2, VMDK, VDI, VHDX, VHD, BIN, raw, …
    disk = LayoutDisk(layout, version="1")          # a `Disk` that is only read

- `recognition`: what a file is, from its first and last bytes. `image_format`: the kinds there are.
- `layout`: the interface that every format implements, and what reads through it; `layout_disk`: a
  `Disk` over one.
- `opening`: from a file to its layout. `pages`: tables, read as they are needed.
- `qcow2`, `vhd`, `vhdx`, `vmdk`, `ova`, `vdi`, `cd_sectors`, `seekable_gzip`,
  `seekable_zstd`: formats. `cue_sheet`: the files of a CD.
- `prepared`: the manifest, the table and the chunks of a prepared image.
- `block_runs`: blocks as runs of neighbours.
- `local_file`: an image file of this machine; `raw_file`: a raw one.
- `unpacking`, `zstandard`: compressed files as streams.
"""

from __future__ import annotations

from .image_format import ImageFormat, Treatment
from .layout import ImageLayout, LayoutReader, Segment, data_ranges, segments
from .layout_disk import LayoutDisk
from .opening import FORMAT_NAMES, open_layout
from .recognition import HEAD_LENGTH, TAIL_LENGTH, recognise

__all__ = [
    "FORMAT_NAMES",
    "HEAD_LENGTH",
    "TAIL_LENGTH",
    "ImageFormat",
    "ImageLayout",
    "LayoutDisk",
    "LayoutReader",
    "Segment",
    "Treatment",
    "data_ranges",
    "open_layout",
    "recognise",
    "segments",
]
