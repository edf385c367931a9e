"""What of a manifest is new since the generation before: so that a push need not send all of it."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from .save_manifest import SaveManifest

_MAX_PARTS: Final = 1000
_MIN_COPIED: Final = 24
"""Bytes; what is shorter is sent."""


def manifest_change(before: bytes, old: SaveManifest, new: SaveManifest) -> bytes | None:
    """The body that makes `new` of `before`, the bytes of `old`; None if it is not worth it."""
    pieces = old.pieces()
    if b"".join(pieces) != before:
        return None  # another release wrote it
    places: dict[bytes, int] = {}
    at = 0
    for piece in pieces:
        places.setdefault(piece, at)
        at += len(piece)
    parts: list[str | list[int]] = []
    made = hashlib.sha256()
    length = 0
    for piece in new.pieces():
        made.update(piece)
        length += len(piece)
        last = parts[-1] if parts else None
        if isinstance(last, list) and before.startswith(piece, sum(last)):
            last[1] += len(piece)
        elif piece in places and len(piece) >= _MIN_COPIED:
            parts.append([places[piece], len(piece)])
        elif isinstance(last, str):
            parts[-1] = last + piece.decode()
        else:
            parts.append(piece.decode())
    document = {"sha256": made.hexdigest(), "parts": parts}
    encoded = json.dumps(document, separators=(",", ":")).encode()
    return encoded if len(parts) <= _MAX_PARTS and len(encoded) < length // 2 else None
