"""A real server of an image without CORS headers, and one that breaks the rules byte by byte."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self

from aero_browser_disk.remote.byte_ranges import UnsatisfiableRangeError, parse_range

IMAGE = random.Random(12).randbytes(300_000)
ETAG = '"v1"'
MODIFIED = "Tue, 10 Jan 2023 00:00:00 GMT"
PAGE = "https://app.example.com"
LIMIT = 65_536
DISK = "/relay/old/disk.img"
FIRST = {"Range": "bytes=0-511"}


class Request(BaseHTTPRequestHandler):
    """Responds as its server's `behaviour` says."""

    protocol_version = "HTTP/1.1"
    server: RelayedServer
    timeout = 30

    def do_GET(self) -> None:
        self.server.requests.append(self)
        self.server.behaviour(self)

    do_HEAD = do_GET  # noqa: N815 - what `http.server` calls

    def raw(self, *parts: str | bytes) -> None:
        """Sends exactly this, and ends the connection."""
        self.close_connection = True
        for part in parts:
            self.wfile.write(part.encode("latin-1") if isinstance(part, str) else part)

    def respond(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        """Sends a whole response; with a Content-Length unless `headers` has it."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def serves(image: bytes = IMAGE, **more: str) -> Callable[[Request], None]:
    """What an ordinary server does, which minds ranges and no conditions; `more` headers."""
    common = {"ETag": ETAG, "Last-Modified": MODIFIED, "Accept-Ranges": "bytes"}
    common |= {name.replace("_", "-"): value for name, value in more.items()}

    def respond(request: Request) -> None:
        try:
            part = parse_range(request.headers.get("Range", ""), len(image))
        except UnsatisfiableRangeError:
            request.respond(416, {**common, "Content-Range": f"bytes */{len(image)}"})
            return
        if part is None or request.command == "HEAD":
            request.respond(200, common, image)
            return
        content_range = f"bytes {part.start}-{part.stop - 1}/{len(image)}"
        request.respond(
            206, {**common, "Content-Range": content_range}, image[part.start : part.stop]
        )

    return respond


class RelayedServer(ThreadingHTTPServer):
    """Responds to every request as `behaviour` does, until the block ends."""

    daemon_threads = False
    block_on_close = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.behaviour: Callable[[Request], None] = serves()
        self.requests: list[Request] = []
        self.connections = 0
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        self.connections += 1
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # the other side may go at any time

    def __enter__(self) -> Self:
        self._thread = Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()
        self._thread.join()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


def written(folder: Path, archive: RelayedServer, more: str = "") -> Path:
    """A configuration that relays it."""
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images" / "manifest.json").write_text('{"images": []}')
    file = folder / "service.toml"
    file.write_text(
        f"""
        [store]
        folder = "{folder / "images"}"
        [bytes]
        max_range_bytes = {LIMIT}
        [metrics]
        enabled = true
        token = "a-token-for-the-metrics"
        {more}
        [relay]
        private_networks = ["127.0.0.1/32"]
        timeout_s = 5
        body_s = 10
        [relay.servers.old]
        url = "{archive.url}/images/"
        public = true
        redirects = ["{archive.url}/mirror/"]
        """
    )
    return file


def gzip(request: Request) -> None:
    serves(Content_Encoding="gzip")(request)
