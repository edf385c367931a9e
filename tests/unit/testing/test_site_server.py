"""The static server for pages."""

from __future__ import annotations

import http.client
import sys
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk.testing.site_server import SiteServer
from lib.server_process import PATIENCE_S, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    for name in ("a.mjs", "a.wasm", "a.whl", "a.json", "a.zip", "a.css", "a.unknown", "ü b.html"):
        (folder / name).write_bytes(name.encode())
    (folder / "index.html").write_text("<!doctype html>")
    (folder / "deep" / "index.html").write_text("<p>deep")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def site(folder: Path) -> Iterator[SiteServer]:
    with SiteServer(folder) as site:
        yield site


def ask(
    site: SiteServer, path: str = "/", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    try:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=fields)
        response = connection.getresponse()
        lower = {name.lower(): value for name, value in response.getheaders()}
        return response.status, lower, response.read()
    finally:
        connection.close()


def test_serves_the_index(site: SiteServer) -> None:
    status, headers, body = ask(site)
    assert (status, body) == (200, b"<!doctype html>")
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert ask(site, "/deep/")[2] == b"<p>deep"
    assert site.url == f"http://127.0.0.1:{site.port}/"


@pytest.mark.parametrize(
    ("name", "mime_type"),
    [
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.wasm", "application/wasm"),
        ("a.whl", "application/zip"),
        ("a.json", "application/json"),
        ("a.zip", "application/zip"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.unknown", "application/octet-stream"),
    ],
)
def test_mime_types(site: SiteServer, name: str, mime_type: str) -> None:
    status, headers, body = ask(site, f"/{name}")
    assert (status, body) == (200, name.encode())
    assert headers["content-type"] == mime_type
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/a.mjs", "/missing", "/empty/"])
def test_isolation_headers_on_every_response(site: SiteServer, path: str) -> None:
    headers = ask(site, path)[1]
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_not_isolated(folder: Path) -> None:
    with SiteServer(folder, isolated=False) as site:
        headers = ask(site)[1]
    assert "cross-origin-opener-policy" not in headers
    assert "cross-origin-embedder-policy" not in headers


def test_more_headers_go_before_its_own(folder: Path) -> None:
    more = {"Cross-Origin-Embedder-Policy": "credentialless", "Content-Security-Policy": "x"}
    with SiteServer(folder, headers=more) as site:
        headers = ask(site)[1]
    assert headers["cross-origin-embedder-policy"] == "credentialless"
    assert headers["content-security-policy"] == "x"


@pytest.mark.parametrize("path", ["/missing", "/empty/", "/../secret.txt", "/%2e%2e/secret.txt"])
def test_serves_nothing_else(site: SiteServer, path: str) -> None:
    status, _, body = ask(site, path)
    assert status == 404
    assert b"secret</" not in body
    assert body != b"secret"


def test_changed_files_are_seen_and_others_revalidated(site: SiteServer, folder: Path) -> None:
    _, headers, _ = ask(site, "/a.mjs")
    assert headers["cache-control"] == "no-cache"
    assert ask(site, "/a.mjs", If_Modified_Since=headers["last-modified"])[0] == 304
    (folder / "a.mjs").write_text("changed")
    assert ask(site, "/a.mjs")[2] == b"changed"


def test_head_and_names(site: SiteServer) -> None:
    status, headers, body = ask(site, "/a.mjs", "HEAD")
    assert (status, headers["content-length"], body) == (200, "5", b"")
    assert ask(site, "/%C3%BC%20b.html?v=1")[2] == "ü b.html".encode()


def test_requests_are_recorded(site: SiteServer) -> None:
    ask(site, "/a.mjs?v=1")
    ask(site, "/missing", "HEAD")
    assert site.requests == ["GET /a.mjs?v=1", "HEAD /missing"]
    site.forget()
    assert site.requests == []


def test_stop_ends_kept_connections_and_start_takes_the_port_again(site: SiteServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    connection.request("GET", "/a.mjs")
    assert connection.getresponse().read() == b"a.mjs"
    port = site.port
    site.stop()
    site.stop()
    assert connection.sock is not None
    assert connection.sock.recv(1) == b""
    connection.close()
    with pytest.raises(ConnectionRefusedError):
        ask(site)
    site.start()
    assert site.port == port
    assert ask(site)[0] == 200


def test_refuses_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="nowhere"):
        SiteServer(tmp_path / "nowhere").start()


def test_command_line(folder: Path) -> None:
    command = [sys.executable, "-m", "aero_browser_disk.testing.site_server", str(folder)]
    with ServerProcess(command) as server:
        host = server.url.removeprefix("http://").removesuffix("/")
        connection = http.client.HTTPConnection(host, timeout=PATIENCE_S)
        connection.request("GET", "/a.json")
        assert connection.getresponse().read() == b"a.json"
        connection.close()
        server.process.terminate()
        assert server.wait()[0] == 0


@pytest.mark.parametrize(
    ("accepted", "encoding", "body"),
    [
        ("gzip, deflate, br, zstd", "br", b"brotli"),
        ("gzip;q=1.0, br;q=0", "gzip", b"zipped"),
        ("identity", None, b"plain"),
        (None, None, b"plain"),
    ],
)
def test_what_is_compressed_already_is_sent_to_whom_accepts_it(
    site: SiteServer, folder: Path, accepted: str | None, encoding: str | None, body: bytes
) -> None:
    for name, data in (("c.mjs", b"plain"), ("c.mjs.br", b"brotli"), ("c.mjs.gz", b"zipped")):
        (folder / name).write_bytes(data)
    asked = {"Accept_Encoding": accepted} if accepted else {"Accept_Encoding": ""}
    status, headers, got = ask(site, "/c.mjs", **asked)
    assert (status, got) == (200, body)
    assert headers.get("content-encoding") == encoding
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert headers["content-length"] == str(len(body))
    assert "accept-encoding" in headers["vary"].lower()
