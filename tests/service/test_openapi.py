"""The OpenAPI document says what the service does, and the service does what it says."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.prepared import prepared_files

from .conftest import RunningService, put_files

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = 'current = "k1"\n[keys]\nk1 = "' + "A" * 43 + '"\n'


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with every route that is in the document."""
    folder = tmp_path_factory.mktemp("described")
    (folder / "disk.img").write_bytes(bytes(4096))
    (folder / "keys.toml").write_text(KEYS)
    entries = [
        {"id": "disk.img", "file": "disk.img", "public": True, "description": "One."},
        {"id": "mine", "file": "disk.img", "public": False, "recommended_chunk_size_bytes": 512},
        {"id": "packed", "file": "a/manifest.json", "public": True, "layout": "prepared"},
    ]
    put_files(folder / "a", prepared_files(bytes(5000), 4096))
    (folder / "manifest.json").write_text(json.dumps({"images": entries}))
    file = folder / "service.toml"
    file.write_text(
        f"""
        base_path = "/base"
        [cors]
        allow_origins = []
        [authorization]
        signing_keys_file = "{folder / "keys.toml"}"
        [relay.servers.old]
        url = "https://old.example.com/"
        public = false
        [relay.servers.open]
        url = "https://open.example.com/"
        public = true
        """
    )
    with RunningService(folder, "--config", str(file)) as running:
        yield running


def test_it_is_served(described: RunningService) -> None:
    answer = described.ask("/base/openapi.json")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["servers"] == [{"url": "/base"}]
    assert "/v1/images/{id}/lease" in answer.json["paths"]
    assert {"/v1/relay", "/v1/relay/{server}/lease"} <= answer.json["paths"].keys()
    # Bytes are what RFC 9110 describes.
    assert not any("bytes" in path for path in answer.json["paths"])


def test_no_lease_where_there_is_none(service: RunningService) -> None:
    assert "/v1/images/{id}/lease" not in service.ask("/openapi.json").json["paths"]


def test_the_service_does_what_it_says(described: RunningService, tmp_path: Path) -> None:
    url = f"http://{described.host}:{described.port}/base"
    file = tmp_path / "openapi.json"
    file.write_bytes(described.ask("/base/openapi.json").body)
    operations = sum(map(len, json.loads(file.read_text())["paths"].values()))
    program = Path(sysconfig.get_path("scripts"), "schemathesis")
    command = [program, "--no-color", "run", file, "--url", url]
    command += ["--checks", "all", "--max-examples", "20", "--seed", "1"]
    # It writes what it found where it runs.
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"Tested: {operations}\n" in run.stdout
