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
        ({"ignore_range": True}, "ignores Range"),
        ({"status": 401}, "wants credentials (401)"),
        ({"status": 503}, "answers 503"),
        ({"redirect_status": 302, "redirect_to": "/elsewhere"}, "redirects (302)"),
        ({"coding": "gzip"}, "compressed (gzip)"),
        ({"coding": "gzip-lie"}, "compressed (gzip)"),
        ({"content_range": "shifted"}, "not the byte that was asked for"),
        ({"content_range": "missing"}, "not the byte that was asked for"),
        ({"content_range": "no-size"}, "not the byte that was asked for"),
        ({"content_range": "wrong-size"}, "last byte cannot be read"),
        ({"long_by": 1}, "not the byte that was asked for"),
        ({"multipart": True}, "not the byte that was asked for"),
        ({"validators": "none"}, "neither a strong ETag nor Last-Modified"),
        ({"validators": "weak"}, "neither a strong ETag nor Last-Modified"),
        ({"validators": "changing"}, "two ETags"),
        ({"cors": "none"}, "may not read the bytes"),
        ({"cors": "hidden"}, "cannot see content-range, etag"),
        ({"preflight_status": 405}, "a preflight fails (405)"),
        ({"headers": (("Vary", "Accept"),), "cors": "credentials"}, "Vary lacks Origin"),
        ({"reset": True}, "cannot be asked"),
    ],
)
def test_what_is_wrong_is_said(
    capsys: pytest.CaptureFixture[str], behaviour: dict[str, Any], says: str
) -> None:
    with ImageServer({"disk.img": bytes(1000)}, behaviour=Behaviour(**behaviour)) as server:
        status = main(["probe", server.url("disk.img"), "--origin", PAGE])
    said = capsys.readouterr()
    assert says in said.out + said.err
    assert status == (2 if "reset" in behaviour else 1)


def test_what_is_only_worse_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    behaviour = Behaviour(validators="last-modified")
    with ImageServer({"disk.img": bytes(1000)}, behaviour=behaviour) as server:
        assert main(["probe", server.url("disk.img"), "--origin", PAGE]) == 0
    assert "Last-Modified will do" in capsys.readouterr().out


def test_no_probe_without_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "disk.img"]) == 2
    assert "not an address" in capsys.readouterr().err
