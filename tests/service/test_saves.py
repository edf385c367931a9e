"""Saves over HTTP: chunks, a manifest that switches, reading, listing, deleting."""

from __future__ import annotations

import http.client
import itertools
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aero_browser_disk.saves.save_manifest import MAX_VERSION
from aero_browser_disk.service.saves.save_manifest import MAX_BASE_VERSION

from .conftest import RunningService
from .object_server import Bucket
from .save_client import (
    BASE,
    PAGE,
    PRIVATE,
    SaveClient,
    etag_of,
    manifest_of,
    name_of,
    save_options,
    token,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RANDOM = random.Random(19)
ONE, TWO, THREE = (RANDOM.randbytes(length) for length in (262_144, 5000, 1))
NOWHERE = "/v1/saves/" + "0" * 32
NUMBERS = itertools.count()


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a service keeps the saves."""

    folder: Path
    where: dict[str, Any]
    bucket: Bucket | None = None

    def objects(self, save: str) -> list[str]:
        """What is stored of the save at this path."""
        save_id = save.rpartition("/")[2]
        if self.bucket is not None:
            return self.bucket.keys(f"{save_id}/")
        return [str(path) for path in (self.folder / "saves" / save_id).glob("*/*")]


@pytest.fixture(scope="module", params=["folder and sqlite", "bucket and postgresql"])
def kept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("saves")
    (folder / "images").mkdir()
    if request.param.startswith("folder"):
        yield Kept(folder, {})
        return
    server = request.getfixturevalue("object_server")
    bucket = Bucket(server, "saves")
    where = {
        "bucket": bucket.address.url,
        "endpoint": bucket.address.endpoint,
        "region": bucket.address.region,
        "database": request.getfixturevalue("postgres").database("saves"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.keys.environment.items():
            patch.setenv(name, value)
        yield Kept(folder, where, bucket)
    bucket.close()


@pytest.fixture(scope="module")
def service(kept: Kept) -> Iterator[RunningService]:
    options = save_options(kept.folder, generations=3, owner_saves=0, **kept.where)
    with RunningService(kept.folder / "images", *options) as running:
        yield running


@pytest.fixture
def ann(service: RunningService) -> SaveClient:
    """Somebody who has no saves yet."""
    return SaveClient(service, f"ann-{next(NUMBERS)}")


def test_a_push_and_a_pull(ann: SaveClient) -> None:
    save = ann.create()
    shown = ann.ask(save).json
    assert (shown["name"], shown["base"], shown["generation"]) == ("work", BASE, 0)
    assert "etag" not in shown
    assert shown["generations"] == []
    names = [name_of(chunk) for chunk in (ONE, TWO, THREE)]
    assert ann.ask(f"{save}/chunks", {"sha256": names}).json == {"missing": names}
    answer = ann.ask(f"{save}/chunks/{names[0]}", ONE, method="PUT")
    assert (answer.status, answer.body) == (201, b"")
    assert ann.ask(f"{save}/chunks", {"sha256": names[::-1]}).json == {"missing": names[:0:-1]}
    # The same again, as when the response was lost.
    assert ann.ask(f"{save}/chunks/{names[0]}", ONE, method="PUT").status == 200
    ann.send(save, TWO, THREE)
    manifest = manifest_of(ONE, TWO, THREE)
    answer = ann.put(save, manifest)
    assert answer.status == 201
    assert (answer.headers["etag"], answer.json["generation"]) == (etag_of(manifest), 1)
    shown = ann.ask(save).json
    assert shown == answer.json
    assert shown["etag"] == etag_of(manifest)
    assert shown["device"] == "Chromium on Linux"
    stored = len(manifest) + len(ONE) + len(TWO) + len(THREE)
    assert shown["stored_bytes"] == stored
    (generation,) = shown["generations"]
    assert (generation["generation"], generation["stored_bytes"]) == (1, stored)
    read = ann.ask(f"{save}/manifest")
    assert (read.status, read.body, read.headers["etag"]) == (200, manifest, etag_of(manifest))
    assert read.headers["cache-control"] == PRIVATE
    for chunk in (ONE, TWO, THREE):
        read = ann.ask(f"{save}/chunks/{name_of(chunk)}")
        assert (read.status, read.body, read.headers["etag"]) == (200, chunk, etag_of(chunk))
        assert read.headers["content-type"] == "application/octet-stream"
        assert read.headers["cache-control"] == PRIVATE


def test_reads_are_conditional(ann: SaveClient) -> None:
    save = ann.create()
    manifest = ann.push(save, ONE)
    for path, data in ((f"{save}/manifest", manifest), (f"{save}/chunks/{name_of(ONE)}", ONE)):
        assert ann.ask(path, If_None_Match=etag_of(data)).status == 304
        assert ann.ask(path, If_None_Match='"other"').body == data
        assert ann.ask(path, If_Match=etag_of(data)).body == data
        assert ann.ask(path, If_Match='"other"').status == 412
        head = ann.ask(path, method="HEAD")
        assert (head.status, head.headers["content-length"]) == (200, str(len(data)))


def test_generations_follow_and_the_last_ones_are_kept(ann: SaveClient) -> None:
    save, before, manifests = ann.create(), None, []
    for number in range(1, 6):
        before = ann.push(save, ONE, b"%d" % number, before=before, device=f"device {number}")
        manifests.append(before)
    shown = ann.ask(save).json
    assert shown["generation"] == 5
    assert [kept["generation"] for kept in shown["generations"]] == [5, 4, 3]
    assert [kept["device"] for kept in shown["generations"]] == ["device 5", "device 4", "device 3"]
    for number in (3, 4, 5):
        read = ann.ask(f"{save}/manifest?generation={number}")
        assert read.body == manifests[number - 1]
        assert ann.ask(f"{save}/chunks/{name_of(b'%d' % number)}").body == b"%d" % number
    for number in ("1", "2", "6", "0", "-1", "x", "9" * 30, "%C2%B2"):
        answer = ann.ask(f"{save}/manifest?generation={number}")
        assert ann.code(answer) == (404, "no_such_generation")
    assert ann.ask(f"{save}/manifest").body == manifests[4]


def test_a_generation_is_deleted_but_never_the_current_one(ann: SaveClient) -> None:
    save = ann.create()
    first = ann.push(save, ONE)
    second = ann.push(save, TWO, before=first)
    assert ann.code(ann.ask(f"{save}/generations/2", method="DELETE")) == (
        409,
        "current_generation",
    )
    assert ann.ask(f"{save}/generations/1", method="DELETE").status == 204
    for number in ("1", "3", "x"):
        again = ann.ask(f"{save}/generations/{number}", method="DELETE")
        assert ann.code(again) == (404, "no_such_generation")
    assert [kept["generation"] for kept in ann.ask(save).json["generations"]] == [2]
    assert ann.ask(f"{save}/manifest").body == second


def test_of_two_writers_one_gets_the_others_state(ann: SaveClient) -> None:
    save = ann.create()
    first = ann.push(save, ONE)
    mine, theirs = manifest_of(ONE, TWO), manifest_of(ONE, THREE, device="Firefox on Linux")
    ann.send(save, TWO, THREE)
    assert ann.put(save, theirs, first).status == 200
    refused = ann.put(save, mine, first)
    assert ann.code(refused) == (412, "precondition_failed")
    assert refused.json["error"]["save"] == ann.ask(save).json
    assert refused.json["error"]["save"]["device"] == "Firefox on Linux"
    assert refused.headers["etag"] == etag_of(theirs)
    # Nothing is lost: what was pushed, and the chunks of the one that was refused.
    assert ann.ask(f"{save}/manifest").body == theirs
    names = [name_of(chunk) for chunk in (ONE, TWO, THREE)]
    assert ann.ask(f"{save}/chunks", {"sha256": names}).json == {"missing": []}
    assert ann.put(save, mine, theirs).json["generation"] == 3


def test_the_same_manifest_again_after_a_lost_response(ann: SaveClient) -> None:
    save = ann.create()
    first = ann.push(save, ONE)
    again = ann.put(save, first)
    assert (again.status, again.json["generation"]) == (200, 1)
    assert again.headers["etag"] == etag_of(first)
    second = ann.push(save, TWO, before=first)
    for _ in range(2):
        again = ann.put(save, second, first)
        assert (again.status, again.json["generation"]) == (200, 2)
    assert len(ann.ask(save).json["generations"]) == 2


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, (428, "precondition_required")),
        ({"If_None_Match": '"x"'}, (400, "wrong_condition")),
        ({"If_None_Match": ""}, (400, "wrong_condition")),
        ({"If_None_Match": "*"}, (412, "precondition_failed")),
        ({"If_Match": "x"}, (412, "precondition_failed")),
        ({"If_Match": 'W/"{etag}"'}, (412, "precondition_failed")),
        ({"If_Match": '"{etag}"', "If_None_Match": "*"}, (412, "precondition_failed")),
    ],
)
def test_a_manifest_needs_a_condition(
    ann: SaveClient, headers: dict[str, str], code: tuple[int, str]
) -> None:
    save = ann.create()
    first = ann.push(save, ONE)
    sent = {name: value.replace("{etag}", name_of(first)) for name, value in headers.items()}
    refused = ann.ask(f"{save}/manifest", manifest_of(), method="PUT", **sent)
    assert ann.code(refused) == code
    assert ann.ask(f"{save}/manifest").body == first


@pytest.mark.parametrize("value", ["*", '"other", "{etag}"'])
def test_other_forms_of_a_condition_that_holds(ann: SaveClient, value: str) -> None:
    save = ann.create()
    first = ann.push(save, ONE)
    condition = value.replace("{etag}", name_of(first))
    answer = ann.ask(f"{save}/manifest", manifest_of(), method="PUT", If_Match=condition)
    assert (answer.status, answer.json["generation"]) == (200, 2)


def test_a_manifest_whose_chunks_are_not_stored(ann: SaveClient) -> None:
    save, other = ann.create(), ann.create("other")
    ann.send(save, TWO)
    # Chunks belong to one save.
    ann.send(other, ONE)
    refused = ann.put(save, manifest_of(ONE, TWO, THREE))
    assert ann.code(refused) == (409, "missing_chunks")
    assert refused.json["error"]["missing"] == [name_of(ONE), name_of(THREE)]
    assert ann.ask(save).json["generation"] == 0
    assert ann.ask(f"{save}/chunks/{name_of(ONE)}").status == 404
    lies = [{"sha256": name_of(TWO), "length": len(TWO) + 1}]
    assert ann.code(ann.put(save, manifest_of(chunks=lies))) == (400, "wrong_manifest")


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"format": ' + b"1" * 5000 + b"}",
        b"[" + b"{}," * 300_000 + b"{}]",
        manifest_of().replace(b'"version": 1,', b'"version": 1, "version": 1,'),
        manifest_of(version=2),
        manifest_of(version=True),
        manifest_of(format="aero-disk-prepared"),
        manifest_of(digest="0"),
        manifest_of(device="a\u0000b"),
        manifest_of(device="\ud800"),
        manifest_of(base={**BASE, "size": 0}),
        manifest_of(base={**BASE, "sector_size": 513}),
        manifest_of(base={**BASE, "version": ""}),
        manifest_of(chunks=[{"sha256": "0" * 63, "length": 1}]),
        manifest_of(chunks=[{"sha256": "0" * 64, "length": 0}]),
        manifest_of(chunks=[{"sha256": "0" * 64, "length": (1 << 20) + 1}]),
        manifest_of(ONE, ONE),
    ],
    ids=itertools.count(),
)
def test_wrong_manifests(ann: SaveClient, manifest: bytes) -> None:
    save = ann.create()
    ann.send(save, ONE)
    refused = ann.put(save, manifest)
    assert ann.code(refused) == (400, "wrong_manifest"), refused.body
    assert ann.ask(save).json["generation"] == 0


def test_what_it_does_not_know_in_a_manifest_is_the_clients(ann: SaveClient) -> None:
    save = ann.create()
    manifest = ann.push(save, ONE, requires=["x"], map="A" * 1_000_000, more={"a": [1, {"b": 2}]})
    assert ann.ask(f"{save}/manifest").body == manifest


def test_a_manifest_of_another_base_version_is_a_rebase(ann: SaveClient) -> None:
    save = ann.create()
    first = ann.push(save, ONE)
    new = {"version": "debian-13", "size": 8 << 30, "sector_size": 4096}
    ann.push(save, ONE, before=first, base=new)
    assert ann.ask(save).json["base"] == new
    found = ann.ask("/v1/saves?base=debian-13").json["saves"]
    assert [one["id"] for one in found] == [save.rpartition("/")[2]]


def test_a_version_may_be_as_long_as_the_format_says(ann: SaveClient) -> None:
    assert MAX_BASE_VERSION == MAX_VERSION
    longest = {**BASE, "version": "v" * MAX_VERSION}
    save = ann.create(base=longest)
    ann.push(save, ONE, base=longest)
    assert ann.ask(save).json["base"] == longest
    longer = {**BASE, "version": "v" * (MAX_VERSION + 1)}
    assert ann.code(ann.put(save, manifest_of(base=longer))) == (400, "wrong_manifest")


def test_chunks_are_verified_and_bounded(ann: SaveClient) -> None:
    save = ann.create()
    path = f"{save}/chunks/{name_of(ONE)}"
    assert ann.code(ann.ask(path, TWO, method="PUT")) == (400, "wrong_digest")
    assert ann.code(ann.ask(path, ONE[:-1], method="PUT")) == (400, "wrong_digest")
    empty = f"{save}/chunks/{name_of(b'')}"
    assert ann.code(ann.ask(empty, b"", method="PUT")) == (400, "wrong_body")
    largest = bytes(1 << 20)
    assert ann.ask(f"{save}/chunks/{name_of(largest)}", largest, method="PUT").status == 201
    longer = bytes((1 << 20) + 1)
    refused = ann.ask(f"{save}/chunks/{name_of(longer)}", longer, method="PUT")
    assert ann.code(refused) == (413, "body_too_long")
    assert refused.json["error"]["max_body_bytes"] == 1 << 20
    for name in ("x", "0" * 63, name_of(ONE).upper()):
        refused = ann.ask(f"{save}/chunks/{name}", ONE, method="PUT")
        assert ann.code(refused) == (404, "no_such_chunk")
        assert ann.ask(f"{save}/chunks/{name}").status == 404
    assert ann.ask(save).json["stored_bytes"] == 1 << 20


def test_a_body_needs_its_length(ann: SaveClient, service: RunningService) -> None:
    save = ann.create()
    for path in (f"{save}/chunks/{name_of(ONE)}", f"{save}/manifest"):
        connection = http.client.HTTPConnection(service.host, service.port, timeout=60)
        headers = {"Authorization": f"Bearer {token(ann.who)}", "If-None-Match": "*"}
        body = iter([ONE])
        connection.request("PUT", path, body, headers, encode_chunked=True)
        with connection.getresponse() as response:
            assert response.status == 411
            assert b"length_required" in response.read()
        connection.close()


def test_asking_for_chunks(ann: SaveClient) -> None:
    save = ann.create()
    path = f"{save}/chunks"
    every = [f"{number:064x}" for number in range(1000)]
    assert ann.ask(path, {"sha256": every}).json == {"missing": every}
    assert ann.ask(path, {"sha256": [every[0]] * 3}).json == {"missing": every[:1]}
    assert ann.ask(path, {"sha256": []}).json == {"missing": []}
    for body in ({"sha256": [*every, "f" * 64]}, {"sha256": ["x"]}, {}, [], {"sha256": [], "x": 1}):
        assert ann.code(ann.ask(path, body)) == (400, "wrong_body")


def test_names_are_unique_for_each_owner(ann: SaveClient, service: RunningService) -> None:
    save = ann.create("my Debian – “work”")
    again = ann.ask("/v1/saves", {"name": "my Debian – “work”", "base": BASE})
    assert ann.code(again) == (409, "save_exists")
    assert again.json["error"]["id"] == save.rpartition("/")[2]
    SaveClient(service, f"bob of {ann.who}").create("my Debian – “work”")
    assert ann.ask(save, method="DELETE").status == 204
    ann.create("my Debian – “work”")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x"},
        {"base": BASE},
        {"name": "", "base": BASE},
        {"name": " ", "base": BASE},
        {"name": "x" * 201, "base": BASE},
        {"name": "a\u202eb", "base": BASE},
        {"name": "x", "base": {**BASE, "size": "1"}},
        {"name": "x", "base": BASE, "owner": "bob"},
    ],
    ids=itertools.count(),
)
def test_wrong_new_saves(ann: SaveClient, body: dict[str, object]) -> None:
    assert ann.code(ann.ask("/v1/saves", body)) == (400, "wrong_body")
    assert ann.ask("/v1/saves").json == {"saves": []}


def test_the_list_is_newest_first_and_in_pages(ann: SaveClient) -> None:
    saves = [ann.create(f"save {number}") for number in range(5)]
    ann.push(saves[1], ONE)
    ann.create("elsewhere", base={**BASE, "version": "other"})
    order = [saves[1], saves[4], saves[3], saves[2], saves[0]]
    listed = ann.ask("/v1/saves").json["saves"]
    assert listed[0]["name"] == "elsewhere"
    assert [f"/v1/saves/{one['id']}" for one in listed[1:]] == order
    shown = {name: value for name, value in ann.ask(saves[1]).json.items() if name != "generations"}
    assert listed[1] == shown
    version = "base=debian-12%2C%20%225f3a%22"
    found, following = [], ""
    while True:
        page = ann.ask(f"/v1/saves?{version}&limit=2{following}").json
        found += [f"/v1/saves/{one['id']}" for one in page["saves"]]
        if "next" not in page:
            break
        following = f"&after={page['next']}"
    assert found == order
    for query in ("limit=0", "limit=1001", "limit=x", "after=x", "after=1.5_", "limit="):
        assert ann.code(ann.ask(f"/v1/saves?{query}")) == (400, "wrong_parameter")


def test_a_deleted_save_is_gone_with_its_bytes(kept: Kept, ann: SaveClient) -> None:
    save, other = ann.create(), ann.create("other")
    ann.push(save, ONE, TWO)
    manifest = ann.push(other, ONE)
    assert len(kept.objects(save)) == 3
    assert ann.ask(save, method="DELETE").status == 204
    for path in (save, f"{save}/manifest", f"{save}/chunks/{name_of(ONE)}"):
        assert ann.code(ann.ask(path)) == (404, "no_such_save")
    assert ann.code(ann.ask(save, method="DELETE")) == (404, "no_such_save")
    while kept.objects(save):
        # Others may have been cleaned before.
        ann.service.event("saves_cleaned")
    assert len(kept.objects(other)) == 2
    assert ann.ask(f"{other}/manifest").body == manifest


def test_pages_of_allowed_origins_may_use_saves(ann: SaveClient) -> None:
    save = ann.create()
    for path, methods in (
        ("/v1/saves", {"GET", "POST"}),
        (save, {"GET", "DELETE"}),
        (f"{save}/manifest", {"GET", "PUT"}),
        (f"{save}/chunks", {"POST"}),
        (f"{save}/chunks/{name_of(ONE)}", {"GET", "PUT"}),
        (f"{save}/generations/1", {"DELETE"}),
        (f"{save}/shares", {"POST", "DELETE"}),
    ):
        for method in methods:
            answer = ann.service.ask(
                path,
                {
                    "Origin": PAGE,
                    "Access-Control-Request-Method": method,
                    "Access-Control-Request-Headers": "authorization, content-type, if-match",
                },
                method="OPTIONS",
            )
            assert answer.status == 204
            assert answer.headers["access-control-allow-origin"] == PAGE
            allowed = answer.headers["access-control-allow-methods"]
            assert method in allowed.split(", ")
            fields = answer.headers["access-control-allow-headers"].lower().split(", ")
            assert {"authorization", "content-type", "if-match", "if-none-match"} <= {*fields}
    answer = ann.ask(f"{save}/manifest", Origin=PAGE)
    assert answer.status == 404
    exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
    assert {"etag", "retry-after"} <= {*exposed}


def test_it_is_off_by_default(serve: Callable[..., RunningService], tmp_path: Path) -> None:
    assert serve(tmp_path).ask("/v1/saves").status == 404
