"""Who may read and change which save, whatever becomes of saves, links and time: a model.

Two instances share a folder and a database. Many examples: `./scripts/test --fuzz 200`.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from aero_browser_disk.service.app import Service
from aero_browser_disk.service.assembly import Assembly
from aero_browser_disk.service.configuration import Configuration
from aero_browser_disk.service.http.access_log import AccessLog
from aero_browser_disk.service.saves.save_service import SaveService
from support.fuzz import fuzz, rounds

from .save_client import BASE, EVERY_SCOPE, KEY, etag_of, manifest_of, name_of, token
from .save_site import SaveSite

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 40
NUMBERS = itertools.count()
OWNERS = ("ann", "bob")
CALLERS = (None, *OWNERS, "ann, reading", "ann, of images", "nameless")
INSTANCES = st.integers(0, 1)
HOUR_S = 3600


def bearer(caller: str, example: int) -> str:
    """Owners are of one example alone."""
    subject, _, restriction = caller.partition(", ")
    scope = {"reading": "disk:read", "of images": "disk:read:* disk:upload"}
    name = None if subject == "nameless" else f"{subject}-{example}"
    return token(name, scope.get(restriction, EVERY_SCOPE))


@dataclass(slots=True)
class Kept:
    """A save: its manifests by generation, and how often its links were ended."""

    path: str
    owner: str
    name: str
    manifests: dict[int, bytes] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    ended: int = 0
    exists: bool = True

    @property
    def current(self) -> int:
        return max(self.manifests, default=0)


@dataclass(frozen=True, slots=True)
class Link:
    save: Kept
    query: str
    ended: int
    expires_at: float


class World:
    """Two instances of the service, whose clock goes as the model says."""

    def __init__(self, folder: Path) -> None:
        self.time_s = 1_800_000_000.0
        self.runner = asyncio.Runner()
        pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / "keys.pem").write_bytes(pem)
        (folder / "manifest.json").write_text('{"images": []}')
        (folder / "disks").mkdir()
        keys = {"issuer": "https://issuer.example.com", "audience": "disks"}
        configuration = Configuration.model_validate(
            {
                "cors": {"allow_origins": []},
                "limits": {"requests_in_flight": 0},
                "store": {"folder": folder},
                "authorization": {"jwt": {**keys, "keys_file": folder / "keys.pem"}},
            }
        )
        self.assemblies, self.sites = [], []
        self.clients: list[httpx.AsyncClient] = []
        for _ in range(2):
            self.runner.run(self._start(configuration, folder))

    async def _start(self, configuration: Configuration, folder: Path) -> None:
        log = AccessLog(io.StringIO())
        site = SaveSite(folder / "saves", f"sqlite:///{folder / 'saves.db'}")
        part = SaveService(site.saves, log, "", clock=lambda: self.time_s)
        assembly = Assembly(configuration, log)
        service = Service(assembly.store, configuration, log, gate=assembly.gate, parts=[part])
        transport = httpx.ASGITransport(app=service)
        self.clients.append(httpx.AsyncClient(transport=transport, base_url="http://disks"))
        self.assemblies.append(assembly)
        self.sites.append(site)

    def ask(
        self, instance: int, method: str, path: str, headers: dict[str, str], body: bytes | None
    ) -> httpx.Response:
        asking = self.clients[instance].request(method, path, headers=headers, content=body)
        return self.runner.run(asking)

    def close(self) -> None:
        for client in self.clients:
            self.runner.run(client.aclose())
        for opened in (*self.assemblies, *self.sites):
            opened.close()
        self.runner.close()


class SaveMachine(RuleBasedStateMachine):
    """Changes saves, links and the time, and reads."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.example = next(NUMBERS)
        self.saves: list[Kept] = []
        self.links: list[Link] = []

    def ask(
        self,
        instance: int,
        method: str,
        path: str,
        caller: str | None,
        body: Any = None,
        **headers: str,
    ) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if caller is not None:
            sent["Authorization"] = f"Bearer {bearer(caller, self.example)}"
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        return self.world.ask(instance, method, path, sent, data)

    def refused(self, response: httpx.Response, caller: str | None, save: Kept, right: str) -> bool:
        """Checks whether the caller may; returns whether the response says so."""
        status = response.status_code
        if caller is None:
            assert (status, code(response)) == (401, "no_credentials")
        elif caller in ("ann, of images", "nameless") or (
            caller == "ann, reading" and right != "read"
        ):
            assert (status, code(response)) == (403, "not_allowed")
        elif caller.partition(",")[0] != save.owner or not save.exists:
            assert (status, code(response)) == (404, "no_such_save")
        else:
            return False
        return True

    def draw(self, data: st.DataObject) -> tuple[Kept, str | None]:
        """A save, and who asks for it: often its owner."""
        save = data.draw(st.sampled_from(self.saves))
        return save, data.draw(st.sampled_from((*[save.owner] * len(CALLERS), *CALLERS)))

    @rule(
        caller=st.sampled_from((*OWNERS, *CALLERS)), name=st.sampled_from("xyz"), instance=INSTANCES
    )
    def create(self, caller: str | None, name: str, instance: int) -> None:
        response = self.ask(instance, "POST", "/v1/saves", caller, {"name": name, "base": BASE})
        if caller not in ("ann", "bob"):
            assert response.status_code == (401 if caller is None else 403)
            return
        taken = [s for s in self.saves if s.exists and (s.owner, s.name) == (caller, name)]
        if taken:
            assert (response.status_code, code(response)) == (409, "save_exists")
            assert taken[0].path.endswith(response.json()["error"]["id"])
            return
        assert response.status_code == 201
        self.saves.append(Kept(f"/v1/saves/{response.json()['id']}", caller, name))

    @precondition(lambda self: self.saves)
    @rule(data=st.data(), instance=INSTANCES, knows=st.booleans(), whole=st.booleans())
    def push(self, data: st.DataObject, instance: int, knows: bool, whole: bool) -> None:
        save, caller = self.draw(data)
        chunk = f"{save.path} {next(NUMBERS)}".encode()
        path = f"{save.path}/chunks/{name_of(chunk)}"
        if not self.refused(self.ask(instance, "PUT", path, caller, chunk), caller, save, "write"):
            save.chunks.append(chunk)
        manifest = manifest_of(chunk)
        before = save.manifests.get(save.current) if knows else b"other"
        condition = {"If_None_Match": "*"} if before is None else {"If_Match": etag_of(before)}
        path = f"{save.path}/manifest"
        change = {"sha256": name_of(manifest), "parts": [manifest.decode()]}
        is_whole = whole or before is None
        method, body = ("PUT", manifest) if is_whole else ("POST", json.dumps(change).encode())
        response = self.ask(instance, method, path, caller, body, **condition)
        if self.refused(response, caller, save, "write"):
            return
        if not knows:
            assert (response.status_code, code(response)) == (412, "precondition_failed")
            assert response.json()["error"]["save"]["generation"] == save.current
            return
        number = save.current + 1
        assert (response.status_code, response.json()["generation"]) == (
            201 if number == 1 else 200,
            number,
        )
        save.manifests[number] = manifest
        save.manifests.pop(number - 2, None)

    @precondition(lambda self: self.saves)
    @rule(data=st.data(), instance=INSTANCES)
    def read(self, data: st.DataObject, instance: int) -> None:
        save, caller = self.draw(data)
        response = self.ask(instance, "GET", save.path, caller)
        if not self.refused(response, caller, save, "read"):
            kept = [one["generation"] for one in response.json()["generations"]]
            assert kept == sorted(save.manifests, reverse=True)
        number = data.draw(st.sampled_from((*save.manifests, 0, 99)))
        path = f"{save.path}/manifest?generation={number}"
        response = self.ask(instance, "GET", path, caller)
        if not self.refused(response, caller, save, "read"):
            assert response.content == save.manifests.get(number, response.content)
            assert response.status_code == (200 if number in save.manifests else 404)
        if save.chunks:
            chunk = data.draw(st.sampled_from(save.chunks))
            path = f"{save.path}/chunks/{name_of(chunk)}"
            response = self.ask(instance, "GET", path, caller)
            if not self.refused(response, caller, save, "read"):
                assert response.content == chunk

    @rule(caller=st.sampled_from(CALLERS), instance=INSTANCES)
    def list_saves(self, caller: str | None, instance: int) -> None:
        response = self.ask(instance, "GET", "/v1/saves", caller)
        if caller in (None, "ann, of images", "nameless"):
            assert response.status_code == (401 if caller is None else 403)
            return
        owner = caller.partition(",")[0]
        listed = {f"/v1/saves/{one['id']}" for one in response.json()["saves"]}
        assert listed == {s.path for s in self.saves if s.exists and s.owner == owner}

    @precondition(lambda self: self.saves)
    @rule(data=st.data(), instance=INSTANCES)
    def delete(self, data: st.DataObject, instance: int) -> None:
        save, caller = self.draw(data)
        response = self.ask(instance, "DELETE", save.path, caller)
        if not self.refused(response, caller, save, "delete"):
            assert response.status_code == 204
            save.exists = False

    @precondition(lambda self: self.saves)
    @rule(data=st.data(), instance=INSTANCES)
    def delete_a_generation(self, data: st.DataObject, instance: int) -> None:
        save, caller = self.draw(data)
        number = data.draw(st.sampled_from((*save.manifests, 99)))
        path = f"{save.path}/generations/{number}"
        response = self.ask(instance, "DELETE", path, caller)
        if self.refused(response, caller, save, "delete"):
            return
        if number == save.current:
            assert (response.status_code, code(response)) == (409, "current_generation")
        else:
            assert response.status_code == (204 if number in save.manifests else 404)
            save.manifests.pop(number, None)

    # ── links ──

    @precondition(lambda self: self.saves)
    @rule(
        data=st.data(),
        instance=INSTANCES,
        hours=st.sampled_from((1, 3)),
    )
    def share(self, data: st.DataObject, instance: int, hours: int) -> None:
        save, caller = self.draw(data)
        asked = {"lifetime_s": hours * HOUR_S}
        response = self.ask(instance, "POST", f"{save.path}/shares", caller, asked)
        if not self.refused(response, caller, save, "share"):
            query = response.json()["url"].removeprefix(save.path)
            expires_at = self.world.time_s + hours * HOUR_S
            self.links.append(Link(save, query, save.ended, expires_at))

    @precondition(lambda self: self.saves)
    @rule(data=st.data(), instance=INSTANCES)
    def end_links(self, data: st.DataObject, instance: int) -> None:
        save, caller = self.draw(data)
        response = self.ask(instance, "DELETE", f"{save.path}/shares", caller)
        if not self.refused(response, caller, save, "share"):
            save.ended += 1

    @rule(hours=st.sampled_from((1, 2)))
    def pass_time(self, hours: int) -> None:
        self.world.time_s += hours * HOUR_S

    @precondition(lambda self: self.links)
    @rule(data=st.data(), instance=INSTANCES)
    def use_a_link(self, data: st.DataObject, instance: int) -> None:
        link = data.draw(st.sampled_from(self.links))
        save, caller = link.save, data.draw(st.sampled_from(CALLERS))
        response = self.ask(instance, "GET", f"{save.path}/manifest{link.query}", caller)
        if link.expires_at <= self.world.time_s:
            assert (response.status_code, code(response)) == (401, "share_expired")
        elif link.ended != save.ended or not save.exists:
            assert (response.status_code, code(response)) == (404, "no_such_save")
        elif not save.manifests:
            assert (response.status_code, code(response)) == (404, "no_such_generation")
        else:
            assert response.content == save.manifests[save.current]
        others = [other for other in self.saves if other is not save]
        if others:
            other = data.draw(st.sampled_from(others))
            response = self.ask(instance, "GET", f"{other.path}{link.query}", caller)
            assert response.status_code in (401, 404)

    def teardown(self) -> None:
        """A link to a new save works until it expires, whatever the steps before were."""
        self.create("ann", "the last", 0)
        save = self.saves[-1]
        response = self.ask(0, "POST", f"{save.path}/shares", "ann", {"lifetime_s": HOUR_S})
        link = response.json()["url"]
        assert self.ask(1, "GET", link, None).status_code == 200
        self.world.time_s += HOUR_S
        response = self.ask(1, "GET", link, None)
        assert (response.status_code, code(response)) == (401, "share_expired")


def code(response: httpx.Response) -> str:
    return response.json()["error"]["code"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


@fuzz
def test_nobody_reads_or_changes_what_is_not_theirs(world: World) -> None:
    run_state_machine_as_test(
        lambda: SaveMachine(world),
        settings=settings(
            max_examples=rounds(10),
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=[*HealthCheck],
        ),
    )
