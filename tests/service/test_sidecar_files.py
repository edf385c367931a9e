"""The digest list and the boot profile of an image: offered when right, and made by the command."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.platform.cpython import cpython_platform
from aero_browser_disk.service.cli import main
from aero_browser_disk.streaming.boot_profile import BootProfile
from aero_browser_disk.streaming.digest_list import DigestList, digests_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import RunningService
    from .object_server import Bucket

IMAGE = bytes(range(256)) * 1000
META = "/v1/images/disk.img/meta"
DIGESTS = "/v1/images/disk.img/digests"
PROFILE = "/v1/images/disk.img/boot-profile"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "disk.img").write_bytes(IMAGE)
    return tmp_path


def profile_of(service: RunningService) -> BootProfile:
    meta = service.ask(META).json
    return BootProfile(meta["size_bytes"], meta["etag"], 4096, (3, 4, 5, 0))


def test_a_digest_list(folder: Path, serve: Callable[..., RunningService]) -> None:
    assert main(["digest", str(folder / "disk.img"), "--chunk-size", "4096"]) == 0
    service = serve(folder)
    answer = service.ask(DIGESTS)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-cache"
    digests = DigestList.decode(answer.body)
    assert digests == digests_of([IMAGE], 4096)
    offered = service.ask(META).json["digests"]
    assert offered == {
        "url": "digests",
        "size_bytes": len(answer.body),
        "sha256": hashlib.sha256(answer.body).hexdigest(),
        "chunk_size_bytes": 4096,
        "signed": False,
    }
    # What the image is made of passes.
    chunk = service.ask("/disks/disk.img/bytes", {"Range": "bytes=4096-8191"})
    assert digests.verify(1, chunk.body)
    # It is no image itself.
    assert [image["id"] for image in service.ask("/v1/images").json["images"]] == ["disk.img"]
    assert service.ask("/disks/disk.img.digests/bytes").status == 404


async def test_the_client_takes_the_boot_profile_that_is_offered(
    folder: Path, serve: Callable[..., RunningService], tmp_path: Path
) -> None:
    service = serve(folder)
    (folder / "disk.img.boot-profile").write_bytes(profile_of(service).encode())
    for path in ("/disks/disk.img/bytes", "/v1/images/disk.img"):
        platform = cpython_platform(tmp_path / "client")
        disk = await open_disk(
            f"http://{service.host}:{service.port}{path}",
            allow_remote=True,
            platform=platform,
            block_size=4096,
        )
        while disk.stats().cached_blocks < 4:  # noqa: ASYNC110 - what it waits for sets no event
            await asyncio.sleep(0)
        assert await disk.read(3 * 4096, 3 * 4096) == IMAGE[3 * 4096 : 6 * 4096]
        assert disk.stats().misses == 0
        await disk.close()
        await platform.http.close()


def test_a_boot_profile(folder: Path, serve: Callable[..., RunningService]) -> None:
    service = serve(folder)
    profile = profile_of(service)
    (folder / "disk.img.boot-profile").write_bytes(profile.encode())
    answer = service.ask(PROFILE)
    assert BootProfile.decode(answer.body) == profile
    offered = service.ask(META).json["boot_profile"]
    assert offered == {
        "url": "boot-profile",
        "size_bytes": len(answer.body),
        "sha256": hashlib.sha256(answer.body).hexdigest(),
        "block_size_bytes": 4096,
        "blocks": 4,
    }


def test_both_are_revalidated_and_readable_by_pages(
    folder: Path, serve: Callable[..., RunningService]
) -> None:
    assert main(["digest", str(folder / "disk.img")]) == 0
    service = serve(folder)
    (folder / "disk.img.boot-profile").write_bytes(profile_of(service).encode())
    for path in (DIGESTS, PROFILE):
        answer = service.ask(path, {"Origin": "https://app.example.com"})
        etag = answer.headers["etag"]
        assert answer.headers["access-control-allow-origin"] == "*"
        head = service.ask(path, method="HEAD")
        assert head.headers["content-length"] == str(len(answer.body))
        assert (head.headers["etag"], head.body) == (etag, b"")
        for method in ("GET", "HEAD"):
            same = service.ask(path, {"If-None-Match": etag}, method=method)
            assert (same.status, same.body, same.headers["etag"]) == (304, b"", etag)
        assert service.ask(path, {"If-Match": '"other"'}).status == 412
        assert service.ask(path, method="POST", body=b"").status == 405


def test_there_may_be_none(folder: Path, serve: Callable[..., RunningService]) -> None:
    service = serve(folder)
    meta = service.ask(META).json
    assert "digests" not in meta
    assert "boot_profile" not in meta
    for path in (DIGESTS, PROFILE):
        answer = service.ask(path)
        assert (answer.status, answer.json["error"]["code"]) == (404, "no_such_file")
    assert service.ask("/v1/images/nothing/digests").json["error"]["code"] == "no_such_image"


def test_those_of_another_version_are_not_offered(
    folder: Path, serve: Callable[..., RunningService]
) -> None:
    assert main(["digest", str(folder / "disk.img")]) == 0
    service = serve(folder)
    (folder / "disk.img.boot-profile").write_bytes(profile_of(service).encode())
    assert {"digests", "boot_profile"} <= set(service.ask(META).json)
    (folder / "disk.img").write_bytes(IMAGE[::-1])
    # Times count in whole seconds, and none lies in the future.
    earlier = (folder / "disk.img").stat().st_mtime - 10
    os.utime(folder / "disk.img.digests", (earlier, earlier))
    meta = service.ask(META).json
    assert not {"digests", "boot_profile"} & set(meta)
    assert service.ask(DIGESTS).status == 404
    assert service.ask(PROFILE).status == 404
    reasons = {service.event("not_offered")["reason"] for _ in range(2)}
    assert any("after it" in reason for reason in reasons)
    # A list of the new version is offered at once.
    assert main(["digest", str(folder / "disk.img")]) == 0
    assert service.ask(DIGESTS).status == 200


@pytest.mark.parametrize("ending", ["digests", "boot-profile"])
@pytest.mark.parametrize("junk", [b"", b"{}", b"\xff" * 100, b"[" * 100_000], ids=range(4))
def test_junk_is_not_offered(
    folder: Path, serve: Callable[..., RunningService], ending: str, junk: bytes
) -> None:
    (folder / f"disk.img.{ending}").write_bytes(junk)
    service = serve(folder)
    assert service.ask(f"/v1/images/disk.img/{ending}").status == 404
    assert ending.replace("-", "_") not in service.ask(META).json
    assert service.event("not_offered")["file"] == ending


def test_those_of_a_private_image_are_private(
    folder: Path, serve: Callable[..., RunningService]
) -> None:
    assert main(["digest", str(folder / "disk.img")]) == 0
    entry = {"id": "disk.img", "file": "disk.img", "public": False}
    (folder / "manifest.json").write_text(json.dumps({"images": [entry]}))
    service = serve(folder)
    for path in (DIGESTS, PROFILE, META):
        assert service.ask(path).status in (401, 403)


def test_those_in_a_bucket(bucket: Bucket, serve: Callable[..., RunningService]) -> None:
    entry = {"id": "disk.img", "file": "disks/one.img", "public": True}
    bucket.put("manifest.json", json.dumps({"images": [entry]}).encode())
    bucket.put("disks/one.img", IMAGE)
    digests = digests_of([IMAGE])
    bucket.put("disks/one.img.digests", digests.encode())
    service = serve(None, *bucket.options)
    assert DigestList.decode(service.ask(DIGESTS).body) == digests
    assert service.ask(META).json["digests"]["sha256"] == digests.pin


# ── the command ──


def test_the_list_is_signed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    image = folder / "disk.img"
    assert main(["digest", str(image), "--key", str(tmp_path / "key.pem")]) == 0
    encoded = (folder / "disk.img.digests").read_bytes()
    digests = DigestList.decode(encoded)
    assert digests.signature is not None
    key.public_key().verify(digests.signature, digests.signed_bytes)
    assert asyncio.run(digests.is_signed_by(key.public_key().public_bytes_raw()))
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "file": "disk.img.digests",
        "sha256": hashlib.sha256(encoded).hexdigest(),
        "signed": True,
        "public_key": key.public_key().public_bytes_raw().hex(),
    }
    assert sorted(path.name for path in folder.iterdir()) == [
        "disk.img",
        "disk.img.digests",
        "key.pem",
    ]


def test_what_cannot_be_digested_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curve = generate_private_key(SECP256R1())
    pem = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "curve.pem").write_bytes(pem)
    (folder / "junk.pem").write_text("secret junk")
    image = str(folder / "disk.img")
    for options, says in (
        ([str(folder / "nothing.img")], "nothing.img"),
        ([image, "--chunk-size", "5000"], "5000"),
        ([image, "--key", str(folder / "curve.pem")], "not an Ed25519 private key"),
        ([image, "--key", str(folder / "junk.pem")], "not an Ed25519 private key"),
        ([image, "--key", str(folder / "missing.pem")], "missing.pem"),
    ):
        assert main(["digest", *options]) == 2
        said = capsys.readouterr().err
        assert says in said
        assert "secret junk" not in said
    assert not (folder / "disk.img.digests").exists()
