"""Three instances behind nginx, with a bucket, Redis and PostgreSQL, as compose.yaml has them.

Without containers: real processes, with the environment and the nginx configuration of that file.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aero_browser_disk import open_disk
from aero_browser_disk.platform.cpython import cpython_platform
from lib.nginx_server import Nginx, find_nginx

from .conftest import RunningService
from .deployments import COMPOSE, INSTANCES, compose, environment, folder_of
from .object_server import Bucket
from .test_uploads import KEY, Gateway, put, token

if TYPE_CHECKING:
    from pathlib import Path

    from lib.local_object_store import LocalObjectStore

    from .postgres import Postgres

pytestmark = pytest.mark.skipif(
    find_nginx() is None, reason="no nginx here: apt-get install nginx-light"
)

IMAGE = random.Random(17).randbytes(12 << 20)
DISK = "/disks/disk/bytes"
BLOCK = 16 << 10
IN_FLIGHT = 12


@dataclass
class Topology:
    """What runs: `instances` in the order of nginx's list."""

    instances: list[RunningService]
    nginx: Nginx

    def read(
        self, begin: int, length: int, headers: dict[str, str], path: str = DISK
    ) -> tuple[int, bytes]:
        """Status and body of a range, asked for through nginx on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.nginx.port, timeout=60)
        try:
            byte_range = f"bytes={begin}-{begin + length - 1}"
            connection.request("GET", path, headers={"Range": byte_range, **headers})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@pytest.fixture
def topology(
    tmp_path: Path,
    object_server: LocalObjectStore,
    bucket: Bucket,
    postgres: Postgres,
    redis_url: str,
) -> Iterator[Topology]:
    bucket.put("disk.img", IMAGE)
    entry = {"id": "disk", "file": "disk.img", "public": True}
    bucket.put("manifest.json", json.dumps({"images": [entry]}).encode())
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "keys.pem").write_bytes(pem)
    services = compose(
        {
            "AERO_DISK_S3_KEY": object_server.keys.access_key,
            "AERO_DISK_S3_SECRET": object_server.keys.secret_key,
            "AERO_DISK_DATABASE_PASSWORD": "none",
            "AERO_DISK_ISSUER": "https://issuer.example.com",
            "AERO_DISK_JWKS": "https://issuer.example.com/jwks.json",
            "AERO_DISK_PAGE": "https://app.example.com",
            "AERO_DISK_BUCKET_URL": object_server.url,
        }
    )["services"]
    # What compose's network has under names is here on this machine.
    here = {
        "AERO_DISK_SERVER__TRUSTED_PROXIES": '["127.0.0.1"]',
        "AERO_DISK_STORE__BUCKET": bucket.address.url,
        "AERO_DISK_STORE__ENDPOINT": object_server.url,
        "AERO_DISK_LIMITS__REDIS_URL": redis_url,
        "AERO_DISK_LIMITS__REQUESTS_IN_FLIGHT": str(IN_FLIGHT),
        "AERO_DISK_UPLOADS__DATABASE": postgres.database("scale_out"),
        "AERO_DISK_AUTHORIZATION__JWT__KEYS_FILE": str(tmp_path / "keys.pem"),
        "AERO_DISK_METRICS__HOST": "127.0.0.1",
        "AERO_DISK_METRICS__PORT": "0",
    }
    folder = tmp_path / "nginx"
    folder.mkdir()
    with ExitStack() as stack:
        # No issuer listens here, so its keys are in a file.
        given = {**services[INSTANCES[0]]["environment"], **here}
        del given["AERO_DISK_AUTHORIZATION__JWT__JWKS_URL"]
        running = [RunningService(None) for _ in INSTANCES]
        with environment(given), ThreadPoolExecutor() as pool:
            for instance in running:
                stack.callback(instance.end)
            instances = list(pool.map(RunningService.__enter__, running))
        values = {
            variable: f"{instances[INSTANCES.index(value.partition(':')[0])].host}:"
            f"{instances[INSTANCES.index(value.partition(':')[0])].port}"
            for variable, value in services["nginx"]["environment"].items()
            if variable.startswith("AERO_DISK_INSTANCE")
        }
        (mount,) = services["nginx"]["volumes"]
        template = folder_of(mount)
        assert template.is_relative_to(COMPOSE.parent)
        nginx = Nginx(folder, template.name.removesuffix(".conf.template"), values)
        yield Topology(instances, stack.enter_context(nginx))


async def test_three_instances_are_one_service(topology: Topology, tmp_path: Path) -> None:
    """One test, as starting all of it takes longest and the last part kills a part of it."""
    limits_are_shared(topology)
    an_upload_moves_between_instances(topology)
    await reads_go_on_when_an_instance_dies(topology, tmp_path)


def limits_are_shared(topology: Topology) -> None:
    """As many requests as one client may have in flight, a third of them on each instance.

    Nobody else here is this client: an instance takes a moment to see that a connection is gone.
    """
    with ExitStack() as stack:
        held = [
            stack.enter_context(held_request(instance, bearer("carl")))
            for instance in topology.instances
            for _ in range(IN_FLIGHT // len(topology.instances))
        ]
        assert len(held) == IN_FLIGHT
        for _ in range(2 * len(topology.instances)):
            status, body = topology.read(0, 512, bearer("carl"))
            assert (status, json.loads(body)["error"]["limit"]) == (429, "requests_in_flight")
            assert topology.read(0, 512, bearer("bob")) == (206, IMAGE[:512])


async def reads_go_on_when_an_instance_dies(topology: Topology, tmp_path: Path) -> None:
    """Plain requests and the client of this project; one instance is killed under their load."""
    order = random.Random(3).sample(range(len(IMAGE) // BLOCK), len(IMAGE) // BLOCK)
    done = 0
    victim = topology.instances[1]

    def count() -> None:
        nonlocal done
        done += 1
        if done == len(order) // 4:
            victim.process.send_signal(signal.SIGKILL)

    def read_plainly(reader: str, blocks: list[int]) -> list[str]:
        """What went wrong."""
        wrong = []
        for block in blocks:
            begin = block * BLOCK
            status, body = topology.read(begin, BLOCK, bearer(reader))
            if (status, body) != (206, IMAGE[begin : begin + BLOCK]):
                wrong.append(f"block {block}: status {status}, {len(body)} bytes")
            count()
        return wrong

    platform = cpython_platform(tmp_path / "cache")
    url = f"{topology.nginx.url}{DISK}"
    # Fewer at once than the limit: those of the killed instance count for a while.
    async with open_disk(url, allow_remote=True, platform=platform, concurrency=4) as disk:

        async def read_by_client(blocks: list[int]) -> list[str]:
            wrong = []
            for block in blocks:
                begin = block * BLOCK
                data = await disk.read(begin, BLOCK)
                if bytes(data) != IMAGE[begin : begin + BLOCK]:
                    wrong.append(f"block {block} by the client")
            return wrong

        found = await asyncio.gather(
            *(asyncio.to_thread(read_plainly, f"r{part}", order[part::3]) for part in range(3)),
            *(read_by_client(order[part::4]) for part in range(2)),
        )
    await platform.http.close()
    assert [message for messages in found for message in messages] == []
    assert victim.process.wait(30) == -signal.SIGKILL
    assert done == len(order)


def an_upload_moves_between_instances(topology: Topology) -> None:
    first, second, third = (Gateway(instance) for instance in topology.instances)
    image = IMAGE[: 64 << 10]
    upload = first.begin(id="win7", size_bytes=len(image), public=True)
    assert put(second.url(upload, 1), image) == 200
    answer = third.ask(f"/v1/uploads/{upload['upload_id']}/complete", method="POST")
    assert (answer.status, answer.json["state"]) == (200, "ready")
    for _ in topology.instances:
        read = topology.read(0, len(image), bearer("ann"), "/disks/win7/bytes")
        assert read == (206, image)


@contextmanager
def held_request(instance: RunningService, headers: dict[str, str]) -> Iterator[None]:
    """A request in flight: its body does not come. It is, once the instance asks for it."""
    connection = instance.connect()
    connection.putrequest("POST", "/v1/uploads")
    for name, value in {**headers, "Content-Length": "100", "Expect": "100-continue"}.items():
        connection.putheader(name, value)
    try:
        connection.endheaders()
        assert connection.sock.recv(64).startswith(b"HTTP/1.1 100")
        yield
    finally:
        connection.close()


def bearer(subject: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(subject)}"}
