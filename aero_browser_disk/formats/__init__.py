"""Disk images inside files: which format a file has, and readers for each.

- `recognition`: what a file is, from its first and last bytes.
- `qcow2`, `vhd`: readers; `virtual_disk` is what they share.
- `raw_file`: a raw image in a local file.
- `unpacking`, `zstandard`: compressed files as streams.
"""

from __future__ import annotations

from .recognition import HEAD_LENGTH, TAIL_LENGTH, ImageFormat, Treatment, recognise

__all__ = ["HEAD_LENGTH", "TAIL_LENGTH", "ImageFormat", "Treatment", "recognise"]
