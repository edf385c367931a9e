"""The same answers over HTTP/2, with TLS and without, and what the server itself bounds."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from aero_browser_disk.service.cli import main

from .conftest import PATIENCE_S, RunningService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


DISK = "/disks/disk.img/bytes"
SIZE = 600_123


def issue(
    folder: Path, name: str, issuer: tuple[str, ec.EllipticCurvePrivateKey] | None = None
) -> tuple[Path, ec.EllipticCurvePrivateKey]:
    """A certificate with its key in one PEM file, and the key; by itself without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    by, signer = issuer or (name, key)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, by)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(issuer is None, None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
    return file, key


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, disk: bytes) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("images")
    (folder / "disk.img").write_bytes(disk)
    with RunningService(folder, "--server", "granian") as running:
        yield running


@pytest.fixture
def images(tmp_path: Path, disk: bytes) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "disk.img").write_bytes(disk)
    return folder


def client(service: RunningService, context: ssl.SSLContext | None = None) -> httpx.Client:
    scheme = "http" if context is None else "https"
    return httpx.Client(
        http1=context is not None,
        http2=True,
        verify=context or False,
        base_url=f"{scheme}://{service.host}:{service.port}",
        timeout=PATIENCE_S,
    )


def assert_answers(asking: httpx.Client, disk: bytes) -> None:
    whole = asking.get(DISK)
    assert (whole.http_version, whole.status_code, whole.content) == ("HTTP/2", 200, disk)
    assert "transfer-encoding" not in whole.headers
    etag = whole.headers["etag"]
    for headers, status, body in (
        ({"Range": "bytes=5-9"}, 206, disk[5:10]),
        ({"Range": "bytes=-3"}, 206, disk[-3:]),
        ({"Range": "bytes=0-0", "If-Range": '"other"'}, 200, disk),
        ({"If-None-Match": etag}, 304, b""),
    ):
        answer = asking.get(DISK, headers=headers)
        assert (answer.status_code, answer.content) == (status, body)
        assert answer.headers["access-control-allow-origin"] == "*"
    refused = asking.get(DISK, headers={"Range": f"bytes={SIZE}-"})
    assert refused.status_code == 416
    assert refused.headers["content-range"] == f"bytes */{SIZE}"
    head = asking.head(DISK)
    assert (head.headers["content-length"], head.content) == (str(SIZE), b"")
    preflight = asking.options(
        DISK, headers={"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    )
    assert preflight.status_code == 204
    assert asking.post(DISK, content=b"x" * 200_000).status_code == 405
    assert asking.get(DISK + "?" + "a" * 3000).status_code == 414
    assert asking.get(DISK, headers={"X-Much": "a" * 33_000}).status_code == 431
    assert asking.get("/disks/..%2fsecret/bytes").status_code == 404


def test_without_tls(service: RunningService, disk: bytes) -> None:
    with client(service) as asking:
        assert_answers(asking, disk)


def test_many_ranges_on_one_connection(service: RunningService, disk: bytes) -> None:
    with client(service) as asking:
        asking.get("/healthz")
        for number in range(200):
            start = number * 2999
            answer = asking.get(DISK, headers={"Range": f"bytes={start}-{start + 4095}"})
            assert answer.content == disk[start : start + 4096]


def test_with_tls(
    tmp_path: Path, images: Path, disk: bytes, serve: Callable[..., RunningService]
) -> None:
    file, _ = issue(tmp_path, "server")
    files = ("--set", f"server.tls_certificate={file}", "--set", f"server.tls_key={file}")
    options = ("--server", "granian", *files)
    service = serve(images, *options)
    context = ssl.create_default_context(cafile=str(file))
    with client(service, context) as asking:
        assert_answers(asking, disk)
    with httpx.Client(verify=context, http2=False) as asking:
        answer = asking.get(f"https://{service.host}:{service.port}{DISK}")
        assert (answer.http_version, answer.content) == ("HTTP/1.1", disk)


@pytest.mark.parametrize("server", ["granian", "uvicorn"])
def test_a_client_certificate_can_be_required(
    tmp_path: Path, images: Path, serve: Callable[..., RunningService], server: str
) -> None:
    file, _ = issue(tmp_path, "server")
    authorities, authority = issue(tmp_path, "clients")
    reader, _ = issue(tmp_path, "reader", ("clients", authority))
    options = {
        "server.kind": server,
        "server.tls_certificate": file,
        "server.tls_key": file,
        "server.tls_client_authorities": authorities,
    }
    words = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    service = serve(images, *words)
    url = f"https://{service.host}:{service.port}{DISK}"
    known = ssl.create_default_context(cafile=str(file))
    with httpx.Client(verify=known) as asking, pytest.raises(httpx.TransportError):
        asking.get(url)
    known.load_cert_chain(reader)
    with httpx.Client(verify=known) as asking:
        answer = asking.get(url)
    assert answer.status_code == 200
    # A certificate is a credential, so no cache may keep what it was shown for.
    assert answer.headers["cache-control"] == "private, no-store, no-transform"


@pytest.mark.parametrize("command", ["serve", "check-config"])
def test_files_that_no_server_can_use_are_said(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (good, _), (other, _) = issue(tmp_path, "good"), issue(tmp_path, "other")
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    for certificate, key, authorities, says in (
        (junk, good, good, "tls_certificate"),
        (good, junk, good, "tls_key"),
        (good, other, good, "tls_key"),
        (tmp_path / "nothing", good, good, "No such file"),
        (good, good, junk, "tls_client_authorities"),
        (good, good, tmp_path / "nothing", "tls_client_authorities"),
    ):
        files = {"certificate": certificate, "key": key, "client_authorities": authorities}
        options = [f"--set=server.tls_{name}={file}" for name, file in files.items()]
        assert main([command, "--images", str(images), *options]) == 2
        assert says in capsys.readouterr().err
