"""VHDs made by hand."""

from __future__ import annotations

import struct


def vhd_footer(kind=2, size=8192, creator=b"win ", data_offset=(1 << 64) - 1, geometry=(0, 0, 0)):
    raw = struct.pack(
        ">8sIIQI4sI4sQQHBBI",
        b"conectix", 2, 0x10000, data_offset, 0, creator, 0, b"Wi2k", size, size, *geometry, kind,
    )  # fmt: skip
    raw = raw + bytes(4) + b"unique-id-0123456"[:16] + bytes(428)
    checksum = ~sum(raw) & 0xFFFFFFFF
    return raw[:64] + struct.pack(">I", checksum) + raw[68:]


def vhd_dynamic(*, size=4096 * 3, block_size=4096, table=(), blocks=3, table_offset=1536, data=b""):
    footer = vhd_footer(3, size, data_offset=512)
    head = struct.pack(
        ">8sQQIII", b"cxsparse", (1 << 64) - 1, table_offset, 0x10000, blocks, block_size
    )
    head = head + bytes(1024 - len(head))
    checksum = ~sum(head) & 0xFFFFFFFF
    head = head[:36] + struct.pack(">I", checksum) + head[40:]
    entries = struct.pack(f">{len(table)}I", *table).ljust(512, b"\xff")
    return footer + head + entries + data + footer
