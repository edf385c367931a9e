"""What operators see of saves: configuration, readiness, metrics, limits, the OpenAPI document."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk.service.cli import main
from aero_browser_disk.service.configuration import ConfigurationError, load_configuration
from aero_browser_disk.service.http.response import HttpError
from aero_browser_disk.service.saves.bodies import Bodies

from .conftest import RunningService
from .save_client import SaveClient, manifest_of, name_of, save_options, token

if TYPE_CHECKING:
    from collections.abc import Callable

METRICS = ("--set", "metrics.enabled=true", "--set", 'metrics.token="a token of some length"')


def sample(service: RunningService, name: str) -> float:
    """The value of a metric, with its labels."""
    answer = service.ask("/metrics", {"Authorization": "Bearer a token of some length"})
    lines = [line for line in answer.body.decode().splitlines() if line.startswith(f"{name} ")]
    return float(lines[0].rpartition(" ")[2]) if lines else 0


@pytest.fixture
def ann(serve: Callable[..., RunningService], tmp_path: Path) -> SaveClient:
    (tmp_path / "images").mkdir()
    options = save_options(tmp_path, owner_bytes=2 << 20, owner_saves=2)
    return SaveClient(serve(tmp_path / "images", *options, *METRICS))


def test_pushes_are_counted(ann: SaveClient) -> None:
    save = ann.create()
    first = ann.push(save, b"one")
    ann.put(save, first)
    ann.push(save, b"one", b"three", before=first)
    ann.put(save, manifest_of(), first)
    ann.put(save, b"no manifest", first)
    for result, count in (("switched", 2), ("repeated", 1), ("conflict", 1), ("refused", 1)):
        name = f'aero_disk_save_pushes_total{{result="{result}"}}'
        assert sample(ann.service, name) == count, result
    assert sample(ann.service, "aero_disk_save_chunk_bytes_total") == 8
    route = 'route="/v1/saves/{save}/manifest"'
    name = f'aero_disk_requests_total{{method="PUT",{route},status="412"}}'
    assert sample(ann.service, name) == 1


def test_the_log_names_no_save_and_no_link(ann: SaveClient) -> None:
    save = ann.create()
    url = ann.ask(f"{save}/shares", {"lifetime_s": 60}).json["url"]
    ann.service.ask(url)
    while (line := ann.service.event("request"))["route"] != "/v1/saves/{save}":
        pass
    assert line["id"] is None
    assert "share=" not in json.dumps(line)
    assert save.rpartition("/")[2] not in json.dumps(line)


def test_quotas_are_refusals_with_a_reason(ann: SaveClient) -> None:
    save, second = ann.create(), ann.create("second")
    refused = ann.ask("/v1/saves", {"name": "third", "base": {"version": "1", "size": 512}})
    assert ann.code(refused) == (403, "quota_exceeded")
    ann.send(save, bytes(1 << 20))
    chunk = bytes((1 << 20) - 4096)
    ann.send(second, chunk)
    ann.push(save)
    refused = ann.ask(f"{save}/chunks/{name_of(b'x')}", b"x", method="PUT")
    assert ann.code(refused) == (403, "quota_exceeded")
    refused = ann.put(second, manifest_of())
    assert ann.code(refused) == (403, "quota_exceeded")
    assert ann.ask(second, method="DELETE").status == 204
    ann.send(save, b"x")


def test_it_is_not_ready_without_its_folder(ann: SaveClient, tmp_path: Path) -> None:
    save = ann.create()
    assert ann.service.ask("/readyz").status == 200
    shutil.rmtree(tmp_path / "saves")
    answer = ann.service.ask("/readyz")
    assert ann.code(answer) == (503, "not_ready")
    assert "the folder of saves" in answer.json["error"]["message"]
    refused = ann.ask(f"{save}/chunks/{name_of(b'x')}", b"x", method="PUT")
    assert ann.code(refused) == (503, "store_failed")
    assert not (tmp_path / "saves").exists()


def test_the_requests_of_an_owner_are_limited(
    serve: Callable[..., RunningService], tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    limit = ("--set", "limits.requests_per_s=0.01")
    ann = SaveClient(serve(tmp_path / "images", *save_options(tmp_path), *limit))
    assert ann.ask("/v1/saves").status == 200
    refused = ann.ask("/v1/saves")
    assert ann.code(refused) == (429, "too_many_requests")
    assert SaveClient(ann.service, "bob").ask("/v1/saves").status == 200


def test_bodies_take_limited_memory() -> None:
    bodies = Bodies(of_one=10, of_all=15)
    with bodies._counted("ann", 6):
        with pytest.raises(HttpError) as refused, bodies._counted("ann", 5):
            pass
        assert (refused.value.status, refused.value.fields) == (429, {"Retry-After": "1"})
        with bodies._counted("bob", 9):
            with pytest.raises(HttpError) as refused, bodies._counted("carl", 1):
                pass
            assert refused.value.status == 503
        with bodies._counted("carl", 9), bodies._counted("ann", 0):
            pass
    assert not bodies._taken


def check(folder: Path, *options: str) -> int:
    (folder / "images").mkdir(exist_ok=True)
    return main(["check-config", "--images", str(folder / "images"), *options])


def test_check_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path, *save_options(tmp_path)) == 0
    shown = json.loads(capsys.readouterr().out)["saves"]
    assert (shown["enabled"], shown["generations"]) == (True, 5)
    assert "saves.db" not in shown["database"]
    missing = str(tmp_path / "nowhere")
    assert check(tmp_path, *save_options(tmp_path, folder=missing)) == 2
    assert "saves.folder" in capsys.readouterr().err
    assert check(tmp_path, *save_options(tmp_path, database="mysql://x:secret@y/z")) == 2
    error = capsys.readouterr().err
    assert "the database of saves" in error
    assert "secret" not in error


@pytest.mark.parametrize(
    ("saves", "reason"),
    [
        ({}, "one of folder and bucket"),
        ({"folder": "saves", "bucket": "s3://saves"}, "one of folder and bucket"),
        ({"folder": "saves"}, "saves.enabled needs authorization.jwt"),
        ({"folder": "saves", "generations": 0}, "saves.generations"),
        ({"folder": "saves", "unfinished_s": 60}, "saves.unfinished_s"),
        ({"folder": "saves", "max_saves": 60}, "saves.max_saves"),
    ],
)
def test_wrong_configurations(saves: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        load_configuration(None, {"saves": {"enabled": True, **saves}})


def test_the_service_does_what_its_document_says(
    serve: Callable[..., RunningService], tmp_path: Path
) -> None:
    """As its owner, who has a save with two generations; every operation of saves is tried."""
    (tmp_path / "images").mkdir()
    ann = SaveClient(serve(tmp_path / "images", *save_options(tmp_path, owner_saves=0)))
    save = ann.create()
    ann.push(save, b"two", before=ann.push(save, b"one"))
    document = ann.service.ask("/openapi.json").json
    paths = {path: found for path, found in document["paths"].items() if "saves" in path}
    assert sum(map(len, paths.values())) == 13
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps({**document, "paths": paths}))
    program = Path(sysconfig.get_path("scripts"), "schemathesis")
    url = f"http://{ann.service.host}:{ann.service.port}"
    command = [program, "--no-color", "run", file, "--url", url]
    command += ["--header", f"Authorization: Bearer {token('ann')}"]
    command += ["--checks", "all", "--max-examples", "5", "--seed", "1"]
    # No schema says that a chunk has the name of its bytes, and that a manifest follows another.
    command += ["--exclude-checks", "positive_data_acceptance"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Tested: 13\n" in run.stdout
