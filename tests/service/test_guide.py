"""The commands of the operator's guide do against this service what the guide says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import aero_browser_disk.service as package

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import RunningService

PAGE = "https://app.example.com"
GUIDE = (Path(package.__file__).parent / "README.md").read_text()

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")


def commands(heading: str) -> list[str]:
    """The indented commands of a section, each on one line, without what is said of them."""
    section = GUIDE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert section, heading
    joined = section.replace("\\\n", " ")
    lines = re.findall(r"^    (curl .*?)(?:\s+# .*)?$", joined, re.MULTILINE)
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
