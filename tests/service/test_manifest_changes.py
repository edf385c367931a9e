"""A manifest that is sent as what changed since the one before."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import Answer, RunningService
from .save_client import SaveClient, etag_of, manifest_of, name_of, save_options

if TYPE_CHECKING:
    from collections.abc import Iterator

RANDOM = random.Random(20)
ONE, TWO = RANDOM.randbytes(5000), RANDOM.randbytes(5000)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("saves")
    (folder / "images").mkdir()
    with RunningService(folder / "images", *save_options(folder)) as running:
        yield running


@pytest.fixture
def ann(service: RunningService) -> SaveClient:
    return SaveClient(service)


@pytest.fixture
def save(ann: SaveClient, request: pytest.FixtureRequest) -> str:
    return ann.create(request.node.name)


def change_of(before: bytes, after: bytes) -> dict[str, Any]:
    """What both begin with is not sent."""
    same = next(n for n in range(len(after)) if before[: n + 1] != after[: n + 1])
    return {"sha256": name_of(after), "parts": [[0, same], after[same:].decode()]}


def post(ann: SaveClient, save: str, change: object, before: bytes, **more: Any) -> Answer:
    return ann.ask(f"{save}/manifest", change, If_Match=etag_of(before), **more)


def test_what_changed_makes_the_next_generation(ann: SaveClient, save: str) -> None:
    first = ann.push(save, ONE)
    ann.send(save, TWO)
    second = manifest_of(ONE, TWO, device="another")
    answer = post(ann, save, change_of(first, second), first)
    assert (answer.status, answer.headers["etag"]) == (200, etag_of(second))
    assert (answer.json["generation"], answer.json["device"]) == (2, "another")
    assert ann.ask(f"{save}/manifest").body == second
    # Its response was lost: the same again counts once.
    answer = post(ann, save, change_of(first, second), first)
    assert (answer.status, answer.json["generation"]) == (200, 2)


def test_it_follows_only_the_current_generation(ann: SaveClient, save: str) -> None:
    first = ann.push(save, ONE)
    second = ann.push(save, ONE, before=first, device="faster")
    late = change_of(first, manifest_of(ONE, device="late"))
    answer = post(ann, save, late, first)
    assert ann.code(answer) == (412, "precondition_failed")
    assert answer.json["error"]["save"]["device"] == "faster"
    assert ann.ask(f"{save}/manifest").body == second
    assert ann.code(ann.ask(f"{save}/manifest", late)) == (428, "precondition_required")


def test_a_save_without_a_generation_has_nothing_to_change(ann: SaveClient, save: str) -> None:
    change = {"sha256": name_of(b"x"), "parts": ["x"]}
    answer = ann.ask(f"{save}/manifest", change, If_None_Match="*")
    assert ann.code(answer) == (412, "precondition_failed")


def test_its_chunks_must_be_stored(ann: SaveClient, save: str) -> None:
    first = ann.push(save, ONE)
    change = change_of(first, manifest_of(ONE, TWO))
    answer = post(ann, save, change, first)
    assert ann.code(answer) == (409, "missing_chunks")
    assert answer.json["error"]["missing"] == [name_of(TWO)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sha256": "0" * 64, "parts": ["{}"]}, "wrong_manifest"),
        ({"sha256": name_of(b"{}"), "parts": ["{}"]}, "wrong_manifest"),
        ({"sha256": "0" * 64, "parts": [[0, 9_000]]}, "wrong_manifest"),
        ({"sha256": "0" * 64, "parts": ["x" * 1000] * 9 + [[0, 2000]] * 4}, "wrong_manifest"),
        ({"sha256": "0" * 64, "parts": [[0, 300]] * 4097}, "wrong_body"),
        ({"sha256": "0" * 64, "parts": [[-1, 3]]}, "wrong_body"),
        ({"sha256": "0" * 64, "parts": [[1]]}, "wrong_body"),
        ({"sha256": "0" * 64, "parts": [True]}, "wrong_body"),
        ({"sha256": "0" * 64}, "wrong_body"),
        ({"sha256": "0" * 64, "parts": [], "more": 1}, "wrong_body"),
        (b"no JSON", "wrong_body"),
    ],
)
def test_a_wrong_change_changes_nothing(
    ann: SaveClient, save: str, change: object, code: str
) -> None:
    first = ann.push(save, ONE)
    assert ann.code(post(ann, save, change, first)) == (400, code)
    assert ann.ask(f"{save}/manifest").body == first


def test_it_makes_no_more_than_a_manifest_may_have(ann: SaveClient, save: str) -> None:
    first = ann.push(save, ONE, map="A" * (1 << 20))
    change = {"sha256": "0" * 64, "parts": [[0, 1 << 20]] * 4096}
    answer = post(ann, save, change, first)
    assert ann.code(answer) == (400, "wrong_manifest")
    assert "8388608" in answer.json["error"]["message"]
    long = b'{"sha256": "%s", "parts": ["%s"]}' % (b"0" * 64, b"x" * (1 << 20))
    assert ann.code(post(ann, save, long, first)) == (413, "body_too_long")


def test_it_needs_the_right_to_write(service: RunningService, ann: SaveClient, save: str) -> None:
    first = ann.push(save, ONE)
    change = change_of(first, manifest_of(ONE, device="another"))
    for scope in ("disk:read", "disk:share", "disk:delete"):
        assert post(ann, save, change, first, scope=scope).status == 403
    assert post(SaveClient(service, "bob"), save, change, first).status == 404
    assert post(SaveClient(service, None), save, change, first).status == 401
    assert ann.ask(f"{save}/manifest").body == first
