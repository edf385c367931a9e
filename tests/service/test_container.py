"""What the Dockerfile promises: the service runs with a read-only file system and no rights."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
import urllib.request
from pathlib import Path

import pytest

DOCKERFILE = Path(__file__).parents[2] / "scripts" / "deploy" / "Dockerfile"
READ_ONLY = "mount --make-rprivate / && mount -o remount,bind,ro / && exec setpriv \
--inh-caps=-all --bounding-set=-all --no-new-privs"


def test_it_runs_as_the_dockerfile_runs_it(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "--mount", "true"]).returncode:
        pytest.skip("no mount namespaces here")
    images = tmp_path / "images"
    images.mkdir()
    (images / "disk.img").write_bytes(bytes(4096))
    entry = {"id": "disk", "file": "disk.img", "public": True}
    (images / "manifest.json").write_text(json.dumps({"images": [entry]}))
    text = DOCKERFILE.read_text()
    environment = dict(re.findall(r"(AERO_DISK_[A-Z_]+)=(\S+)", text))
    assert environment["AERO_DISK_STORE__FOLDER"] == "/images"
    environment |= {"AERO_DISK_STORE__FOLDER": str(images), "AERO_DISK_SERVER__PORT": "0"}
    match = re.search(r"^CMD (\[.*\])$", text, re.MULTILINE)
    assert match
    program = Path(sysconfig.get_path("scripts"), "aero-disk-service")
    command = " ".join([READ_ONLY, str(program), *json.loads(match[1])])
    process = subprocess.Popen(
        [unshare, "--mount", "sh", "-c", command],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        assert process.stdout
        url = json.loads(process.stdout.readline())["url"].replace("0.0.0.0", "127.0.0.1")
        with urllib.request.urlopen(f"{url}/disks/disk/bytes", timeout=30) as answer:
            assert answer.read() == bytes(4096)
        with urllib.request.urlopen(f"{url}/readyz", timeout=30) as answer:
            assert answer.status == 200
    finally:
        process.terminate()
        assert process.stdout
        process.stdout.close()
        assert process.wait(30) == 0


def test_it_is_not_root() -> None:
    users = re.findall(r"^USER (\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert users
    assert users[-1].split(":")[0] not in ("0", "root")
