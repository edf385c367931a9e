"""Tools that others wrote, or that know nothing of the service's code, find nothing to fix."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import sysconfig
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk.service.probe import probe
from deploy.verify_streaming import verify
from lib.nginx_server import Nginx, find_nginx
from support.prepared import prepared_files

from .conftest import put_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import RunningService

SCRIPTS = Path(__file__).parents[2] / "scripts"
PAGE = "https://app.example.com"
IMAGE = random.Random(6).randbytes(3 << 20)
needs_nginx = pytest.mark.skipif(
    find_nginx() is None, reason="no nginx here: apt-get install nginx-light"
)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "disk.img").write_bytes(IMAGE)
    (folder / "small.img").write_bytes(IMAGE[:100_000])
    entries: list[dict[str, object]] = [
        {"id": name, "file": name, "public": True, "last_modified": "2026-01-10T00:00:00Z"}
        for name in ("disk.img", "small.img")
    ]
    put_files(folder / "packed", prepared_files(IMAGE, 256 * 1024))
    packed = {"id": "packed", "file": "packed/manifest.json", "layout": "prepared"}
    entries.append({**entries[0], **packed})
    (folder / "manifest.json").write_text(json.dumps({"images": entries}))
    return folder


def redbot_finds(url: str) -> list[str]:
    """What REDbot holds to be wrong with the answers at that address, or doubtful."""
    program = Path(sysconfig.get_path("scripts"), "redbot")
    done = subprocess.run(
        [program, "-o", "har", url], capture_output=True, text=True, timeout=60, check=True
    )
    entries = json.loads(done.stdout)["log"]["entries"]
    notes = [note for entry in entries for note in entry["_red_messages"]]
    assert "GOOD" in {note["level"] for note in notes}, "REDbot did not look"
    return [
        note["summary"]
        for note in notes
        # `public` is not for REDbot but for CDNs that keep nothing without it.
        if note["level"] not in ("GOOD", "INFO") and note["note_id"] != "STORE_PUBLIC_UNNECESSARY"
    ]


@pytest.mark.parametrize("server", ["uvicorn", "granian"])
@pytest.mark.parametrize(
    "path",
    [
        *("/disks/small.img/bytes", "/v1/images/small.img", "/v1/images"),
        *("/v1/images/small.img/meta", "/disks/packed/manifest.json"),
    ],
)
def test_redbot_finds_nothing(
    images: Path, serve: Callable[..., RunningService], path: str, server: str
) -> None:
    service = serve(images, "--allow-origin", PAGE, "--server", server)
    assert redbot_finds(f"http://{service.host}:{service.port}{path}") == []


def compare(image: Path, url: str) -> subprocess.CompletedProcess[str]:
    """What qemu-img says of the difference between the file and what a server has."""
    program = shutil.which("qemu-img")
    if program is None:
        pytest.skip("no qemu-img here: apt-get install qemu-utils qemu-block-extra")
    command = [program, "compare", "-f", "raw", "-F", "raw", str(image), url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "Unknown protocol" in done.stderr:
        pytest.skip("qemu-img has no HTTP here: apt-get install qemu-block-extra")
    return done


@pytest.mark.parametrize("image", ["disk.img", "packed"])
def test_qemu_finds_the_image_identical(
    images: Path, serve: Callable[..., RunningService], tmp_path: Path, image: str
) -> None:
    service = serve(images)
    url = f"http://{service.host}:{service.port}/disks/{image}/bytes"
    done = compare(images / "disk.img", url)
    assert (done.returncode, done.stdout.strip()) == (0, "Images are identical."), done.stderr
    changed = bytearray(IMAGE)
    changed[2_000_000] ^= 1
    (tmp_path / "other.img").write_bytes(changed)
    assert compare(tmp_path / "other.img", url).returncode == 1


@needs_nginx
@pytest.mark.parametrize("kind", ["reverse-proxy", "accel-redirect", "slice-cache", "scale-out"])
def test_qemu_and_the_verify_script_through_nginx(
    images: Path, serve: Callable[..., RunningService], tmp_path: Path, kind: str
) -> None:
    options = ["--set", 'server.trusted_proxies=["127.0.0.1"]']
    if kind == "accel-redirect":
        options += ["--set", 'bytes.accel_location="/_aero_disk"']
    if kind != "slice-cache":
        options += ["--allow-origin", PAGE]
    service = serve(images, *options)
    folder = tmp_path / "nginx"
    folder.mkdir()
    values = {
        "AERO_DISK_SERVICE": f"{service.host}:{service.port}",
        **{f"AERO_DISK_INSTANCE_{name}": f"{service.host}:{service.port}" for name in "ABC"},
        "AERO_DISK_IMAGES": str(images),
        "AERO_DISK_CACHE": str(folder / "cache"),
    }
    with Nginx(folder, kind, values) as nginx:
        url = f"{nginx.url}/disks/disk.img/bytes"
        done = compare(images / "disk.img", url)
        assert (done.returncode, done.stdout.strip()) == (0, "Images are identical."), done.stderr
        assert [check for check in verify(url, PAGE) if not check.holds] == []


@needs_nginx
@pytest.mark.parametrize("server", ["uvicorn", "granian"])
def test_the_relay_of_a_server_without_cors(
    images: Path, serve: Callable[..., RunningService], tmp_path: Path, server: str
) -> None:
    plain = f"server {{ listen ${{AERO_DISK_LISTEN}}; root {images}; }}"
    folder = tmp_path / "nginx"
    folder.mkdir()
    # Old enough for its date to be a validator.
    os.utime(images / "disk.img", (1_700_000_000, 1_700_000_000))
    with Nginx(folder, plain, {}) as nginx:
        file = tmp_path / "service.toml"
        file.write_text(
            f"""
            [store]
            folder = "{images}"
            [cors]
            allow_origins = ["{PAGE}"]
            [relay]
            private_networks = ["127.0.0.1/32"]
            [relay.servers.plain]
            url = "{nginx.url}/"
            public = true
            """
        )
        service = serve(None, "--config", str(file), "--server", server)
        address = f"http://{service.host}:{service.port}"
        url = f"{address}/relay/plain/disk.img"
        done = compare(images / "disk.img", url)
        assert (done.returncode, done.stdout.strip()) == (0, "Images are identical."), done.stderr
        assert [check for check in verify(url, PAGE) if not check.holds] == []
        # The doctor names the relay where CORS fails, and through it finds nothing to fix.
        direct = asyncio.run(probe(f"{nginx.url}/disk.img", PAGE))
        assert direct.fault == "cors"
        assert "[relay.servers]" in next(f.meaning for f in direct.findings if f.code == "cors")
        relayed = asyncio.run(probe(url, PAGE))
        assert [f.what for f in relayed.findings if f.level != "ok"] == []
        assert redbot_finds(f"{address}/v1/relay") == []
        assert redbot_finds(url) == []


@pytest.mark.parametrize(
    ("server", "image"), [("uvicorn", "disk.img"), ("granian", "disk.img"), ("uvicorn", "packed")]
)
def test_the_verify_script(
    images: Path, serve: Callable[..., RunningService], server: str, image: str
) -> None:
    service = serve(images, "--allow-origin", PAGE, "--server", server)
    url = f"http://{service.host}:{service.port}/disks/{image}/bytes"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPTS / "deploy" / "verify_streaming.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    good = run(url, "--origin", PAGE)
    assert (good.returncode, good.stderr) == (0, "")
    assert all(line.startswith("ok ") for line in good.stdout.splitlines())
    # A page that is not on the list.
    refused = run(url, "--origin", "https://evil.example.net")
    assert refused.returncode == 1
    assert "FAIL range: the page's origin is allowed" in refused.stdout
    assert run("http://127.0.0.1:1/x").returncode == 1


@needs_nginx
def test_the_verify_script_sees_what_is_wrong(tmp_path: Path, images: Path) -> None:
    # A plain nginx, as so many hosts are: it has ranges, and no CORS.
    plain = f"server {{ listen ${{AERO_DISK_LISTEN}}; root {images}; etag off; }}"
    with Nginx(tmp_path, plain, {}) as nginx:
        failed = {check.name for check in verify(f"{nginx.url}/disk.img", PAGE) if not check.holds}
    assert "206 for a range" not in failed
    assert {
        "range: a strong ETag",
        "range: the page's origin is allowed",
        "range: headers are exposed",
        "preflight: 2xx",
        "range: Cache-Control with no-transform",
    } <= failed
    deaf = f"server {{ listen ${{AERO_DISK_LISTEN}}; root {images}; max_ranges 0; }}"
    with ExitStack() as stack:
        nginx = stack.enter_context(Nginx(tmp_path, deaf, {}))
        failed = {check.name for check in verify(f"{nginx.url}/disk.img", PAGE) if not check.holds}
    assert {"206 for a range", "Content-Range with the size", "one byte of body"} <= failed


@needs_nginx
def test_the_local_store_is_right() -> None:
    command = [sys.executable, "-m", "deploy.local_store", "--check"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
    assert done.stdout.count("206 for a range") == 2
