"""Requests to a test server of images, sent exactly as a test says."""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass

from aero_browser_disk.testing.image_server import ImageServer, SyntheticImage

IMAGE = SyntheticImage(300_000, seed=5)
DATA = IMAGE.read(0, IMAGE.size)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


def ask(
    server: ImageServer,
    byte_range: str | None = None,
    *,
    method: str = "GET",
    path: str = "/disk.img",
    body: bytes | None = None,
    **headers: str,
) -> Reply:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if byte_range is not None:
            fields["Range"] = byte_range
        connection.request(method, path, body, fields)
        response = connection.getresponse()
        lower = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, lower, response.read())
    finally:
        connection.close()


def connect(server: ImageServer, *, path: str = "/disk.img", extra: str = "") -> socket.socket:
    """A socket on which a GET was sent."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{extra}\r\n".encode())
    return client


def read_to_end(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)
