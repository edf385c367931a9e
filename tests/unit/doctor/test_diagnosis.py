"""The doctor names what is wrong with an image's host, says how to mend it, and costs little."""

from __future__ import annotations

import gzip
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from aero_browser_disk.doctor.advice import EXPOSED
from aero_browser_disk.doctor.diagnosis import Diagnosis, diagnose
from aero_browser_disk.errors import RemoteImagesDisabledError
from aero_browser_disk.formats.prepared.manifest import Manifest
from aero_browser_disk.platform.base import Platform
from aero_browser_disk.platform.cpython import cpython_platform
from aero_browser_disk.testing.image_response import DOCUMENTED_HEADERS
from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from aero_browser_disk.transfer.image_import import CopyProgress
from lib.project import ROOT
from support.prepared import prepared_files

PAGE = "https://app.example.com"
MIB = 1 << 20
DISK = SyntheticImage(64 * MIB, seed=5)


@pytest.fixture(scope="module")
def host() -> Iterator[ImageServer]:
    """One server for all; each test sets how it behaves."""
    with ImageServer({"disk.img": DISK}) as server:
        yield server


@pytest.fixture
def server(host: ImageServer) -> Iterator[ImageServer]:
    host.behaviour = Behaviour()
    host.image("disk.img").replace(DISK)
    host.forget()
    yield host
    host.release()


@pytest.fixture
async def look(tmp_path: Path) -> AsyncIterator[Any]:
    """Asks the doctor as a page of `PAGE` would."""
    platform: Platform = cpython_platform(tmp_path)

    async def ask(url: str, origin: str | None = PAGE, **options: Any) -> Diagnosis:
        return await diagnose(
            url, allow_remote=True, origin=origin, platform=platform, timeout_s=30, **options
        )

    yield ask
    await platform.http.close()


def levels(found: Diagnosis, level: str) -> list[str]:
    return [finding.code for finding in found.findings if finding.level == level]


async def test_a_good_host_has_no_fault(server: ImageServer, look: Any) -> None:
    found = await look(server.url("disk.img"))
    assert found.is_streamable
    assert found.fault is None
    assert levels(found, "fails") == levels(found, "note") == []
    assert found.size == DISK.size
    assert levels(found, "ok") == [
        *("address", "response", "content-range", "end", "speed", "validator", "format"),
    ]


async def test_it_reports_how_far_it_is(server: ImageServer, look: Any) -> None:
    reports: list[CopyProgress] = []
    found = await look(server.url("disk.img"), report=reports.append)
    counts = [progress.done for progress in reports]
    assert counts == sorted(counts)
    assert reports[-1] == CopyProgress(found.bytes_downloaded, found.bytes_downloaded)
    assert {progress.total for progress in reports} == {found.bytes_downloaded}

    reports.clear()
    server.image("disk.img").replace(DISK.read(0, 100_000))
    found = await look(server.url("disk.img"), report=reports.append)
    assert reports[-1].done == found.bytes_downloaded
    assert reports[-1].done <= (reports[-1].total or 0) <= 2 * 100_000 + 1024


async def test_the_headers_that_the_guide_asks_for_suffice(server: ImageServer, look: Any) -> None:
    guide = (ROOT / "web" / "guide" / "servers.md").read_text()
    assert f"Access-Control-Expose-Headers: {DOCUMENTED_HEADERS}\n" in guide
    assert DOCUMENTED_HEADERS == EXPOSED
    server.behaviour = Behaviour(cors="documented")
    found = await look(server.url("disk.img"))
    assert levels(found, "fails") == levels(found, "note") == []


# What a server does wrong, and what the doctor calls it.
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("ranges-ignored", {"ignore_range": True}),
    ("ranges-denied", {"headers": (("Accept-Ranges", "none"),)}),
    ("wants-credentials", {"status": 401}),
    ("wants-credentials", {"status": 403}),
    ("not-found", {"status": 404}),
    ("busy", {"status": 429}),
    ("server-error", {"status": 503}),
    ("odd-status", {"status": 418}),
    ("redirected", {"status": 304}),
    ("compressed", {"coding": "gzip"}),
    ("compressed", {"coding": "gzip-lie"}),
    ("maybe-compressed", {"coding": "gzip", "cors": "documented"}),
    ("maybe-compressed", {"coding": "gzip-lie", "cors": "documented"}),
    ("maybe-compressed", {"coding": "gzip", "cors": "documented", "ignore_range": True}),
    ("compressed", {"coding": "gzip", "ignore_range": True}),
    ("content-range-unreadable", {"content_range": "missing"}),
    ("content-range-unreadable", {"cors": "hidden"}),
    ("content-range-wrong", {"content_range": "shifted"}),
    ("content-range-wrong", {"content_range": "malformed"}),
    ("size-unknown", {"content_range": "no-size"}),
    ("sizes-differ", {"content_range": "wrong-size"}),
    ("end-wrong", {"content_range": "wrong-size", "head_length": False}),
    ("multipart", {"multipart": True}),
    ("length-wrong", {"short_by": 1}),
    ("length-wrong", {"long_by": 1}),
    ("cut-off", {"close_after": 1000}),
    ("cut-off", {"reset_after": 1000}),
    ("validator-changing", {"validators": "changing"}),
    ("range-limit", {"max_range": 4096}),
    ("cors", {"cors": "none"}),
    ("cors", {"headers": (("Access-Control-Allow-Origin", "https://other.example"),)}),
    ("unreachable", {"reset": True}),
]


@pytest.mark.parametrize(("fault", "behaviour"), FAULTS, ids=str)
async def test_it_names_the_fault(
    server: ImageServer, look: Any, fault: str, behaviour: dict[str, Any]
) -> None:
    server.behaviour = Behaviour(**behaviour)
    found = await look(server.url("disk.img"))
    assert fault in levels(found, "fails"), found.findings
    assert not found.is_streamable
    finding = next(finding for finding in found.findings if finding.code == fault)
    assert finding.meaning
    assert sum(request.bytes_sent for request in server.requests) <= MIB
    assert found.bytes_downloaded <= MIB


# What could be better, and does not prevent streaming.
WEAKNESSES: list[tuple[str, dict[str, Any]]] = [
    ("validator-date", {"validators": "last-modified"}),
    ("validator-weak", {"validators": "weak"}),
    ("validator-missing", {"validators": "none"}),
    ("head-refused", {"head_status": 405}),
    ("range-limit", {"max_range": 256 << 10}),
]


@pytest.mark.parametrize(("weakness", "behaviour"), WEAKNESSES, ids=str)
async def test_it_names_what_could_be_better(
    server: ImageServer, look: Any, weakness: str, behaviour: dict[str, Any]
) -> None:
    server.behaviour = Behaviour(**behaviour)
    found = await look(server.url("disk.img"))
    assert weakness in levels(found, "note"), found.findings
    assert found.is_streamable
    assert sum(request.bytes_sent for request in server.requests) <= MIB


@pytest.mark.parametrize(
    ("content", "title"),
    [
        (b"QFI\xfb\x00\x00\x00\x03" + bytes(100_000), "QCOW2"),
        (gzip.compress(DISK.read(0, 200_000)), "gzip"),
        (b"<!doctype html><title>Sign in</title>" + b" " * 4000, "web page"),
        (b"PK\x03\x04" + bytes(100_000), "ZIP"),
    ],
    ids=["qcow2", "gzip", "html", "zip"],
)
@pytest.mark.parametrize("ranges", [True, False])
async def test_it_names_what_is_no_raw_image(
    server: ImageServer, look: Any, content: bytes, title: str, ranges: bool
) -> None:
    server.image("disk.img").replace(content)
    server.behaviour = Behaviour(ignore_range=not ranges)
    found = await look(server.url("disk.img"))
    said = next(finding for finding in found.findings if finding.code == "not-raw")
    assert title.lower() in said.what.lower()
    assert not found.is_streamable


async def test_an_empty_image(server: ImageServer, look: Any) -> None:
    server.image("disk.img").replace(b"")
    assert (await look(server.url("disk.img"))).fault == "empty"


async def test_a_size_that_no_disk_has(server: ImageServer, look: Any) -> None:
    server.image("disk.img").replace(SyntheticImage(100_001, seed=1))
    assert "odd-size" in levels(await look(server.url("disk.img")), "note")


async def test_tiny_images_are_read_whole(server: ImageServer, look: Any) -> None:
    for size in (1, 512, 1024, 36 * 1024):
        server.image("disk.img").replace(SyntheticImage(size, seed=1))
        found = await look(server.url("disk.img"))
        assert found.size == size
        assert levels(found, "fails") == []


async def test_a_host_that_hangs(server: ImageServer, look: Any) -> None:
    server.behaviour = Behaviour(stall=True)
    platform = cpython_platform("unused")
    found = await diagnose(
        server.url("disk.img"), allow_remote=True, origin=PAGE, timeout_s=0.2, platform=platform
    )
    assert found.fault == "silent"
    await platform.http.close()


async def test_nothing_is_asked_without_consent(server: ImageServer) -> None:
    with pytest.raises(RemoteImagesDisabledError):
        await diagnose(server.url("disk.img"), origin=PAGE)
    assert server.requests == []


async def test_a_host_that_is_not_there(look: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = await look(f"http://127.0.0.1:{port}/disk.img")
    assert found.fault == "unreachable"
    assert "refused" in found.findings[-1].what


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("disk.img", "invalid-url"),
        ("ftp://host/disk.img", "invalid-url"),
        ("https://", "invalid-url"),
        ("http://disks.example/disk.img", "mixed-content"),
    ],
)
async def test_addresses_that_are_not_even_asked(look: Any, url: str, fault: str) -> None:
    found = await look(url)
    assert (found.fault, found.requests) == (fault, 0)


async def test_without_a_page_cors_does_not_matter(server: ImageServer, look: Any) -> None:
    server.behaviour = Behaviour(cors="none")
    assert (await look(server.url("disk.img"), origin=None)).is_streamable


async def test_a_page_on_the_same_host_needs_no_cors(server: ImageServer, look: Any) -> None:
    server.behaviour = Behaviour(cors="none")
    assert (await look(server.url("disk.img"), origin=server.origin)).is_streamable


async def test_the_remedy_is_the_line_to_add(server: ImageServer, look: Any) -> None:
    server.behaviour = Behaviour(cors="none")
    said = (await look(server.url("disk.img"))).findings[-1]
    assert set(said.remedy) == {"nginx", "s3", "cloudfront", "caddy", "service"}
    assert said.remedy["nginx"] == f'add_header Access-Control-Allow-Origin "{PAGE}" always;'
    assert said.remedy["service"] == f'[cors] allow_origins = ["{PAGE}"]'
    assert all("{origin}" not in line for line in said.remedy.values())


async def test_no_secret_is_repeated(server: ImageServer, look: Any) -> None:
    server.behaviour = Behaviour(status=500)
    url = server.url("disk.img").replace("http://", "http://me:hunter2@") + "?token=hunter3"
    found = await look(url)
    assert "hunter" not in repr(found)
    assert server.requests[0].headers["authorization"].startswith("Basic ")


# ── prepared images ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def prepared() -> Iterator[ImageServer]:
    """A prepared image on a server that serves no ranges and sends no validators."""
    plain = Behaviour(ignore_range=True, accept_ranges=False, validators="none")
    with ImageServer(prepared_files(DISK.read(0, MIB), 65536), behaviour=plain) as server:
        yield server


async def test_a_prepared_image_needs_no_ranges(prepared: ImageServer, look: Any) -> None:
    found = await look(prepared.url("manifest.json"))
    assert found.is_streamable, found.findings
    assert found.size == MIB
    assert any("prepared image" in finding.what for finding in found.findings)


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (Behaviour(status=404), "not-found"),
        (Behaviour(status=403), "wants-credentials"),
        (Behaviour(corrupt_at=20), "length-wrong"),
        (Behaviour(reset=True), "unreachable"),
    ],
)
async def test_files_of_it_that_are_missing_or_wrong_are_told(
    prepared: ImageServer, look: Any, behaviour: Behaviour, code: str
) -> None:
    manifest = Manifest.decode(prepared_files(DISK.read(0, MIB), 65536)["manifest.json"])
    prepared.image(manifest.table.path).behaviour = behaviour
    found = await look(prepared.url("manifest.json"))
    assert found.fault == code
    assert not found.is_streamable


async def test_a_manifest_of_a_newer_version_is_told(prepared: ImageServer, look: Any) -> None:
    encoded = prepared_files(DISK.read(0, MIB), 65536)["manifest.json"]
    newer = encoded.replace(b'"version": 1', b'"version": 9')
    prepared.image("manifest.json").replace(newer)
    found = await look(prepared.url("manifest.json"))
    assert found.fault == "not-raw"
    assert any("version 9" in finding.what for finding in found.findings)
