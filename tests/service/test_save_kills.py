"""A save whose service is killed after any step of a push is its old generation or its new one.

Many kills: `./scripts/test --fuzz 300`.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.fuzz import fuzz, rounds

from .killed_uploads import KilledProgram
from .save_client import manifest_of, name_of
from .save_site import GENERATIONS, UNFINISHED_S, SaveSite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aero_browser_disk.service.saves.save_tables import Save

NUMBERS = itertools.count()
PROGRAM = str(Path(__file__).with_name("killed_saves.py"))
EVERY_STEP = 10_000


class Model:
    """What the owner of a save was told, and what must be there."""

    def __init__(self, site: SaveSite, killing: KilledProgram) -> None:
        self.site = site
        self.killing = killing
        self.save: Save = site.create()
        # Names of chunks by generation, of the kept ones; what a push under way has sent.
        self.kept: dict[int, set[str]] = {}
        self.etag: str | None = None

    def run(self, operation: str, steps: int, **asked: Any) -> bool:
        save = self.save.save_id
        return self.killing.run(operation=operation, save=save, steps=steps, **asked)

    def push(self, texts: list[str], steps: int) -> bool:
        """Returns whether it was killed. Without an acknowledgement either state is right."""
        chunks = [bytes.fromhex(text) * 2500 for text in texts]
        manifest = manifest_of(*chunks, device=f"push {next(NUMBERS)}")
        asked = {"chunks": texts, "manifest": manifest.decode()}
        killed = self.run("push", steps, **asked)
        self.expect(manifest, chunks, must=not killed)
        return killed

    def expect(self, manifest: bytes, chunks: list[bytes], *, must: bool) -> None:
        now = self.site.saves.find(self.save.save_id)
        assert now is not None
        switched = now.etag == name_of(manifest)
        assert switched or (not must and now.etag == self.etag)
        number = max(self.kept, default=0)
        if switched:
            number += 1
            self.kept[number] = {name_of(chunk) for chunk in chunks}
            self.kept = dict(sorted(self.kept.items())[-GENERATIONS:])
            self.etag = now.etag
        assert now.generation == number
        self.check()

    def check(self) -> None:
        """All that was acknowledged is there, whole."""
        assert self.site.chunks(self.save) == self.kept

    def end_of_days(self) -> None:
        """All that happens by itself, some day."""
        for _ in range(2):
            self.site.late_s += 2 * UNFINISHED_S
            self.site.saves.clean_up()
        self.site.late_s = 0
        self.check()
        manifests = {kept.etag for kept in self.site.saves.describe(self.save)[2]}
        expected = manifests.union(*self.kept.values())
        assert sorted(self.site.names(self.save)) == sorted(expected)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'saves.db'}"
    return request.getfixturevalue("postgres").database(f"save_kills{next(NUMBERS)}")


@pytest.fixture
def model(tmp_path: Path, database: str) -> Iterator[Model]:
    site = SaveSite(tmp_path / "saves", database)
    arguments = database, str(tmp_path / "saves"), str(GENERATIONS), str(UNFINISHED_S)
    with KilledProgram(PROGRAM, *arguments) as killing:
        yield Model(site, killing)
    site.close()


def texts(*numbers: int) -> list[str]:
    """What the program makes chunks of 5,000 bytes of."""
    return [f"{number:04x}" for number in numbers]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_at_every_step_of_a_push(model: Model) -> None:
    model.push(texts(1, 2), EVERY_STEP)
    for steps in itertools.count(1):
        if not model.push(texts(2, 1000 + steps), steps):
            break
        if steps % 5 == 0:
            model.end_of_days()
    assert steps > 12
    model.end_of_days()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_push_that_was_killed_is_repeated(model: Model) -> None:
    """With the same manifest, as a client does that got no response: it counts once."""
    for steps in itertools.count(1):
        before = max(model.kept, default=0)
        chunks = [bytes.fromhex(text) * 2500 for text in texts(2000 + steps)]
        manifest = manifest_of(*chunks, device=f"push {steps}")
        asked = {"chunks": texts(2000 + steps), "manifest": manifest.decode()}
        killed = model.run("push", steps, **asked)
        model.expect(manifest, chunks, must=not killed)
        if max(model.kept, default=0) == before:
            assert not model.run("push", EVERY_STEP, **asked)
            model.expect(manifest, chunks, must=True)
        else:
            # It was through: the same again changes nothing.
            assert not model.run("push", EVERY_STEP, **asked)
            model.check()
        assert max(model.kept) == before + 1
        if not killed:
            break
    assert steps > 8
    model.end_of_days()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("operation", ["clean_up", "remove_generation"])
def test_at_every_step_of_cleaning(model: Model, operation: str) -> None:
    for steps in itertools.count(1):
        for number in range(GENERATIONS):
            model.push(texts(10 * steps + number), EVERY_STEP)
        model.push(texts(3000 + steps), 6)
        asked: dict[str, Any] = {"late_s": 2 * UNFINISHED_S}
        if operation == "remove_generation":
            number = min(model.kept)
            del model.kept[number]
            asked["generation"] = number
            if not (killed := model.run(operation, steps, **asked)):
                break
            # Killed before the first step it had not begun, after it it was through.
            model.check()
        elif not (killed := model.run(operation, steps, **asked)):
            break
        model.end_of_days()
    assert steps > 3
    assert not killed
    model.end_of_days()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_at_every_step_of_deleting(model: Model) -> None:
    for steps in itertools.count(1):
        model.push(texts(1, 2), EVERY_STEP)
        model.push(texts(3), 5)
        killed = model.run("remove", steps)
        assert model.site.saves.find(model.save.save_id) is None
        if not killed:
            break
        model.site.late_s = 2 * UNFINISHED_S
        model.site.saves.clean_up()
        model.site.late_s = 0
        assert model.site.objects(model.save) == []
        model.save, model.kept, model.etag = model.site.create(), {}, None
    assert steps > 4


@fuzz
def test_random_kills_lose_no_acknowledged_push(model: Model) -> None:
    chance = random.Random(19)
    for _ in range(rounds(12)):
        numbers = chance.sample(range(8), chance.randint(0, 3))
        match chance.choice(("push", "push", "push", "clean", "days")):
            case "push":
                model.push(texts(*numbers), chance.choice((EVERY_STEP, *range(1, 28))))
            case "clean":
                late_s = chance.choice((0, 2 * UNFINISHED_S))
                model.run("clean_up", chance.randint(1, 12), late_s=late_s)
                model.check()
            case "days":
                model.end_of_days()
    model.end_of_days()
