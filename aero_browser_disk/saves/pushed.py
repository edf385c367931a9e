"""The result of a push, and what a server's replies say of a save."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .push_record import PushRecord
from .save_requests import Reply, whole_or_zero


@dataclass(frozen=True, slots=True)
class Pushed:
    """The result of a push. `chunk_bytes` and `manifest_bytes` are what was sent of each.

    `changed_bytes` is the content that was put into chunks, before it was compressed. With
    `unchanged` there was nothing to send.
    """

    save: str
    generation: int
    unchanged: bool
    changed_bytes: int
    chunk_bytes: int
    chunks: int
    manifest_bytes: int


@dataclass(frozen=True, slots=True)
class SavedTo:
    """Where an overlay is pushed to, and how it is described there."""

    server: str
    save: str
    name: str
    image: str
    device: str


def generation_of(document: Mapping[str, Any], record: PushRecord) -> int:
    """The generation that an overlay is based on, of a save that has others since."""
    listed = document.get("generations")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and digest_of(one.get("etag")) == record.makes:
            return whole_or_zero(one.get("generation"))
    return record.generation


def sha256_of(manifest: bytes) -> str:
    """The digest that a manifest's ETag is made of."""
    return hashlib.sha256(manifest).hexdigest()


def digest_of(etag: object) -> str:
    """The digest in an ETag of a save's document; empty when there is no manifest yet."""
    return etag.strip('"') if isinstance(etag, str) else ""


def current_of(reply: Reply) -> Mapping[str, Any]:
    """The save's document in the refusal of a manifest."""
    found = reply.error().get("save")
    return found if isinstance(found, dict) else {}
