"""`save`: what the guide shows, as it stands, and what is refused."""

from __future__ import annotations

import json
import shlex

import pytest

from aero_browser_disk import cpython_platform, open_disk
from aero_browser_disk.streaming.digest_list import digests_of
from support.readme import GUIDE, blocks
from support.saves import SaveService


@pytest.fixture
def service():
    with SaveService() as started:
        yield started


@pytest.fixture
async def written(cache, tmp_path, served):
    """The address of a disk with something in its overlay `work`."""
    platform = cpython_platform(cache, tmp_path / "data" / "aero-browser-disk")
    url = served.url("disk.img")
    async with open_disk(url, allow_remote=True, overlay="work", platform=platform) as disk:
        await disk.write(100_000, b"written")
    await platform.http.close()
    return url


@pytest.fixture
def said_by_guide(call):
    """Runs the guide's commands of one kind, with words replaced; returns what each printed."""

    async def run(kind, stand_for):
        texts = [b.text for b in blocks("sh") if b.page == GUIDE / "saves.md"]
        lines = [line for text in texts for line in text.splitlines() if f" {kind} " in line]
        said = []
        for line in lines:
            words = [stand_for.get(word, word) for word in shlex.split(line, comments=True)[1:]]
            status, out, err = await call(*words)
            assert (status, err) == (0, ""), line
            said.append(out.decode())
        return said

    return run


async def test_every_command_of_the_guide_does_what_it_says(call, said_by_guide, written, service):
    stand_for = {"SOURCE": written, "SERVER": service.url}
    said = await said_by_guide("save", stand_for)
    assert "generation 1, sent" in said[0]
    assert " mine " in said[1]
    assert service.url in said[3]
    assert not service.saves
    read = await call("read", written, "100000", "7", "--overlay", "copy", "-o", "-")
    assert read[1] == b"written"


async def test_results_are_json_for_programs(call, written, service):
    async def result(*words):
        status, out, err = await call("save", *words, "--json")
        assert (status, err) == (0, ""), out
        return json.loads(out)

    push = ("push", written, service.url, "--overlay", "work")
    first, again = await result(*push), await result(*push)
    assert (first["generation"], first["unchanged"], again["unchanged"]) == (1, False, True)
    (save,) = (await result("list", service.url))["saves"]
    assert (save["name"], save["generation"]) == ("work", 1)
    entry = await result("pull", written, service.url, save["id"], "copy", "--generation", "1")
    assert (entry["kind"], entry["name"]) == ("overlay", "copy")
    assert (await result("rm", service.url, "work"))["removed"] == "work"


async def test_what_is_refused_says_why(call, written, service):
    status, _, err = await call("save", "push", written, service.url)
    assert (status, "--overlay" in err) == (2, True)
    status, _, err = await call("save", "pull", written, service.url, "none", "copy")
    assert (status, "no save 'none'" in err) == (1, True)
    service.token = "secret"
    status, _, err = await call("save", "list", service.url)
    assert (status, "no token" in err) == (1, True)
    header = "Authorization: Bearer secret"
    assert (await call("save", "list", service.url, "--server-header", header))[0] == 0


async def test_what_the_guide_shows_of_a_new_version(
    call, said_by_guide, written, served, volume, cache, tmp_path
):
    """The overlay has all of the only chunk that the next version changes."""
    old = volume.read_bytes()
    new = bytearray(old)
    new[100_000:100_007] = b"changed"
    platform = cpython_platform(cache, tmp_path / "data" / "aero-browser-disk")
    async with open_disk(written, allow_remote=True, overlay="work", platform=platform) as disk:
        await disk.write(98_304, old[98_304 : 98_304 + 32_768])
        expected = await disk.read(0, len(old))
    await platform.http.close()
    served.image("disk.img").replace(bytes(new))
    for name, data in (("old.json", old), ("new.json", bytes(new))):
        (tmp_path / name).write_bytes(digests_of([data], 32_768).encode())
    stand_for = {"URL": written} | {n: str(tmp_path / n) for n in ("old.json", "new.json")}
    said = await said_by_guide("rebase", stand_for)
    assert "there are no digests" in said[0]
    assert "--to-image" in said[0]
    assert "work fits" in said[1]
    read = await call("read", "image:my machine", "0", str(len(old)), "-o", "-")
    assert read[1] == expected
    status, out, _ = await call("overlay", "rebase", written, "work")
    assert (status, out.decode()) == (0, "It fits the present version.\n")
    for wrong in (("image:my machine", "work"), (written, "work", "--overlay", "x")):
        assert (await call("overlay", "rebase", *wrong))[0] == 2


async def test_a_passphrase_comes_from_a_file(call, written, service, tmp_path):
    for name, text in (("right", "correct horse\nnot this\n"), ("wrong", "correct\n")):
        (tmp_path / name).write_text(text)
    given = ("--passphrase-file", str(tmp_path / "right"))
    push = ("save", "push", written, service.url, "--overlay", "work")
    assert (await call(*push, *given))[0] == 0
    assert (await call(*push))[0] == 1
    pull = ("save", "pull", written, service.url, "work")
    assert (await call(*pull, "copy", *given))[0] == 0
    wrong = await call(*pull, "none", "--passphrase-file", str(tmp_path / "wrong"))
    assert wrong[0] == 1
    assert "has another passphrase" in wrong[2]
