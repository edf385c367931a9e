"""A small real server of the protocol of saves, in memory, with faults on demand."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

LIST = "/v1/saves"


@dataclass
class Save:
    id: str
    name: str
    base: dict[str, Any]
    chunks: dict[str, bytes] = field(default_factory=dict)
    manifests: list[bytes] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        known = {"id": self.id, "name": self.name, "base": self.base}
        if not self.manifests:
            return {**known, "generation": 0, "generations": []}
        generations = [
            {
                "generation": number,
                "created": "2026-11-30T00:00:00Z",
                "device": json.loads(manifest)["device"],
                "etag": etag_of(manifest),
                "stored_bytes": len(manifest),
            }
            for number, manifest in enumerate(self.manifests, 1)
        ]
        current = generations[-1]
        return {
            **known,
            **current,
            "base": json.loads(self.manifests[-1])["base"],
            "updated": current["created"],
            "stored_bytes": sum(map(len, self.chunks.values())),
            "generations": generations[::-1],
        }


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    length: int
    status: int


Fault = Callable[["_Handler"], bool]
"""Called before a request is handled; True when it sent the response itself, or none."""


class SaveService:
    """Use it as a context manager. `faults` are used up one by one by matching requests."""

    def __init__(self, token: str = "") -> None:
        self.saves: dict[str, Save] = {}
        self.requests: list[Request] = []
        self.faults: deque[tuple[str, str]] = deque()
        """Method and what happens: "503", "drop" (no response), "lost" (handled, no response)."""
        self.token = token
        self.takes_changes = True
        """Whether a manifest may be sent as what changed."""
        self.lock = threading.RLock()
        service = self

        class Handler(_Handler):
            of = service

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{LIST}"

    @property
    def only(self) -> Save:
        (save,) = self.saves.values()
        return save

    def sent(self, method: str, pattern: str) -> list[Request]:
        return [r for r in self.requests if r.method == method and re.search(pattern, r.path)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    of: SaveService

    def handle_one(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.of.lock:
            fault = ""
            if self.of.faults and self.of.faults[0][0] in (self.command, "*"):
                fault = self.of.faults.popleft()[1]
            if fault == "503":
                self.answer(503, {"error": {"code": "unavailable", "message": "later"}}, body)
                return
            if fault == "drop":
                self.close_connection = True
                return
            status, found = self.result(body)
            if fault == "lost":
                self.of.requests.append(Request(self.command, self.path, len(body), status))
                self.close_connection = True
                return
            self.answer(status, found, body)

    def do_OPTIONS(self) -> None:
        self.send_response(204)
        self.send_header("Access-Control-Allow-Methods", "GET, PUT, POST, DELETE")
        self.send_header("Access-Control-Allow-Headers", "*, Authorization")
        self.send_header("Access-Control-Max-Age", "600")
        self.end_headers()

    do_GET = do_PUT = do_POST = do_DELETE = handle_one  # noqa: N815

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def answer(self, status: int, found: Any, body: bytes) -> None:
        self.of.requests.append(Request(self.command, self.path, len(body), status))
        data = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def result(self, body: bytes) -> tuple[int, Any]:  # noqa: C901, PLR0911, PLR0912 - one each
        if self.of.token and self.headers.get("Authorization") != f"Bearer {self.of.token}":
            return 401, {"error": {"code": "unauthorized", "message": "no token"}}
        path, _, query = self.path.partition("?")
        parts = path.removeprefix(LIST).strip("/").split("/")
        if parts == [""]:
            return self.listed() if self.command == "GET" else self.made(json.loads(body))
        save = self.of.saves.get(parts[0])
        if save is None:
            return 404, {"error": {"code": "no_such_save", "message": "none"}}
        match self.command, parts[1:]:
            case "GET", []:
                return 200, save.document()
            case "DELETE", []:
                del self.of.saves[save.id]
                return 204, b""
            case "GET", ["manifest"]:
                number = int(query.partition("generation=")[2] or len(save.manifests))
                return (200, save.manifests[number - 1]) if save.manifests else (404, {})
            case "PUT", ["manifest"]:
                return self.switched(save, body)
            case "POST", ["manifest"] if self.of.takes_changes and save.manifests:
                return self.changed(save, json.loads(body))
            case "POST", ["chunks"]:
                asked = json.loads(body)["sha256"]
                return 200, {"missing": [one for one in asked if one not in save.chunks]}
            case "PUT", ["chunks", name]:
                if hashlib.sha256(body).hexdigest() != name:
                    return 400, {"error": {"code": "wrong_digest", "message": "no"}}
                save.chunks[name] = body
                return 201, {}
            case "GET", ["chunks", name]:
                return (200, save.chunks[name]) if name in save.chunks else (404, {})
            case "POST", ["shares"]:
                return 201, {"url": f"{LIST}/{save.id}?share=x", "expires": "soon"}
            case "DELETE", ["shares"]:
                return 204, b""
        return 404, {}

    def listed(self) -> tuple[int, Any]:
        return 200, {"saves": [save.document() for save in self.of.saves.values()]}

    def made(self, asked: dict[str, Any]) -> tuple[int, Any]:
        for save in self.of.saves.values():
            if save.name == asked["name"]:
                return 409, {"error": {"code": "save_exists", "message": "there", "id": save.id}}
        save = Save(secrets.token_hex(16), asked["name"], asked["base"])
        self.of.saves[save.id] = save
        return 201, save.document()

    def changed(self, save: Save, asked: dict[str, Any]) -> tuple[int, Any]:
        before = save.manifests[-1]
        if asked["sha256"] == hashlib.sha256(before).hexdigest():
            return 200, save.document()
        if self.headers.get("If-Match") != etag_of(before):
            return self.switched(save, b"")
        parts = (
            part.encode() if isinstance(part, str) else before[part[0] : sum(part)]
            for part in asked["parts"]
        )
        made = b"".join(parts)
        assert hashlib.sha256(made).hexdigest() == asked["sha256"]
        return self.switched(save, made)

    def switched(self, save: Save, body: bytes) -> tuple[int, Any]:
        current = etag_of(save.manifests[-1]) if save.manifests else ""
        if current == etag_of(body):
            return 200, save.document()
        follows = self.headers.get("If-Match") or ""
        if follows != current or (not follows and self.headers.get("If-None-Match") != "*"):
            refused = {"code": "precondition_failed", "message": "no", "save": save.document()}
            return 412, {"error": refused}
        named = [chunk["sha256"] for chunk in json.loads(body)["chunks"]]
        missing = [name for name in named if name not in save.chunks]
        if missing:
            refused = {"code": "missing_chunks", "message": "no", "missing": missing}
            return 409, {"error": refused}
        save.manifests.append(body)
        return 200 if current else 201, save.document()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def etag_of(manifest: bytes) -> str:
    return f'"{hashlib.sha256(manifest).hexdigest()}"'
