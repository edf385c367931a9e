"""What a server says of its saves: untrusted documents, read into values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..errors import InvalidResponseError
from ..platform.printable import printable
from .save_manifest import MAX_TEXT
from .save_requests import whole_or_zero

SAVE_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class SaveInfo:
    """A save on a server, as its list has it. Times are RFC 3339; sizes are in bytes.

    `generation` counts its pushes and is 0 before the first. `device` pushed the current one.
    """

    id: str
    name: str
    base_version: str
    base_size: int
    image: str
    generation: int
    updated: str
    device: str
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class SaveGeneration:
    """One push of a save that the server still has."""

    generation: int
    created: str
    device: str
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class SaveShare:
    """A link to read a save, and when it ends (RFC 3339). Whoever has it may read."""

    url: str
    expires: str


def read_save(document: Mapping[str, Any], server: str) -> SaveInfo:
    """A save in a document of that server; raises `InvalidResponseError`."""
    base = document.get("base")
    base = base if isinstance(base, dict) else {}
    save = document.get("id")
    if not isinstance(save, str) or not SAVE_ID.fullmatch(save):
        raise InvalidResponseError(server, "id", "32 hexadecimal digits", type(save).__name__)
    return SaveInfo(
        save,
        text_of(document, "name"),
        str(base.get("version") or ""),
        whole_or_zero(base.get("size")),
        text_of(base, "image"),
        whole_or_zero(document.get("generation")),
        text_of(document, "updated"),
        text_of(document, "device"),
        whole_or_zero(document.get("stored_bytes")),
    )


def read_generation(document: Mapping[str, Any]) -> SaveGeneration:
    """A generation in the document of a save."""
    return SaveGeneration(
        whole_or_zero(document.get("generation")),
        text_of(document, "created"),
        text_of(document, "device"),
        whole_or_zero(document.get("stored_bytes")),
    )


def text_of(document: Mapping[str, Any], name: str) -> str:
    """Text of a server in one line that prints."""
    return printable(" ".join(str(document.get(name) or "").split())[:MAX_TEXT])
