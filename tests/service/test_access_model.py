"""Who may read what, whatever becomes of manifest, uploads, versions, tokens and leases: a model.

Two instances share a bucket and a database. Many examples: `./scripts/test --fuzz 200`.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from aero_browser_disk.service.assembly import Assembly
from aero_browser_disk.service.configuration import Configuration
from aero_browser_disk.service.http.access_log import AccessLog
from aero_browser_disk.service.stores import object_store
from aero_browser_disk.service.uploads import uploaded_images
from support.fuzz import fuzz, rounds

if TYPE_CHECKING:
    from pathlib import Path

    from .object_server import Bucket

STEPS = 20
NUMBERS = itertools.count()
KEY = Ed25519PrivateKey.generate()
OWNERS = ("ann", "bob")
# Who asks: nobody, two who upload, one of them without that right, two readers, one without a name.
CALLERS = (None, *OWNERS, "ann, reading", "reader of a", "reader of all", "nameless")
NAMES = ("a", "b")
INSTANCES = st.integers(0, 1)


def token(caller: str, image_id: str) -> str:
    subject, scope = {
        "ann, reading": ("ann", "openid"),
        "reader of a": ("carl", f"disk:read:{image_id}"),
        "reader of all": ("dora", "disk:read:*"),
        "nameless": (None, "disk:upload"),
    }.get(caller, (caller, "disk:upload"))
    claims: dict[str, Any] = {
        "iss": "https://issuer.example.com",
        "aud": "disks",
        "exp": int(time.time()) + 3600,
        "scope": scope,
    }
    if subject is not None:
        claims["sub"] = subject
    return jwt.encode(claims, KEY, algorithm="EdDSA")


@dataclass(frozen=True, slots=True)
class Served:
    """What an id leads to. The operator's images have no owner."""

    body: bytes
    public: bool
    owner: str | None = None


@dataclass(slots=True)
class Version:
    """An upload."""

    upload_id: str
    name: str
    owner: str
    public: bool
    body: bytes
    state: str = "uploading"
    ready_at: int = 0


class World:
    """Two instances of the service, a bucket, and what asks them."""

    def __init__(self, bucket: Bucket, folder: Path, database: str) -> None:
        self.bucket = bucket
        self.runner = asyncio.Runner()
        pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / "keys.pem").write_bytes(pem)
        secret = "A" * 43
        (folder / "keys.toml").write_text(f'current = "k1"\n[keys]\nk1 = "{secret}"\n')
        address = bucket.address
        configuration = Configuration.model_validate(
            {
                "cors": {"allow_origins": []},
                "limits": {"requests_in_flight": 0},
                "store": {
                    "bucket": address.url,
                    "endpoint": address.endpoint,
                    "region": address.region,
                },
                "authorization": {
                    "signing_keys_file": folder / "keys.toml",
                    "jwt": {
                        "issuer": "https://issuer.example.com",
                        "audience": "disks",
                        "keys_file": folder / "keys.pem",
                    },
                },
                "uploads": {"enabled": True, "database": database, "owner_uploads": 0},
            }
        )
        self.runner.run(self._start(configuration))

    async def _start(self, configuration: Configuration) -> None:
        self.assemblies = [Assembly(configuration, AccessLog(io.StringIO())) for _ in range(2)]
        self.clients = [
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app=assembly.service()), base_url="http://disks"
            )
            for assembly in self.assemblies
        ]

    def ask(
        self, instance: int, method: str, path: str, bearer: str | None, body: Any = None
    ) -> httpx.Response:
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        asking = self.clients[instance].request(method, path, headers=headers, json=body)
        return self.runner.run(asking)

    def close(self) -> None:
        for client in self.clients:
            self.runner.run(client.aclose())
        for assembly in self.assemblies:
            assembly.close()
        self.runner.close()


class AccessMachine(RuleBasedStateMachine):
    """Changes who may read what, and reads."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.example = next(NUMBERS)
        self.manifest: dict[str, Served] = {}
        self.versions: list[Version] = []
        self.leases: list[tuple[str, str, str | None]] = []
        self.moment = itertools.count(1)
        self._write_manifest()

    # ── the model ──

    def served(self, image_id: str) -> Served | None:
        if image_id in self.manifest:
            return self.manifest[image_id]
        name, _, upload_id = image_id.partition(".")
        fitting = [
            version
            for version in self.versions
            if version.name == name
            and version.state == "ready"
            and upload_id in ("", version.upload_id)
        ]
        newest = max(fitting, key=lambda version: version.ready_at, default=None)
        return newest and Served(newest.body, newest.public, newest.owner)

    def may_read(self, caller: str | None, image_id: str, served: Served) -> bool:
        return (
            served.public
            or caller == "reader of all"
            or (caller == "reader of a" and image_id == self.id_of("a"))
            or (caller in OWNERS and served.owner == caller)
        )

    def alive(self) -> list[Version]:
        return [version for version in self.versions if version.state in ("uploading", "ready")]

    def id_of(self, name: str) -> str:
        """Of this example alone."""
        return f"{name}{self.example}"

    def every_id(self) -> list[str]:
        versions = [f"{version.name}.{version.upload_id}" for version in self.versions]
        return [*map(self.id_of, NAMES), *versions]

    # ── what changes ──

    def _write_manifest(self) -> None:
        entries = [
            {"id": image_id, "file": f"{image_id}.img", "public": entry.public}
            for image_id, entry in self.manifest.items()
        ]
        document = json.dumps({"images": entries}).encode()
        self.world.bucket.put("manifest.json", document)

    @rule(name=st.sampled_from(NAMES), public=st.sampled_from((True, False, None)))
    def change_the_manifest(self, name: str, public: bool | None) -> None:
        image_id = self.id_of(name)
        if public is None:
            self.manifest.pop(image_id, None)
        else:
            body = f"the operator's {image_id}".encode()
            self.world.bucket.put(f"{image_id}.img", body)
            self.manifest[image_id] = Served(body, public)
        self._write_manifest()

    @rule(
        name=st.sampled_from(NAMES),
        owner=st.sampled_from(OWNERS),
        public=st.booleans(),
        completes=st.booleans(),
        instance=INSTANCES,
    )
    def upload(self, name: str, owner: str, public: bool, completes: bool, instance: int) -> None:
        image_id = self.id_of(name)
        body = f"{owner}'s {image_id}, {next(self.moment)}".encode()
        asked = {"id": image_id, "size_bytes": len(body), "public": public}
        response = self.ask(instance, "POST", "/v1/uploads", owner, asked)
        others = {version.owner for version in self.alive() if version.name == image_id} - {owner}
        if image_id in self.manifest or others:
            assert (response.status_code, code(response)) == (409, "not_yours")
            return
        assert response.status_code == 201, response.text
        version = Version(response.json()["upload_id"], image_id, owner, public, body)
        self.versions.append(version)
        if completes:
            self._complete(version, instance)

    def _complete(self, version: Version, instance: int) -> None:
        path = f"/v1/uploads/{version.upload_id}"
        asked = {"numbers": [1]}
        response = self.ask(instance, "POST", f"{path}/parts", version.owner, asked)
        url = response.json()["parts"][0]["url"]
        request = urllib.request.Request(url, version.body, method="PUT")
        urllib.request.urlopen(request, timeout=30).close()
        response = self.ask(instance, "POST", f"{path}/complete", version.owner)
        if version.name in self.manifest:
            assert (response.status_code, code(response)) == (409, "not_yours")
            return
        assert response.json()["state"] == "ready", response.text
        version.state, version.ready_at = "ready", next(self.moment)

    @precondition(lambda self: any(version.state == "uploading" for version in self.versions))
    @rule(data=st.data(), instance=INSTANCES)
    def complete(self, data: st.DataObject, instance: int) -> None:
        waiting = [version for version in self.versions if version.state == "uploading"]
        self._complete(data.draw(st.sampled_from(waiting)), instance)

    @precondition(lambda self: self.versions)
    @rule(
        data=st.data(),
        caller=st.sampled_from(CALLERS),
        instance=INSTANCES,
        change=st.sampled_from(("make public", "make private", "remove", "show")),
    )
    def change_a_version(
        self, data: st.DataObject, caller: str | None, instance: int, change: str
    ) -> None:
        version = data.draw(st.sampled_from(self.versions))
        method, body, success = {
            "make public": ("PATCH", {"public": True}, 200),
            "make private": ("PATCH", {"public": False}, 200),
            "remove": ("DELETE", None, 204),
            "show": ("GET", None, 200),
        }[change]
        path = f"/v1/uploads/{version.upload_id}"
        response = self.ask(instance, method, path, caller, body)
        if caller != version.owner:
            expected = {None: 401, **dict.fromkeys(OWNERS, 404)}.get(caller, 403)
            assert response.status_code == expected
            return
        if method == "PATCH" and version not in self.alive():
            assert (response.status_code, code(response)) == (409, "upload_ended")
            return
        assert response.status_code == success, response.text
        if method == "PATCH":
            version.public = change == "make public"
        elif method == "DELETE" and version in self.alive():
            version.state = "deleted" if version.state == "ready" else "failed"
        elif method == "GET":
            assert response.json()["state"] == version.state

    @precondition(lambda self: self.versions)
    @rule(data=st.data(), owner=st.sampled_from(OWNERS), instance=INSTANCES)
    def take_the_id_of_a_version(self, data: st.DataObject, owner: str, instance: int) -> None:
        version = data.draw(st.sampled_from(self.versions))
        asked = {"id": f"{version.name}.{version.upload_id}", "size_bytes": 1, "public": True}
        assert self.ask(instance, "POST", "/v1/uploads", owner, asked).status_code == 400

    # ── who reads ──

    @rule(data=st.data(), caller=st.sampled_from(CALLERS), instance=INSTANCES)
    def lease(self, data: st.DataObject, caller: str | None, instance: int) -> None:
        self.lease_one(data.draw(st.sampled_from(self.every_id())), caller, instance)

    def lease_one(self, image_id: str, caller: str | None, instance: int) -> None:
        response = self.ask(instance, "POST", f"/v1/images/{image_id}/lease", caller)
        served = self.served(image_id)
        self._check(response, caller, image_id, served)
        if response.status_code == 200 and served is not None and not served.public:
            self.leases.append((response.json()["url"], image_id, served.owner))

    @rule(
        data=st.data(),
        caller=st.sampled_from(CALLERS),
        instance=INSTANCES,
        path=st.sampled_from(
            ("/disks/{}/bytes", "/v1/images/{}", "/v1/images/{}/meta", "/v1/images/{}/digests")
        ),
    )
    def read(self, data: st.DataObject, caller: str | None, instance: int, path: str) -> None:
        image_id = data.draw(st.sampled_from(self.every_id()))
        self._read(caller, instance, image_id, path)

    def _read(self, caller: str | None, instance: int, image_id: str, path: str) -> None:
        response = self.ask(instance, "GET", path.format(image_id), caller)
        served = self.served(image_id)
        if path.endswith("digests") and response.status_code == 404:
            assert served is None or self.may_read(caller, image_id, served)
            return
        self._check(response, caller, image_id, served)
        if served is None or response.status_code != 200:
            return
        if path.endswith("meta"):
            facts = response.json()
            assert facts["id"] == image_id
            assert facts["size_bytes"] == len(served.body)
            assert facts["public"] == served.public
        else:
            assert response.content == served.body

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), instance=INSTANCES)
    def use_a_lease(self, data: st.DataObject, instance: int) -> None:
        self._use(data.draw(st.sampled_from(self.leases)), instance)

    def _use(self, lease: tuple[str, str, str | None], instance: int) -> None:
        url, image_id, owner = lease
        response = self.world.ask(instance, "GET", url, None)
        served = self.served(image_id)
        if served is None:
            assert response.status_code == 404
        elif served.public or served.owner == owner:
            assert (response.status_code, response.content) == (200, served.body)
        else:
            assert (response.status_code, code(response)) == (403, "private_image")

    @rule(caller=st.sampled_from(CALLERS), instance=INSTANCES)
    def list_images(self, caller: str | None, instance: int) -> None:
        listed = self.ask(instance, "GET", "/v1/images", caller).json()["images"]
        own = [image for image in listed if image["id"] in map(self.id_of, NAMES)]
        expected = {
            image_id: len(served.body)
            for image_id in map(self.id_of, NAMES)
            if (served := self.served(image_id)) and self.may_read(caller, image_id, served)
        }
        assert {image["id"]: image["size_bytes"] for image in own} == expected
        assert len(own) == len(expected)
        assert not any("." in image["id"] for image in listed)

    def teardown(self) -> None:
        """Everybody tries everything that there is, also after the ids have changed hands."""
        for name, caller in itertools.product(NAMES, CALLERS):
            self.lease_one(self.id_of(name), caller, 0)
        self._try_everything()
        for name in NAMES:
            self.change_the_manifest(name, public=False)
        self._try_everything()
        for name in NAMES:
            self.change_the_manifest(name, public=None)
        before = {version.name: version.owner for version in self.alive()}
        for version in self.alive():
            path = f"/v1/uploads/{version.upload_id}"
            assert self.ask(1, "DELETE", path, version.owner).status_code == 204
            version.state = "deleted"
        for name in NAMES:
            other = "ann" if before.get(self.id_of(name)) == "bob" else "bob"
            self.upload(name, other, public=False, completes=True, instance=0)
        self._try_everything()

    def _try_everything(self) -> None:
        for image_id, caller in itertools.product(self.every_id(), CALLERS):
            self._read(caller, self.example % 2, image_id, "/disks/{}/bytes")
        for lease in self.leases:
            self._use(lease, self.example % 2)

    def ask(
        self, instance: int, method: str, path: str, caller: str | None, body: Any = None
    ) -> httpx.Response:
        bearer = None if caller is None else token(caller, self.id_of("a"))
        return self.world.ask(instance, method, path, bearer, body)

    def _check(
        self,
        response: httpx.Response,
        caller: str | None,
        image_id: str,
        served: Served | None,
    ) -> None:
        """That it is refused as it should be, if it should be."""
        if served is None:
            assert (response.status_code, code(response)) == (404, "no_such_image")
        elif self.may_read(caller, image_id, served):
            assert response.status_code == 200, response.text
        elif caller is None:
            assert (response.status_code, code(response)) == (401, "no_credentials")
        else:
            assert (response.status_code, code(response)) == (403, "private_image")


def code(response: httpx.Response) -> str:
    found: str = response.json()["error"]["code"]
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def world(
    request: pytest.FixtureRequest,
    bucket: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    # What an instance remembers for two seconds would leave the model two answers.
    monkeypatch.setattr(object_store, "_MANIFEST_LIFE_S", 0)
    monkeypatch.setattr(object_store, "_VERSION_LIFE_S", 0)
    monkeypatch.setattr(uploaded_images, "_REMEMBERED_FOR_S", 0)
    if request.param == "sqlite":
        database = f"sqlite:///{tmp_path / 'uploads.db'}"
    else:
        database = request.getfixturevalue("postgres").database("access_model")
    world = World(bucket, tmp_path, database)
    yield world
    world.close()


@fuzz
def test_everybody_reads_what_he_may_and_nothing_else(world: World) -> None:
    run_state_machine_as_test(
        lambda: AccessMachine(world),
        settings=settings(
            max_examples=rounds(3),
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
