"""Commands and configurations of the guide do with this service, and nginx, what it says."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk.service.access.signed_urls import read_signing_keys
from aero_browser_disk.service.configuration import load_configuration
from aero_browser_disk.service.stores.manifest import parse_manifest
from lib.nginx_server import Nginx, find_nginx
from support.readme import GUIDE, Block, blocks, section

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import RunningService

PAGE = "https://app.example.com"
PAGE_OF_GUIDE = GUIDE / "image-service.md"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")


def commands(heading: str) -> list[str]:
    """The curl commands of a section, each on one line, without their comments."""
    joined = section(PAGE_OF_GUIDE, heading).replace("\\\n", " ")
    lines = re.findall(r"^(curl .*?)(?:\s+# .*)?$", joined, re.MULTILINE)
    return [re.sub(r"\s{2,}", " ", line) for line in lines]


def test_when_it_does_not_work(tmp_path: Path, serve: Callable[..., RunningService]) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(5000))
    service = serve(tmp_path, "--allow-origin", PAGE, "--resource-policy", "cross-origin")
    url = f"http://{service.host}:{service.port}/disks/disk.img/bytes"
    plain, compressed, preflight, policy = [
        subprocess.run(
            ["/bin/sh", "-c", command.replace("URL", url).replace("PAGE", PAGE)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.lower()
        for command in commands("When it does not work")
    ]
    for answer in (plain, compressed):
        assert answer.startswith("http/1.1 206")
        assert "content-range: bytes 0-0/5000\n" in answer
        assert "\ncontent-encoding:" not in answer
    assert preflight.startswith("http/1.1 204")
    assert f"access-control-allow-origin: {PAGE}\n" in preflight
    assert "authorization" in preflight.partition("access-control-allow-headers:")[2]
    assert policy.strip() == "cross-origin-resource-policy: cross-origin"


def test_what_to_watch(tmp_path: Path, serve: Callable[..., RunningService]) -> None:
    (tmp_path / "disk.img").write_bytes(b"disk")
    token = "a token of some length"
    metrics = ["--set", "metrics.enabled=true", "--set", f'metrics.token="{token}"']
    service = serve(tmp_path, *metrics)
    asked = commands("What to watch")
    assert len(asked) == 4
    for command, says in zip(asked, ('"ok"', '"ready"', "aero_disk", '"openapi"'), strict=True):
        text = command.replace("localhost:8080", f"{service.host}:{service.port}")
        done = subprocess.run(
            ["/bin/sh", "-c", text.replace("$TOKEN", token)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert says in done.stdout, command


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_configurations_are_accepted(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "service.toml"
    if block.text.startswith("current = "):
        file.write_text(block.text.replace('= "…"', f'= "{secrets.token_urlsafe(32)}"'))
        assert set(read_signing_keys(file).keys) == {"2026-11", "2026-10"}
    else:
        file.write_text(block.text)
        load_configuration(file)


@pytest.mark.parametrize("block", [b for b in blocks("json") if '"file"' in b.text], ids=str)
def test_manifests_and_their_entries_are_accepted(block: Block) -> None:
    is_whole = '"images"' in block.text
    (entry,) = parse_manifest(block.text if is_whole else f'{{"images": [{block.text}]}}').values()
    assert entry.public


@pytest.mark.skipif(find_nginx() is None, reason="no nginx here: apt-get install nginx-light")
def test_nginx_serves_the_site_isolated(tmp_path: Path) -> None:
    (block,) = blocks("nginx")
    site = tmp_path / "site"
    site.mkdir()
    (site / "aero-disk.mjs").write_text("export {};\n")
    location = block.text.replace("/srv/aero-disk", str(site))
    server = f"server {{ listen ${{AERO_DISK_LISTEN}};\n{location}\n}}"
    with (
        Nginx(tmp_path, server, {}) as nginx,
        urllib.request.urlopen(f"{nginx.url}/aero-disk.mjs", timeout=30) as response,
    ):
        fields = response.headers
    assert fields["Content-Type"] == "text/javascript"
    assert fields["Cross-Origin-Opener-Policy"] == "same-origin"
    assert fields["Cross-Origin-Embedder-Policy"] == "require-corp"
