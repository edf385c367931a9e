"""Asks the service for saves as its users do."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Answer, RunningService

KEY = Ed25519PrivateKey.generate()
PAGE = "https://app.example.com"
EVERY_SCOPE = "disk:write disk:share disk:delete"
BASE = {"version": 'debian-12, "5f3a"', "size": 4 << 30, "sector_size": 512, "image": "debian"}
PRIVATE = "private, no-store, no-transform"


def token(subject: str | None, scope: str = EVERY_SCOPE) -> str:
    claims: dict[str, Any] = {
        **({} if subject is None else {"sub": subject}),
        "iss": "https://issuer.example.com",
        "aud": "disks",
        "exp": int(time.time()) + 3600,
        "scope": scope,
    }
    return jwt.encode(claims, KEY, algorithm="EdDSA")


def save_options(folder: Path, /, **saves: Any) -> list[str]:
    """What switches saves on: in a folder and in SQLite, unless `saves` says otherwise."""
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "keys.pem").write_bytes(pem)
    (folder / "saves").mkdir(exist_ok=True)
    where = {} if "bucket" in saves else {"folder": str(folder / "saves")}
    settings = {
        "authorization.jwt.issuer": "https://issuer.example.com",
        "authorization.jwt.audience": "disks",
        "authorization.jwt.keys_file": str(folder / "keys.pem"),
        "saves.enabled": True,
    }
    database = {"database": f"sqlite:///{folder / 'saves.db'}"}
    settings |= {f"saves.{name}": value for name, value in (database | where | saves).items()}
    flags = [("--set", f"{name}={json.dumps(value)}") for name, value in settings.items()]
    return [*(flag for pair in flags for flag in pair), "--allow-origin", PAGE]


def name_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def etag_of(manifest: bytes) -> str:
    return f'"{name_of(manifest)}"'


def manifest_of(*chunks: bytes, **fields: Any) -> bytes:
    """A manifest that refers to these chunks."""
    document = {
        "format": "aero-disk-save",
        "version": 1,
        "requires": [],
        "base": BASE,
        "device": "Chromium on Linux",
        "digest": "0" * 64,
        "chunks": [{"sha256": name_of(chunk), "length": len(chunk)} for chunk in chunks],
        "compression": "zstd",
        "encryption": None,
        "map": "AAAA",
    }
    return json.dumps(document | fields).encode()


class SaveClient:
    """One of its users."""

    def __init__(self, service: RunningService, who: str | None = "ann") -> None:
        self.service = service
        self.who = who

    def ask(
        self,
        path: str,
        body: object = None,
        *,
        method: str | None = None,
        scope: str = EVERY_SCOPE,
        **headers: str,
    ) -> Answer:
        """`body` is bytes, or a document; headers have underscores for hyphens."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.who is not None:
            sent["Authorization"] = f"Bearer {token(self.who, scope)}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if method is None:
            method = "GET" if body is None else "POST"
        if method in ("POST", "PUT") and body is None:
            body = b""
        return self.service.ask(path, sent, method=method, body=body)

    def create(self, name: str = "work", **fields: Any) -> str:
        """The path of a new save."""
        answer = self.ask("/v1/saves", {"name": name, "base": BASE} | fields)
        assert answer.status == 201, answer.body
        assert answer.headers["location"] == f"saves/{answer.json['id']}"
        return f"/v1/saves/{answer.json['id']}"

    def send(self, save: str, *chunks: bytes) -> None:
        for chunk in chunks:
            answer = self.ask(f"{save}/chunks/{name_of(chunk)}", chunk, method="PUT")
            assert answer.status in (200, 201), answer.body

    def put(self, save: str, manifest: bytes, before: bytes | None = None) -> Answer:
        """PUTs a manifest that follows `before`."""
        headers = {"If_None_Match": "*"} if before is None else {"If_Match": etag_of(before)}
        return self.ask(f"{save}/manifest", manifest, method="PUT", **headers)

    def push(self, save: str, *chunks: bytes, before: bytes | None = None, **fields: Any) -> bytes:
        """Pushes a generation; returns its manifest."""
        self.send(save, *chunks)
        manifest = manifest_of(*chunks, **fields)
        answer = self.put(save, manifest, before)
        assert answer.status == (201 if before is None else 200), answer.body
        assert answer.headers["etag"] == etag_of(manifest)
        return manifest

    def code(self, answer: Answer) -> tuple[int, str]:
        return answer.status, answer.json["error"]["code"]
