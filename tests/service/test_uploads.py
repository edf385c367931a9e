"""Uploads, from the wish to the image, the bytes sent to a real bucket by presigned addresses."""

from __future__ import annotations

import http.client
import json
import random
import signal
import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aero_browser_disk.service.stores.image_store import StoreError
from aero_browser_disk.service.uploads.multipart import Multipart
from aero_browser_disk.service.uploads.upload_records import Upload, UploadRecords
from aero_browser_disk.service.uploads.uploads import UploadEndedError, UploadRequest, Uploads
from lib.nginx_server import Nginx, find_nginx

from .conftest import Answer, RunningService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .object_server import Bucket
    from .postgres import Postgres

MIB = 1 << 20
IMAGE = random.Random(4).randbytes(11 * MIB + 512)
KEY = Ed25519PrivateKey.generate()
PAGE = "https://app.example.com"


def token(subject: str | None, scope: str = "disk:upload") -> str:
    claims = {
        **({} if subject is None else {"sub": subject}),
        "iss": "https://issuer.example.com",
        "aud": "disks",
        "exp": int(time.time()) + 600,
        "scope": scope,
    }
    return jwt.encode(claims, KEY, algorithm="EdDSA")


class Gateway:
    """The service with uploads, asked as one of its users."""

    def __init__(self, service: RunningService | ThroughNginx) -> None:
        self.service = service

    def ask(
        self, path: str, body: object = None, *, method: str | None = None, who: str = "ann"
    ) -> Answer:
        headers = {"Authorization": f"Bearer {token(who)}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        if method is None:
            method = "GET" if body is None else "POST"
        if method != "GET" and data is None:
            data = b""
        return self.service.ask(path, headers, method=method, body=data)

    def begin(self, who: str = "ann", **wish: Any) -> dict[str, Any]:
        answer = self.ask("/v1/uploads", {"id": "win7", "size_bytes": len(IMAGE), **wish}, who=who)
        assert answer.status == 201, answer.body
        assert answer.headers["location"] == f"uploads/{answer.json['upload_id']}"
        return answer.json

    def url(self, upload: dict[str, Any], number: int) -> str:
        answer = self.ask(f"/v1/uploads/{upload['upload_id']}/parts", {"numbers": [number]})
        (part,) = answer.json["parts"]
        assert part["number"] == number
        return part["url"]

    def send(self, upload: dict[str, Any], image: bytes, *numbers: int) -> None:
        size = upload["part_size_bytes"]
        for number in numbers or range(1, upload["part_count"] + 1):
            put(self.url(upload, number), image[(number - 1) * size : number * size])

    def upload(self, image: bytes, who: str = "ann", **wish: Any) -> dict[str, Any]:
        upload = self.begin(who, size_bytes=len(image), **wish)
        self.send(upload, image)
        answer = self.ask(f"/v1/uploads/{upload['upload_id']}/complete", method="POST", who=who)
        assert answer.status == 200, answer.body
        assert answer.json["state"] == "ready"
        return answer.json


def put(url: str, data: bytes) -> int:
    request = urllib.request.Request(url, data, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.fixture
def options(bucket: Bucket, tmp_path: Path) -> list[str]:
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "keys.pem").write_bytes(pem)
    settings = {
        "authorization.jwt.issuer": "https://issuer.example.com",
        "authorization.jwt.audience": "disks",
        "authorization.jwt.keys_file": str(tmp_path / "keys.pem"),
        "uploads.enabled": True,
        "uploads.database": f"sqlite:///{tmp_path / 'uploads.db'}",
        "uploads.part_bytes": 5 * MIB,
        "uploads.max_image_bytes": 1 << 40,
    }
    values = [("--set", f"{name}={json.dumps(value)}") for name, value in settings.items()]
    flags = [flag for pair in values for flag in pair]
    return [*bucket.options, *flags, "--allow-origin", PAGE]


@pytest.fixture
def gateway(options: list[str], serve: Callable[..., RunningService]) -> Gateway:
    return Gateway(serve(None, *options))


def test_an_upload_becomes_an_image(gateway: Gateway) -> None:
    upload = gateway.begin(name="Windows 7", description="clean", public=True)
    assert upload["state"] == "uploading"
    assert (upload["part_size_bytes"], upload["part_count"]) == (5 * MIB, 3)
    assert gateway.service.ask("/disks/win7/bytes").status == 404
    gateway.send(upload, IMAGE)
    path = f"/v1/uploads/{upload['upload_id']}"
    shown = gateway.ask(path).json
    assert shown["parts"] == [
        {"number": 1, "size_bytes": 5 * MIB},
        {"number": 2, "size_bytes": 5 * MIB},
        {"number": 3, "size_bytes": MIB + 512},
    ]
    done = gateway.ask(f"{path}/complete", method="POST")
    assert (done.status, done.json["state"]) == (200, "ready")
    # The same again, as when the answer was lost.
    assert gateway.ask(f"{path}/complete", method="POST").json == done.json
    for image_id in ("win7", done.json["version_id"]):
        whole = gateway.service.ask(f"/disks/{image_id}/bytes")
        assert (whole.status, whole.body) == (200, IMAGE)
    meta = gateway.service.ask("/v1/images/win7/meta").json
    assert (meta["name"], meta["description"], meta["public"]) == ("Windows 7", "clean", True)
    assert [image["id"] for image in gateway.service.ask("/v1/images").json["images"]] == ["win7"]
    assert [made["state"] for made in gateway.ask("/v1/uploads").json["uploads"]] == ["ready"]


def test_a_private_image_is_its_owners(gateway: Gateway) -> None:
    gateway.upload(IMAGE)
    assert gateway.ask("/disks/win7/bytes").body == IMAGE
    assert gateway.service.ask("/disks/win7/bytes").status == 401
    assert gateway.ask("/disks/win7/bytes", who="bob").status == 403
    headers = {"Authorization": f"Bearer {token('bob', 'disk:read:win7')}"}
    assert gateway.service.ask("/disks/win7/bytes", headers).body == IMAGE
    assert gateway.service.ask("/v1/images").json["images"] == []


SECRET = b"the operator's own"


def write_manifest(gateway: Gateway, bucket: Bucket, *entries: dict[str, Any]) -> None:
    """Puts it there, and has the service read it."""
    bucket.put("secret.img", SECRET)
    bucket.put("manifest.json", json.dumps({"images": entries}).encode())
    gateway.service.process.send_signal(signal.SIGHUP)
    gateway.service.event("reloaded")


def test_an_uploader_reads_no_image_of_the_operator(
    options: list[str], bucket: Bucket, serve: Callable[..., RunningService], tmp_path: Path
) -> None:
    """Also when the manifest takes an id that is in use: what is served decides who may read."""
    keys = tmp_path / "keys.toml"
    keys.write_text('current = "k1"\n[keys]\nk1 = "' + "A" * 43 + '"\n')
    gateway = Gateway(serve(None, *options, "--set", f'authorization.signing_keys_file="{keys}"'))
    upload = gateway.upload(IMAGE)
    lease = gateway.ask("/v1/images/win7/lease", method="POST").json["url"]
    assert gateway.service.ask(lease).body == IMAGE
    entry = {"id": "win7", "file": "secret.img", "public": False}
    write_manifest(gateway, bucket, entry)
    for path, method in (
        ("/disks/win7/bytes", "GET"),
        ("/v1/images/win7", "GET"),
        ("/v1/images/win7/meta", "GET"),
        ("/v1/images/win7/digests", "GET"),
        ("/v1/images/win7/lease", "POST"),
    ):
        assert gateway.ask(path, method=method).status == 403, path
    assert gateway.service.ask(lease).status == 403
    assert gateway.ask("/v1/images").json["images"] == []
    # No more of it either.
    refused = gateway.ask("/v1/uploads", {"id": "win7", "size_bytes": 512})
    assert (refused.status, refused.json["error"]["code"]) == (409, "not_yours")
    # Its owner still has the version.
    assert gateway.ask(f"/disks/{upload['version_id']}/bytes").body == IMAGE
    write_manifest(gateway, bucket, {**entry, "public": True})
    assert gateway.service.ask("/disks/win7/bytes").body == SECRET
    (listed,) = gateway.ask("/v1/images").json["images"]
    assert (listed["id"], listed["size_bytes"]) == ("win7", len(SECRET))


def test_an_id_that_the_manifest_took_during_the_upload(gateway: Gateway, bucket: Bucket) -> None:
    upload = gateway.begin()
    gateway.send(upload, IMAGE)
    write_manifest(gateway, bucket, {"id": "win7", "file": "secret.img", "public": True})
    path = f"/v1/uploads/{upload['upload_id']}"
    refused = gateway.ask(f"{path}/complete", method="POST")
    assert (refused.status, refused.json["error"]["code"]) == (409, "not_yours")
    assert gateway.service.ask("/disks/win7/bytes").body == SECRET
    assert gateway.ask(path, method="DELETE").status == 204
    assert bucket.unfinished() == []


def test_no_image_takes_the_id_of_a_version(
    gateway: Gateway, tmp_path: Path, bucket: Bucket
) -> None:
    first = gateway.upload(IMAGE, public=True)
    taken = {"id": first["version_id"], "size_bytes": 512}
    assert gateway.ask("/v1/uploads", taken, who="bob").status == 400
    # Nor one that was made before that was refused.
    records = UploadRecords(f"sqlite:///{tmp_path / 'uploads.db'}")
    made = records.get(first["upload_id"])
    assert made is not None
    old = replace(made, upload_id="0" * 32, image_id=first["version_id"], owner="bob", key="old")
    bucket.put("old", SECRET)
    records.create(old)
    records.close()
    assert gateway.service.ask(f"/disks/{first['version_id']}/bytes").body == IMAGE
    assert [image["id"] for image in gateway.service.ask("/v1/images").json["images"]] == ["win7"]


def test_a_ready_image_is_made_private_and_deleted(gateway: Gateway, bucket: Bucket) -> None:
    first = gateway.upload(IMAGE, public=True)
    second = gateway.upload(IMAGE[::-1], public=True)
    newest = f"/v1/uploads/{second['upload_id']}"
    assert gateway.service.ask("/disks/win7/bytes").body == IMAGE[::-1]
    assert gateway.ask(newest, {"public": False}, method="PATCH").json["public"] is False
    # At once, on this instance; each version by itself.
    assert gateway.service.ask("/disks/win7/bytes").status == 401
    assert gateway.service.ask(f"/disks/{second['version_id']}/bytes").status == 401
    assert gateway.service.ask(f"/disks/{first['version_id']}/bytes").body == IMAGE
    assert gateway.ask("/disks/win7/bytes").body == IMAGE[::-1]
    for body in ({}, {"public": 1}, {"public": True, "name": "x"}, None):
        assert gateway.ask(newest, body, method="PATCH").status == 400
    assert gateway.ask(newest, {"public": True}, method="PATCH", who="bob").status == 404
    assert gateway.ask(newest, method="DELETE", who="bob").status == 404
    assert gateway.ask(newest, {"public": True}, method="PATCH").json["public"] is True
    # The one before it is the newest then.
    for _ in range(2):
        assert gateway.ask(newest, method="DELETE").status == 204
        assert gateway.service.ask("/disks/win7/bytes").body == IMAGE
    assert gateway.service.ask(f"/disks/{second['version_id']}/bytes").status == 404
    assert gateway.ask(newest).json["state"] == "deleted"
    ended = gateway.ask(newest, {"public": True}, method="PATCH")
    assert (ended.status, ended.json["error"]["code"]) == (409, "upload_ended")
    assert bucket.keys("uploads/") == [f"uploads/win7/{first['upload_id']}"]
    assert gateway.ask(f"/v1/uploads/{first['upload_id']}", method="DELETE").status == 204
    assert gateway.ask("/disks/win7/bytes").status == 404
    assert bucket.keys("uploads/") == []
    # Nothing is left of it, so the id is free.
    gateway.begin("bob")


def test_an_owner_has_a_quota(options: list[str], serve: Callable[..., RunningService]) -> None:
    gateway = Gateway(serve(None, *options, "--set", f"uploads.owner_bytes={2 * len(IMAGE)}"))
    first = gateway.begin()
    gateway.begin(id="winxp")
    refused = gateway.ask("/v1/uploads", {"id": "win95", "size_bytes": 1})
    assert (refused.status, refused.json["error"]["code"]) == (403, "quota_exceeded")
    gateway.begin("bob", id="win95")
    assert gateway.ask(f"/v1/uploads/{first['upload_id']}", method="DELETE").status == 204
    gateway.begin()


def test_many_complete_an_upload_at_once(
    gateway: Gateway, options: list[str], serve: Callable[..., RunningService]
) -> None:
    services = [gateway.service, serve(None, *options)]
    for number in range(4):
        upload = gateway.begin(id=f"image-{number}")
        gateway.send(upload, IMAGE)
        path = f"/v1/uploads/{upload['upload_id']}/complete"

        def complete(number: int, path: str = path) -> tuple[int, bytes]:
            connection = services[number % 2].connect()
            connection.request("POST", path, headers={"Authorization": f"Bearer {token('ann')}"})
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            return answer.status, body

        with ThreadPoolExecutor(6) as threads:
            for status, body in threads.map(complete, range(6)):
                assert status == 200, body
                assert json.loads(body)["state"] == "ready"


def test_each_version_stays_what_it_is(gateway: Gateway) -> None:
    first = gateway.upload(IMAGE, public=True)
    etag = gateway.service.ask(f"/disks/{first['version_id']}/bytes", method="HEAD").headers["etag"]
    newer = IMAGE[::-1]
    second = gateway.upload(newer, public=True)
    assert first["version_id"] != second["version_id"]
    old = gateway.service.ask(f"/disks/{first['version_id']}/bytes", {"If-Match": etag})
    assert old.body == IMAGE
    assert gateway.service.ask(f"/disks/{second['version_id']}/bytes").body == newer
    # An id of one image does not lead to another's versions.
    upload_id = first["upload_id"]
    assert gateway.service.ask(f"/disks/other.{upload_id}/bytes").status == 404


def test_an_upload_goes_on_after_an_interruption(
    gateway: Gateway, options: list[str], serve: Callable[..., RunningService]
) -> None:
    upload = gateway.begin(public=True)
    gateway.send(upload, IMAGE, 2)
    path = f"/v1/uploads/{upload['upload_id']}"
    refused = gateway.ask(f"{path}/complete", method="POST")
    assert (refused.status, refused.json["error"]["code"]) == (409, "incomplete")
    assert refused.json["error"]["numbers"] == [1, 3]
    # Another instance knows how far it got.
    other = Gateway(serve(None, *options))
    assert [part["number"] for part in other.ask(path).json["parts"]] == [2]
    other.send(upload, IMAGE, 1, 3)
    assert other.ask(f"{path}/complete", method="POST").status == 200
    assert other.service.ask("/disks/win7/bytes").body == IMAGE


def test_an_upload_that_is_given_up(gateway: Gateway, bucket: Bucket) -> None:
    upload = gateway.begin()
    gateway.send(upload, IMAGE, 1)
    path = f"/v1/uploads/{upload['upload_id']}"
    url = gateway.url(upload, 2)
    assert gateway.ask(path, method="DELETE").status == 204
    assert gateway.ask(path, method="DELETE").status == 204
    assert gateway.ask(path).json["state"] == "failed"
    assert "owner" in gateway.ask(path).json["reason"]
    assert put(url, IMAGE[:100]) in (403, 404)
    for refused in (
        gateway.ask(f"{path}/complete", method="POST"),
        gateway.ask(f"{path}/parts", {"numbers": [1]}),
    ):
        assert (refused.status, refused.json["error"]["code"]) == (409, "upload_ended")
    assert bucket.unfinished() == []


def test_a_page_may_put_parts_and_read_their_tags(gateway: Gateway, bucket: Bucket) -> None:
    """Exactly what a browser sends to the bucket, whose CORS the guide gives."""
    rule = {
        "AllowedOrigins": [PAGE],
        "AllowedMethods": ["PUT"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 600,
    }
    cors = {"CORSRules": [rule]}
    bucket.client.put_bucket_cors(Bucket=bucket.name, CORSConfiguration=cors)
    try:
        upload = gateway.begin(public=True)
        size = upload["part_size_bytes"]
        for number in range(1, upload["part_count"] + 1):
            url = gateway.url(upload, number)
            asked = {"Origin": PAGE, "Access-Control-Request-Method": "PUT"}
            status, headers = send(url, "OPTIONS", asked)
            assert status in (200, 204)
            assert headers["access-control-allow-origin"] == PAGE
            assert "PUT" in headers["access-control-allow-methods"]
            part = IMAGE[(number - 1) * size : number * size]
            status, headers = send(url, "PUT", {"Origin": PAGE}, part)
            assert status == 200
            assert headers["access-control-allow-origin"] == PAGE
            assert "etag" in headers["access-control-expose-headers"].lower()
            assert headers["etag"]
        asked["Origin"] = "https://elsewhere.example"
        refused = send(url, "OPTIONS", asked)[1].get("access-control-allow-origin")
        assert refused not in ("*", asked["Origin"])
    finally:
        bucket.client.delete_bucket_cors(Bucket=bucket.name)
    gateway.ask(f"/v1/uploads/{upload['upload_id']}/complete", method="POST")
    assert gateway.service.ask("/disks/win7/bytes").body == IMAGE


def send(
    url: str, method: str, headers: dict[str, str], body: bytes | None = None
) -> tuple[int, dict[str, str]]:
    """Status and headers, by lower-case name, of a request with just these headers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request(method, f"{parts.path}?{parts.query}", body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}


@pytest.mark.skipif(find_nginx() is None, reason="no nginx here: apt-get install nginx-light")
def test_instances_share_bucket_and_records_behind_nginx(
    options: list[str], postgres: Postgres, tmp_path: Path, serve: Callable[..., RunningService]
) -> None:
    """Each request may meet another instance; one that dies in mid-upload is not missed."""
    database = json.dumps(postgres.database("instances"))
    options = [*options, "--set", f"uploads.database={database}"]
    options += ["--set", 'server.trusted_proxies=["127.0.0.1"]']
    services = [serve(None, *options) for _ in range(2)]
    folder = tmp_path / "nginx"
    folder.mkdir()
    servers = "; server ".join(f"127.0.0.1:{service.port}" for service in services)
    with Nginx(folder, "reverse-proxy", {"AERO_DISK_SERVICE": servers}) as nginx:
        gateway = Gateway(ThroughNginx(nginx.port))
        upload = gateway.begin(public=True)
        gateway.send(upload, IMAGE, 1, 2)
        for service in services:
            assert service.event("request")["route"].startswith("/v1/uploads")
        services[0].process.kill()
        services[0].wait()
        gateway.send(upload, IMAGE, 3)
        path = f"/v1/uploads/{upload['upload_id']}"
        assert gateway.ask(f"{path}/complete", method="POST").status == 200
        assert gateway.service.ask("/disks/win7/bytes").body == IMAGE
        # And one that is new knows all of it.
        newcomer = serve(None, *options)
        assert newcomer.ask("/disks/win7/bytes", {"Range": "bytes=-512"}).body == IMAGE[-512:]


class ThroughNginx:
    """What `Gateway` asks, instead of a service itself."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(
        self,
        path: str,
        headers: dict[str, str] | None = None,
        *,
        method: str = "GET",
        body: bytes | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        found = Answer(answer.status, fields, answer.read())
        connection.close()
        return found


def test_addresses_are_for_one_part_and_not_for_ever(gateway: Gateway) -> None:
    upload = gateway.begin()
    url = gateway.url(upload, 1)
    assert put(url.replace("partNumber=1", "partNumber=2"), IMAGE[: 5 * MIB]) == 403
    assert put(url, IMAGE[:100]) == 403  # its length is signed
    assert put(url.replace("X-Amz-Expires=3600", "X-Amz-Expires=99999"), IMAGE[: 5 * MIB]) == 403
    assert put(url, IMAGE[: 5 * MIB]) == 200


def test_uploads_are_their_owners_alone(gateway: Gateway) -> None:
    upload = gateway.begin()
    path = f"/v1/uploads/{upload['upload_id']}"
    for answer in (
        gateway.ask(path, who="bob"),
        gateway.ask(path, method="DELETE", who="bob"),
        gateway.ask(f"{path}/parts", {"numbers": [1]}, who="bob"),
        gateway.ask(f"{path}/complete", method="POST", who="bob"),
        gateway.ask("/v1/uploads/" + "0" * 32),
        gateway.ask("/v1/uploads/nonsense"),
    ):
        assert (answer.status, answer.json["error"]["code"]) == (404, "no_such_upload")
    assert gateway.ask("/v1/uploads", who="bob").json["uploads"] == []
    taken = gateway.ask("/v1/uploads", {"id": "win7", "size_bytes": 512}, who="bob")
    assert (taken.status, taken.json["error"]["code"]) == (409, "not_yours")
    # Nothing of the refused one is left in the bucket.
    assert gateway.ask(path).json["state"] == "uploading"


def test_who_may_upload(gateway: Gateway) -> None:
    service = gateway.service
    body = b'{"id": "win7", "size_bytes": 512}'
    nobody = service.ask("/v1/uploads", method="POST", body=body)
    assert nobody.status == 401
    assert "www-authenticate" in nobody.headers
    wrong = service.ask("/v1/uploads", {"Authorization": "Bearer x.y.z"}, method="POST", body=body)
    assert wrong.status == 401
    reader = {"Authorization": f"Bearer {token('ann', 'disk:read:*')}", "Origin": PAGE}
    refused = service.ask("/v1/uploads", reader, method="POST", body=body)
    assert (refused.status, refused.json["error"]["code"]) == (403, "no_uploads")
    assert refused.headers["access-control-allow-origin"] == PAGE
    # What a token without a subject uploads would be nobody's.
    nameless = {"Authorization": f"Bearer {token(None)}"}
    refused = service.ask("/v1/uploads", nameless, method="POST", body=body)
    assert (refused.status, refused.json["error"]["code"]) == (403, "no_uploads")
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    preflight = service.ask("/v1/uploads", asked, method="OPTIONS")
    assert preflight.status == 204
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "Content-Type" in preflight.headers["access-control-allow-headers"]


def test_what_makes_no_sense_is_refused(gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {token('ann')}"}
    for body, status in (
        (b"", 400),
        (b"[]", 400),
        (b"[" * 60_000, 400),
        (b'{"id": "win7"}', 400),
        (b'{"id": "../x", "size_bytes": 512}', 400),
        (b'{"id": "..", "size_bytes": 512}', 400),
        (b'{"id": "' + b"x" * 96 + b'", "size_bytes": 512}', 400),
        (b'{"id": "win7", "size_bytes": 0}', 400),
        (b'{"id": "win7", "size_bytes": "512"}', 400),
        (b'{"id": "win7", "size_bytes": 512, "public": 1}', 400),
        (b'{"id": "win7", "size_bytes": 512, "colour": "red"}', 400),
        (b'{"id": "win7", "size_bytes": 512, "name": "a\\u0000b"}', 400),
        (b'{"id": "win7", "size_bytes": 512, "name": "a\\u0085b"}', 400),
        (b'{"id": "win7", "size_bytes": 512, "name": "gpj.\\u202ewin7"}', 400),
        (b'{"id": "win7", "size_bytes": 512, "description": "a\\u2066b"}', 400),
        (b'{"id": "win7", "size_bytes": 512, "description": "a\\u2028b"}', 400),
        (b'{"id": "win7", "size_bytes": 512, "name": "\\ud800"}', 400),
        (b'{"id": "win7", "size_bytes": 1e300}', 400),
        (b'{"id": "win7", "size_bytes": 1099511627777}', 400),
        (b" " * 70_000, 413),
    ):
        answer = gateway.service.ask("/v1/uploads", headers, method="POST", body=body)
        assert answer.status == status, body[:60]
        assert answer.json["error"]["message"]


def test_parts_that_there_are_not(gateway: Gateway) -> None:
    upload = gateway.begin()
    path = f"/v1/uploads/{upload['upload_id']}/parts"
    for numbers in ([], [0], [-1], [4], ["1"], [1.5], list(range(1, 1002)), None):
        assert gateway.ask(path, {"numbers": numbers}).status == 400


def test_a_large_image_has_larger_parts(gateway: Gateway) -> None:
    upload = gateway.begin(size_bytes=(1 << 40) - 512)
    assert upload["part_count"] <= 10_000
    assert upload["part_size_bytes"] % MIB == 0


# ── leftovers, with a clock that can be turned ──


class Clock:
    def __init__(self) -> None:
        # The bucket's own clock is beside it.
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def uploads(bucket: Bucket, tmp_path: Path) -> Iterator[Uploads]:
    records = UploadRecords(f"sqlite:///{tmp_path / 'uploads.db'}")
    made = Uploads(records, Multipart(bucket.address), 5 * MIB, 3600, clock=Clock())
    yield made
    made.close()


REQUEST = UploadRequest("win7", "ann", len(IMAGE), public=False, name="win7")


@pytest.fixture
def multipart(bucket: Bucket) -> Iterator[Multipart]:
    """The bucket, past the records."""
    made = Multipart(bucket.address)
    yield made
    made.close()


def begin_and_send(uploads: Uploads) -> Upload:
    begun = uploads.begin(REQUEST)
    for number in range(1, begun.part_count + 1):
        start = (number - 1) * begun.part_size
        url = uploads.part_urls(begun, [number], 60)[number]
        assert put(url, IMAGE[start : start + begun.part_length(number)]) == 200
    return begun


def complete_unrecorded(multipart: Multipart, upload: Upload) -> None:
    """As by an instance that died before it could record that."""
    parts = multipart.parts(upload.key, upload.multipart_id)
    multipart.complete(upload.key, upload.multipart_id, parts)


def test_leftovers_are_cleaned_up(uploads: Uploads, multipart: Multipart, bucket: Bucket) -> None:
    forgotten, busy = uploads.begin(REQUEST), uploads.begin(REQUEST)
    # As after a crash between the bucket's response and the record.
    multipart.begin("uploads/win7/unknown", "application/octet-stream")
    assert uploads.clean_up() == 0
    assert len(bucket.unfinished()) == 3
    clock = uploads._clock
    clock.now += 4000
    uploads.part_urls(busy, [1], 60)
    assert uploads.clean_up() == 2
    assert bucket.unfinished() == [busy.multipart_id]
    ended = uploads.find(forgotten.upload_id, "ann")
    assert ended is not None
    assert (ended.state, ended.reason) == ("failed", "not finished in time")
    with pytest.raises(UploadEndedError):
        uploads.complete(ended)
    assert uploads.clean_up() == 0
    # Its record goes as well, so that there are never more and more.
    clock.now += 4000
    uploads.part_urls(busy, [1], 60)
    assert uploads.clean_up() == 1
    assert uploads.find(forgotten.upload_id, "ann") is None


@pytest.mark.parametrize("goes_on", ["complete", "look", "remove", "clean up"])
def test_what_was_completed_but_not_recorded(
    uploads: Uploads, multipart: Multipart, bucket: Bucket, goes_on: str
) -> None:
    begun = begin_and_send(uploads)
    complete_unrecorded(multipart, begun)
    assert multipart.size(begun.key) == len(IMAGE)
    if goes_on == "complete":
        assert uploads.complete(begun).state == "ready"
    elif goes_on == "look":
        # As a client does that resumes, before it sends what is lacking.
        assert uploads.present(begun)[0].state == "ready"
    else:
        if goes_on == "remove":
            uploads.remove(begun)
        else:
            uploads._clock.now += 4000
            assert uploads.clean_up() == 1
        assert bucket.keys("uploads/") == []
        now = uploads.find(begun.upload_id, "ann")
        assert now is not None
        assert now.state == "failed"


def test_an_upload_that_another_gave_up_leaves_nothing(
    uploads: Uploads, multipart: Multipart, bucket: Bucket
) -> None:
    begun = begin_and_send(uploads)
    # The other one gives it up while this one has the parts put together.
    complete = multipart.complete

    def complete_late(*arguments: Any) -> None:
        complete(*arguments)
        uploads.remove(begun)
        # What the bucket still did then.
        bucket.put(begun.key, IMAGE)

    uploads._multipart.complete = complete_late
    with pytest.raises(UploadEndedError):
        uploads.complete(begun)
    assert bucket.keys("uploads/") == []


def test_giving_up_while_the_bucket_is_down(
    uploads: Uploads, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    begun = begin_and_send(uploads)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    down = Multipart(replace(bucket.address, endpoint=nobody))
    up, uploads._multipart = uploads._multipart, down
    with pytest.raises(StoreError):
        uploads.remove(begun)
    now = uploads.find(begun.upload_id, "ann")
    assert now is not None
    assert now.state == "failed"
    clock = uploads._clock
    clock.now += 4000
    with pytest.raises(StoreError):
        uploads.clean_up()
    uploads._multipart = up
    assert bucket.unfinished() == [begun.multipart_id]
    # The same again, or the next time that it is cleaned up.
    uploads.clean_up()
    assert bucket.unfinished() == []
    down.close()


def test_the_openapi_document_says_what_uploads_do(gateway: Gateway, tmp_path: Path) -> None:
    service = gateway.service
    document = tmp_path / "openapi.json"
    document.write_bytes(service.ask("/openapi.json").body)
    assert "/v1/uploads/{upload}/complete" in json.loads(document.read_text())["paths"]
    program = Path(sysconfig.get_path("scripts"), "schemathesis")
    command = [program, "--no-color", "run", document]
    command += ["--url", f"http://{service.host}:{service.port}"]
    command += ["--header", f"Authorization: Bearer {token('ann')}"]
    command += ["--include-path-regex", "uploads", "--phases", "examples,coverage,fuzzing"]
    command += ["--checks", "all", "--max-examples", "5", "--seed", "1"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stdout + run.stderr
