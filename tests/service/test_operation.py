"""What operators see: readiness, metrics, request ids; and changes that take no restart."""

from __future__ import annotations

import json
import signal
import urllib.request
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Answer, RunningService

TOKEN = "a-token-of-some-length"
DISK = "/disks/disk.img/bytes"


class Measured:
    """Samples of an exposition, by name and label values in any order."""

    def __init__(self, text: str) -> None:
        self._samples = {
            (
                sample.name.removeprefix("aero_disk_"),
                frozenset(sample.labels.values()),
            ): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def __getitem__(self, key: tuple[str, ...]) -> float:
        return self._samples[key[0], frozenset(key[1:])]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "disk.img").write_bytes(bytes(4096))
    return folder


def test_ready_while_the_store_can_be_reached(
    images: Path, serve: Callable[..., RunningService]
) -> None:
    service = serve(images)
    answer = service.ask("/readyz")
    assert (answer.status, answer.json) == (200, {"status": "ready"})
    assert answer.headers["cache-control"] == "no-store"
    images.rename(images.with_name("elsewhere"))
    answer = service.ask("/readyz", {"Origin": "https://a.example"})
    assert answer.status == 503
    assert answer.json["error"]["code"] == "not_ready"
    assert "folder" in answer.json["error"]["message"]
    assert answer.headers["access-control-allow-origin"] == "*"
    # It is alive all the same.
    assert service.ask("/healthz").status == 200
    images.with_name("elsewhere").rename(images)
    assert service.ask("/readyz").status == 200


def scrape(service: RunningService, token: str = TOKEN) -> Answer:
    return service.ask("/metrics", {"Authorization": f"Bearer {token}"})


def test_metrics(images: Path, serve: Callable[..., RunningService]) -> None:
    options = ("--set", "metrics.enabled=true", "--set", f"metrics.token={TOKEN}")
    service = serve(images, *options)
    sent = 0
    for value in ("bytes=0-99", "bytes=0-0", "bytes=9999-", "bytes=0-0,2-2", "lines=1-2", None):
        sent += len(service.ask(DISK, {} if value is None else {"Range": value}).body)
    service.ask(DISK, method="HEAD")
    service.ask("/nothing/" + "x" * 100)
    sent += len(service.ask("/disks/nothing/bytes?" + "y" * 100, method="PATCH").body)
    # The parser knows none of that name, and ends the connection.
    assert service.ask("/disks/nothing/bytes", method="BREW").status == 501
    for token in ("", "wrong", TOKEN + "x"):
        refused = scrape(service, token)
        assert refused.status == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
    answer = scrape(service)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "private, no-store, no-transform"
    text = answer.body.decode()
    found = Measured(text)
    route = "/disks/{id}/bytes"
    requests = "requests_total"
    assert found[requests, route, "GET", "206"] == 2
    assert found[requests, route, "GET", "416"] == 2
    assert found[requests, route, "GET", "200"] == 2
    assert found[requests, route, "HEAD", "200"] == 1
    assert found[requests, "none", "GET", "404"] == 1
    assert found[requests, route, "other", "405"] == 1
    assert found[requests, "none", "other", "501"] == 1
    assert found["requests_in_flight",] == 1
    for result, count in (
        ("satisfied", 2),
        ("unsatisfiable", 1),
        ("multiple", 1),
        ("ignored", 1),
        ("none", 2),
    ):
        assert found["ranges_total", result] == count
    assert found["body_bytes_total", route] == sent
    assert found["request_duration_seconds_count", route] == 8
    assert found["store_errors_total", "failed"] == 0
    images.rename(images.with_name("elsewhere"))
    service.ask("/readyz")
    again = scrape(service).body.decode()
    assert Measured(again)["store_errors_total", "failed"] == 1
    # Nothing that a client made up became a label.
    for stranger in ("xxx", "yyy", "BREW", "disk.img", TOKEN):
        assert stranger not in text + again


def test_no_metrics_unless_asked_for(service: RunningService) -> None:
    assert service.ask("/metrics").status == 404


def test_metrics_on_their_own_address(images: Path, serve: Callable[..., RunningService]) -> None:
    options = ("metrics.enabled=true", "metrics.host=127.0.0.1", "metrics.port=0")
    words = [word for option in options for word in ("--set", option)]
    service = serve(images, *words)
    (line,) = service.before_url
    port = line["port"]
    service.ask(DISK)
    assert service.ask("/metrics").status == 404
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        found = Measured(answer.read().decode())
    assert found["requests_total", "/disks/{id}/bytes", "GET", "200"] == 1


def test_request_ids(images: Path, serve: Callable[..., RunningService]) -> None:
    service = serve(images, "--set", 'server.trusted_proxies=["127.0.0.0/8"]')
    first, second = service.ask("/healthz"), service.ask("/nothing")
    said = [answer.headers["x-request-id"] for answer in (first, second)]
    assert len({*said}) == 2
    assert [service.event("request")["request_id"] for _ in said] == said
    # A trusted proxy has its own, if it is one.
    for given, kept in (("abc-1.2_3", True), ("x" * 65, False), ("a b", False), ("", False)):
        answer = service.ask("/healthz", {"X-Request-Id": given})
        assert (answer.headers["x-request-id"] == given) is kept


def test_strangers_do_not_choose_request_ids(service: RunningService) -> None:
    answer = service.ask("/healthz", {"X-Request-Id": "mine"})
    assert answer.headers["x-request-id"] != "mine"
    assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()


def write_manifest(images: Path, image_id: str) -> None:
    entry = {"id": image_id, "file": "disk.img", "public": True}
    (images / "manifest.new").write_text(json.dumps({"images": [entry]}))
    (images / "manifest.new").replace(images / "manifest.json")


def test_a_reload_drops_no_request(images: Path, serve: Callable[..., RunningService]) -> None:
    size = 64 << 20
    with (images / "disk.img").open("r+b") as file:
        file.truncate(size)
    write_manifest(images, "one")
    service = serve(images)
    connection = service.connect()
    connection.request("GET", "/disks/one/bytes")
    response = connection.getresponse()
    write_manifest(images, "two")
    service.process.send_signal(signal.SIGHUP)
    service.event("reloaded")
    assert service.ask("/disks/two/bytes", {"Range": "bytes=0-0"}).status == 206
    assert service.ask("/disks/one/bytes").status == 404
    assert response.read() == bytes(size)
    connection.close()
    # A wrong one is said at once, without a request that needs it.
    (images / "manifest.json").write_text("[")
    service.process.send_signal(signal.SIGHUP)
    assert "not JSON" in service.event("manifest_rejected")["reason"]
