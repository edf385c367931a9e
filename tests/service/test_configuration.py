"""One configuration from file, environment and flags; what is unsafe in it is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk.service.cli import main
from aero_browser_disk.service.configuration import ConfigurationError, load_configuration

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import RunningService

KEY = "A" * 43


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "disk.img").write_bytes(bytes(1024))
    (folder / "manifest.json").write_text(
        '{"images": [{"id": "disk", "file": "disk.img", "public": true}]}'
    )
    return folder


def write(folder: Path, text: str) -> Path:
    file = folder / "service.toml"
    file.write_text(text)
    return file


def test_flags_stand_before_the_environment_and_it_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, "[bytes]\nmax_age_s = 1\n[cors]\nmax_age_s = 1\n[server]\nport = 1\n")
    monkeypatch.setenv("AERO_DISK_BYTES__MAX_AGE_S", "2")
    monkeypatch.setenv("AERO_DISK_CORS__MAX_AGE_S", "2")
    found = load_configuration(file, {"cors": {"max_age_s": 3}}, {"server": {"host": "::1"}})
    assert (found.server.port, found.bytes.max_age_s, found.cors.max_age_s) == (1, 2, 3)
    assert found.server.host == "::1"


def test_it_is_in_force(
    tmp_path: Path,
    images: Path,
    serve: Callable[..., RunningService],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = write(
        tmp_path,
        """
        base_path = "/streams"
        [cors]
        allow_origins = ["https://app.example.com"]
        credentials = true
        timing = true
        max_age_s = 7
        [bytes]
        max_age_s = 60
        """,
    )
    monkeypatch.setenv("AERO_DISK_BYTES__MAX_AGE_S", "61")
    service = serve(images, "--config", str(file), "--set", "cors.resource_policy=cross-origin")
    origin = {"Origin": "https://app.example.com"}
    answer = service.ask("/streams/disks/disk/bytes", origin)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "public, max-age=61, no-transform"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["timing-allow-origin"] == "https://app.example.com"
    preflight = origin | {"Access-Control-Request-Method": "GET"}
    answer = service.ask("/streams/v1/images", preflight, method="OPTIONS")
    assert answer.headers["access-control-max-age"] == "7"
    assert service.ask("/streams/healthz").status == 200
    for path in ("/disks/disk/bytes", "/healthz", "/streams", "/streamsdisks/disk/bytes"):
        assert service.ask(path).status == 404


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[cors]\ncredentials = true\nallow_origins = ["*"]', "cors.credentials with"),
        ("[store]\nlisting = true", "store.listing in production"),
        ("[metrics]\nenabled = true", "metrics would be public"),
        ('[authorization]\nsigning_keys_file = "keys.toml"', "authorization with"),
        (
            '[cors]\nallow_origins = []\n[authorization.proxy_identity.subjects]\n"CN=a" = ["*"]',
            "without server.trusted_proxies",
        ),
        ('[cors]\nallow_origins = ["*", "https://a.example"]', "stands alone"),
        ('[cors]\nallow_origins = ["https://a.example/"]', "is not an origin"),
        ('[server]\nkind = "uvicorn"\nhttp = "2"', "has no HTTP/2"),
        ('[server]\ntls_certificate = "a.pem"', "go together"),
        ('[server]\ntls_client_authorities = "a.pem"', "needs tls_certificate"),
        ('[server]\npublic_url = "https://a.example/x"', "without a path"),
        ('[server]\ntrusted_proxies = ["unix:"]', "is for unix_socket"),
        ('[server]\nunix_socket = "a"\nunix_socket_mode = "rw"', "server.unix_socket_mode"),
        (
            '[server]\nunix_socket = "a"\ntls_certificate = "a.pem"\ntls_key = "b.pem"',
            "unix_socket has no TLS",
        ),
        ("[bytes]\nmax_range_bytes = 1", "bytes.max_range_bytes"),
        ('[bytes]\nversioned_ids = "("', "bytes.versioned_ids"),
        ("[limits]\nbytes_per_s = 1", "limits.bytes_per_s"),
        ("[limits]\nrequests_per_s = inf", "limits.requests_per_s"),
        ('base_path = "/../x"', "base_path"),
        ('base_path = "images"', "base_path"),
        ("[server]\ncolour = 1", "server.colour"),
        ("colour = 1", "colour"),
        ("[server\n", "line 1"),
        (
            '[authorization.jwt]\nissuer = "a"\naudience = "b"',
            "one of keys_file and jwks_url",
        ),
        (
            '[authorization.jwt]\nissuer = "a"\naudience = "b"\njwks_url = "http://a.example/"',
            "jwks_url must be https",
        ),
        ('[store]\nfolder = "a"\nbucket = "s3://b"', "one of folder and bucket"),
    ],
)
def test_what_is_wrong_or_unsafe_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        load_configuration(write(tmp_path, text))
    assert says in str(error.value)


def test_every_reason_is_said_and_no_secret(tmp_path: Path) -> None:
    text = '[metrics]\ntoken = "hunter2"\n[server]\nport = 99999\n'
    with pytest.raises(ConfigurationError) as error:
        load_configuration(write(tmp_path, text))
    assert "metrics.token" in str(error.value)
    assert "server.port" in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_variable_that_names_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AERO_DISK_SEVER__PORT", "1")
    with pytest.raises(ConfigurationError, match="AERO_DISK_SEVER__PORT"):
        load_configuration()
    monkeypatch.delenv("AERO_DISK_SEVER__PORT")
    monkeypatch.setenv("AERO_DISK_SERVER__PROT", "1")
    with pytest.raises(ConfigurationError, match=r"server\.prot"):
        load_configuration()


def test_check_config(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(f'current = "k1"\n[keys]\nk1 = "{KEY}"\n')
    file = write(
        tmp_path,
        f"""
        [store]
        folder = "{images}"
        [cors]
        allow_origins = []
        [metrics]
        enabled = true
        token = "a-token-of-some-length"
        [authorization]
        signing_keys_file = "{keys}"
        """,
    )
    assert main(["check-config", "--config", str(file)]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["mode"] == "production"
    assert "a-token" not in said.out + said.err
    assert KEY not in said.out + said.err
    keys.write_text(f'current = "k2"\n[keys]\nk1 = "{KEY}"\n')
    assert main(["check-config", "--config", str(file)]) == 2
    assert '"current" must name one of' in capsys.readouterr().err
    assert main(["check-config", "--config", str(tmp_path / "nothing.toml")]) == 2
    assert "nothing.toml" in capsys.readouterr().err


def test_a_folder_without_manifest_is_for_development(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(512))
    arguments = ["check-config", "--images", str(tmp_path)]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["mode"] == "development"
    assert main([*arguments, "--set", "mode=production"]) == 2
    assert "there is no manifest.json" in capsys.readouterr().err
    assert main([*arguments, "--set", "mode=production", "--set", "store.listing=true"]) == 2
    assert "store.listing in production" in capsys.readouterr().err
    config = write(tmp_path, "")
    assert main([*arguments, "--config", str(config)]) == 2
    assert "there is no manifest.json" in capsys.readouterr().err


@pytest.mark.parametrize("assignment", ["port", "=1", "server.port=x", "server.nothing=1"])
def test_an_assignment_that_makes_no_sense(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str], assignment: str
) -> None:
    assert main(["check-config", "--images", str(images), "--set", assignment]) == 2
    assert capsys.readouterr().out == ""
