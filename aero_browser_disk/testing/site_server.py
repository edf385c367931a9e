"""A static server for a page, with or without cross-origin isolation. For tests and demos.

    with SiteServer(Path("dist")) as site:
        ...  # open site.url in a browser

Or `python -m aero_browser_disk.testing.site_server FOLDER [--port N] [--not-isolated]`.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import socket
import threading
from contextlib import suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

# Not from the machine's own list: browsers refuse modules and WebAssembly of a wrong type.
MIME_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".py": "text/x-python; charset=utf-8",
    ".svg": "image/svg+xml",
    ".tar": "application/x-tar",
    ".ts": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".whl": "application/zip",
    ".woff2": "font/woff2",
    ".zip": "application/zip",
}

ISOLATION_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}

# The siblings of a file, the best first.
ENCODINGS = {"br": ".br", "gzip": ".gz"}


def accepted_encodings(field: str) -> set[str]:
    """What an `Accept-Encoding` field names with a weight above 0 (RFC 9110 §12.5.3)."""
    accepted = set()
    for part in field.lower().split(","):
        coding, _, weight = part.partition(";")
        if not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight):
            accepted.add(coding.strip())
    return accepted


class SiteServer:
    """Serves the files of a folder over HTTP/1.1, from `start()` to `stop()` or in a `with`.

    `isolated` sends the two headers that give a page shared memory. `headers` are sent with every
    response and override the server's own. `port` 0 takes a free one. Files may change while it
    runs. There are no listings: a folder without an index.html is a 404. If `name.br` or `name.gz`
    is next to `name`, it is sent instead to clients that accept it.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        isolated: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = Path(folder)
        self._host = host
        self._port = port
        own = {
            "Cache-Control": "no-cache",
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
        }
        self._headers = own | (ISOLATION_HEADERS if isolated else {}) | dict(headers or {})
        self._requests: list[str] = []
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listens; connections are accepted when it returns.

        Raises OSError, NotADirectoryError if there is no such folder, RuntimeError.
        """
        if self._server is not None:
            raise RuntimeError(f"the server was started already, at {self.url}")
        if not self._folder.is_dir():
            raise NotADirectoryError(f"there is no folder {self._folder}")
        self._server = _Server((self._host, self._port), self._handler)
        self._port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="site server", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Cuts every connection and frees the port. Idempotent; `start()` takes the port again."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.cut_connections()
        self._server.server_close()
        self._server = None

    @property
    def port(self) -> int:
        """The port; the real one once started."""
        return self._port

    @property
    def origin(self) -> str:
        """`http://host:port`."""
        return f"http://{self._host}:{self._port}"

    @property
    def url(self) -> str:
        """The address of the folder's index.html."""
        return f"{self.origin}/"

    @property
    def requests(self) -> list[str]:
        """The requests so far, each as `GET /path?query`, in order."""
        return list(self._requests)

    def forget(self) -> None:
        """Forgets all requests."""
        self._requests.clear()

    def _handler(self, *arguments: Any) -> _Handler:
        return _Handler(
            *arguments, folder=self._folder, headers=self._headers, requests=self._requests
        )


class _Server(ThreadingHTTPServer):
    """Knows its connections, so that it can end those that a browser keeps open."""

    daemon_threads = False  # server_close waits for them: nothing outlives the server

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs nothing about browsers that disconnect."""

    def cut_connections(self) -> None:
        for connection in list(self._connections):
            with suppress(OSError):  # it has just been closed by its own thread
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "SiteServer"
    sys_version = ""
    _sent_as: str | None = None  # the encoding of the file that is sent for the one asked for

    def __init__(
        self,
        *arguments: Any,
        folder: Path,
        headers: Mapping[str, str],
        requests: list[str],
    ) -> None:
        self._own_headers = headers
        self._requests = requests
        super().__init__(*arguments, directory=str(folder))

    def guess_type(self, path: Any) -> str:
        name = str(path)
        if self._sent_as:
            name = name.removesuffix(ENCODINGS[self._sent_as])
        suffix = PurePosixPath(name).suffix.lower()
        return MIME_TYPES.get(suffix, "application/octet-stream")

    def send_head(self) -> Any:
        self._requests.append(f"{self.command} {self.path}")
        return super().send_head()

    def translate_path(self, path: str) -> str:
        plain = super().translate_path(path)
        self._sent_as = None
        if not Path(plain).is_file():
            return plain
        accepted = accepted_encodings(self.headers.get("Accept-Encoding", ""))
        for encoding, suffix in ENCODINGS.items():
            if encoding in accepted and Path(plain + suffix).is_file():
                self._sent_as = encoding
                return plain + suffix
        return plain

    def list_directory(self, path: Any) -> None:
        self.send_error(404, f"there is no index.html in {urlsplit(self.path).path}")

    def end_headers(self) -> None:
        for name, value in self._own_headers.items():
            self.send_header(name, value)
        if self._sent_as:
            self.send_header("Content-Encoding", self._sent_as)
        self.send_header("Vary", "Accept-Encoding")
        super().end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Logs nothing: see `SiteServer.requests`."""


# ── the command line ──────────────────────────────────────────────────────────────────────────────


def main(arguments: list[str] | None = None) -> None:
    """Serves until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m aero_browser_disk.testing.site_server",
        description="Serves the files of a folder, cross-origin isolated.",
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--not-isolated", action="store_true", help="leave COOP and COEP out")
    options = parser.parse_args(arguments)
    site = SiteServer(
        options.folder, isolated=not options.not_isolated, host=options.host, port=options.port
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with site:
        print(json.dumps({"event": "listening", "url": site.url}), flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
