"""The probe says nothing against a good server, and what is wrong with a bad one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aero_browser_disk.service.cli import main
from aero_browser_disk.testing.image_server import Behaviour, ImageServer

if TYPE_CHECKING:
    from .conftest import RunningService

PAGE = "https://app.example.com"


def test_nothing_is_wrong_with_this_service(
    service: RunningService, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://{service.host}:{service.port}"
    for image in ("disk.img", "2TiB.img"):
        assert main(["probe", f"{url}/disks/{image}/bytes", "--origin", PAGE]) == 0
        said = capsys.readouterr().out
        assert "FAILS" not in said
        assert said.count("ok") >= 5


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        ({"ignore_range": True}, "sent the whole file (200)"),
        ({"status": 401}, "status 401"),
        ({"status": 503}, "status 503"),
        ({"redirect_status": 302, "redirect_to": "/elsewhere"}, "status 404"),
        ({"coding": "gzip"}, "compressed (gzip)"),
        ({"coding": "gzip-lie"}, "compressed (gzip)"),
        ({"content_range": "shifted"}, "Content-Range is 'bytes 512-"),
        ({"content_range": "missing"}, "Content-Range cannot be read"),
        ({"content_range": "no-size"}, "/*'"),
        ({"content_range": "wrong-size"}, "Content-Range is 'bytes 0-999/1512'"),
        ({"long_by": 1}, "1001 bytes came instead of 1000"),
        ({"multipart": True}, "multipart/byteranges"),
        ({"validators": "changing"}, "responses have different validators"),
        ({"cors": "none"}, "does not let https://app.example.com read"),
        ({"cors": "hidden"}, "Content-Range cannot be read"),
        ({"preflight_status": 405}, "a preflight fails (405)"),
        ({"headers": (("Vary", "Accept"),), "cors": "credentials"}, "Vary lacks Origin"),
        ({"reset": True}, "no response (Connection reset by peer)"),
    ],
)
def test_what_is_wrong_is_said(
    capsys: pytest.CaptureFixture[str], behaviour: dict[str, Any], says: str
) -> None:
    with ImageServer({"disk.img": bytes(1000)}, behaviour=Behaviour(**behaviour)) as server:
        status = main(["probe", server.url("disk.img"), "--origin", PAGE])
    said = capsys.readouterr().out
    assert says in said
    assert status == 1


@pytest.mark.parametrize(
    ("validators", "says"),
    [
        ("last-modified", "but Last-Modified"),
        ("weak", "the ETag is weak"),
        ("none", "neither ETag nor Last-Modified"),
    ],
)
def test_what_is_only_worse_is_no_failure(
    capsys: pytest.CaptureFixture[str], validators: Any, says: str
) -> None:
    behaviour = Behaviour(validators=validators)
    with ImageServer({"disk.img": bytes(1024)}, behaviour=behaviour) as server:
        assert main(["probe", server.url("disk.img"), "--origin", PAGE]) == 0
    said = capsys.readouterr().out
    assert says in said
    assert "FAILS" not in said


def test_the_remedy_for_one_server(capsys: pytest.CaptureFixture[str]) -> None:
    with ImageServer({"disk.img": bytes(1024)}, behaviour=Behaviour(cors="none")) as server:
        assert main(["probe", server.url("disk.img"), "--origin", PAGE, "--server", "caddy"]) == 1
    said = capsys.readouterr().out
    assert f'      caddy: header Access-Control-Allow-Origin "{PAGE}"\n' in said
    assert "nginx:" not in said


def test_no_probe_without_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "disk.img"]) == 2
    assert "not an http or https URL" in capsys.readouterr().err
