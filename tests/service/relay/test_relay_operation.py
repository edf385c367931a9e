"""The relay's time bounds, limits, authorization, log and configuration."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..conftest import RunningService
from .relayed_server import (
    DISK,
    FIRST,
    IMAGE,
    LIMIT,
    PAGE,
    RelayedServer,
    Request,
    gzip,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def endless_hints(request: Request) -> None:
    """Progress without end: each read succeeds, so only a total deadline ends it."""
    while True:
        request.raw("HTTP/1.1 103 Early Hints\r\n\r\n")


def stalls(request: Request) -> None:
    """Begins a body, and says no more."""
    request.raw(
        f"HTTP/1.1 206 P\r\nContent-Range: bytes 0-{LIMIT - 1}/300000\r\n"
        f"Content-Length: {LIMIT}\r\n\r\n",
        IMAGE[:1000],
    )
    request.rfile.read(1)


def test_every_response_has_a_total_deadline(
    tmp_path: Path, serve: Callable[..., RunningService], archive: RelayedServer
) -> None:
    text = written(tmp_path, archive).read_text()
    text = text.replace("timeout_s = 5", "timeout_s = 1").replace("body_s = 10", "body_s = 0.5")
    (tmp_path / "service.toml").write_text(text)
    service = serve(None, "--config", str(tmp_path / "service.toml"))
    for behaviour in (lambda request: request.rfile.read(1), endless_hints):
        archive.behaviour = behaviour
        answer = service.ask(DISK, FIRST)
        assert (answer.status, answer.json["error"]["code"]) == (504, "relay_timeout")
    archive.behaviour = stalls
    connection = service.connect()
    status = 504
    while status == 504:  # on a busy machine even the headers may take that second
        connection.request("GET", DISK, headers={"Range": f"bytes=0-{LIMIT - 1}"})
        response = connection.getresponse()
        status = response.status
        if status == 504:
            response.read()
    assert status == 206
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    connection.close()
    line = service.next_line()
    while line.get("status") != 206:
        line = service.next_line()
    assert "0.5 s" in line["cut"]


def test_the_log_and_the_metrics_say_what_happened(
    tmp_path: Path, serve: Callable[..., RunningService], archive: RelayedServer
) -> None:
    service = serve(None, "--config", str(written(tmp_path, archive)))
    assert service.ask(DISK, FIRST).status == 206
    archive.behaviour = gzip
    failed = service.ask(f"{DISK}?secret=1", FIRST)
    lines = {}
    while len(lines) < 3:
        line = service.next_line()
        lines[line["event"], line.get("status")] = line
    assert lines["request", 206]["id"] == "relay:old/disk.img"
    assert lines["request", 206]["route"] == "/relay/{server}/{path}"
    said = lines["relay_failed", None]
    assert (said["server"], said["reason"]) == ("old", "encoded")
    assert said["request_id"] == failed.headers["x-request-id"]
    assert "secret" not in json.dumps(list(lines.values()))
    token = {"Authorization": "Bearer a-token-for-the-metrics"}
    metrics = service.ask("/metrics", token).body.decode()
    assert 'aero_disk_relayed_total{result="ok",server="old"} 1.0' in metrics
    assert 'aero_disk_relayed_total{result="encoded",server="old"} 1.0' in metrics
    assert 'aero_disk_ranges_total{result="satisfied"} 1.0' in metrics


def test_the_limits_are_those_of_images(
    tmp_path: Path, serve: Callable[..., RunningService], archive: RelayedServer
) -> None:
    more = "[limits]\nrequests_per_s = 0.5"
    service = serve(None, "--config", str(written(tmp_path, archive, more)))
    assert [service.ask(DISK, FIRST).status for _ in range(2)] == [206, 429]


KEYS = 'current = "k1"\n[keys]\nk1 = "' + "A" * 43 + '"\n'
ISSUER, AUDIENCE = "https://issuer.example.com", "disks"


@pytest.fixture
def private(
    tmp_path: Path, serve: Callable[..., RunningService], archive: RelayedServer
) -> RunningService:
    """A relay of images that are not for everybody."""
    (tmp_path / "keys.toml").write_text(KEYS)
    more = f"""
        [cors]
        allow_origins = ["{PAGE}"]
        [authorization]
        signing_keys_file = "{tmp_path / "keys.toml"}"
        [authorization.proxy_identity.subjects]
        one = ["relay:old/disk.img"]
        all = ["relay:old"]
        other = ["old", "disk.img"]
        [server]
        trusted_proxies = ["127.0.0.1"]
        """
    file = written(tmp_path, archive, more)
    file.write_text(file.read_text().replace("public = true", "public = false"))
    return serve(None, "--config", str(file))


def subject(name: str) -> dict[str, str]:
    return {"X-Client-Subject": name, "X-Client-Verify": "SUCCESS"}


def test_private_servers_need_credentials_and_give_leases(
    private: RunningService, archive: RelayedServer
) -> None:
    assert private.ask(DISK, FIRST).status == 401
    assert private.ask("/v1/relay").json == {"servers": []}
    assert private.ask(DISK, {**FIRST, **subject("other")}).status == 403
    assert archive.requests == []
    answer = private.ask(DISK, {**FIRST, **subject("one")})
    assert (answer.status, answer.headers["cache-control"]) == (
        206,
        "private, no-store, no-transform",
    )
    other = "/relay/old/b/other.img"
    assert private.ask(other, {**FIRST, **subject("one")}).status == 403
    assert private.ask(other, {**FIRST, **subject("all")}).status == 206
    assert len(private.ask("/v1/relay", subject("all")).json["servers"]) == 1

    def lease(path: str, name: str | None) -> tuple[int, dict[str, object]]:
        body = json.dumps({"path": path}).encode()
        headers = {} if name is None else subject(name)
        answer = private.ask("/v1/relay/old/lease", headers, method="POST", body=body)
        return answer.status, answer.json

    status, document = lease("b/other image.img", "all")
    assert status == 200
    url = str(document["url"])
    assert url.startswith("/relay/old/b/other%20image.img?")
    answer = private.ask(url, FIRST)
    assert (answer.status, answer.body) == (206, IMAGE[:512])
    # It is for this image alone, and nothing of it goes to the server.
    assert archive.requests[-1].path == "/images/b/other%20image.img"
    assert private.ask(url.replace("other%20image", "other"), FIRST).status == 401
    assert lease("b/other image.img", "one")[0] == 403
    assert lease("b/other image.img", None)[0] == 401
    assert lease("../x", "all")[0] == 404


def test_off_unless_configured(service: RunningService) -> None:
    assert service.ask(DISK, FIRST).status == 404
    assert service.ask("/v1/relay").status == 404
    assert not any("relay" in path for path in service.ask("/openapi.json").json["paths"])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ('url = "https://me:x@a.example/"', "relay.servers.old.url: must not have a user"),
        ('url = "https://a.example/x"', "relay.servers.old.url: must end with a slash"),
        ('url = "https://*.a.example/"', "relay.servers.old.url: must be"),
        ('url = "https://a.example/"\nredirects = ["https://*.com/"]', "relay.servers.old.red"),
    ],
)
def test_check_config_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str, reason: str
) -> None:
    from aero_browser_disk.service.cli import main

    images = tmp_path / "images"
    images.mkdir()
    (images / "manifest.json").write_text('{"images": []}')
    file = tmp_path / "service.toml"

    def check(server: str) -> int:
        server = f"[relay.servers.old]\npublic = true\n{server}"
        file.write_text(f'[store]\nfolder = "{images}"\n{server}')
        return main(["check-config", "--config", str(file)])

    assert check('url = "https://a.example/x/"\nredirects = ["https://*.a.example/"]') == 0
    assert json.loads(capsys.readouterr().out)["relay"]["servers"]["old"]["public"] is True
    assert check(wrong) == 2
    assert reason in capsys.readouterr().err
    # Whether everybody may read is for the operator to say.
    file.write_text(
        f'[store]\nfolder = "{images}"\n[relay.servers.old]\nurl = "https://a.example/"'
    )
    assert main(["check-config", "--config", str(file)]) == 2
    assert "relay.servers.old.public" in capsys.readouterr().err
