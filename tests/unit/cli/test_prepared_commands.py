"""`aero-disk pack`, `verify`, `unpack` and `prune`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from aero_browser_disk.streaming.boot_profile import BootProfile
from aero_browser_disk.testing.behaviour import Behaviour


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    return tmp_path / "prepared"


def test_an_image_is_packed_checked_and_unpacked(result, volume, prepared, tmp_path):
    made = result("pack", volume, "-o", prepared, "--level", "3")
    assert made["size"] == volume.stat().st_size
    manifest = prepared / "manifest.json"
    assert result("verify", manifest) == {
        "chunks": json.loads(manifest.read_bytes())["stored"]["chunks"],
        "wrong": [],
        "is_whole": True,
    }
    result("unpack", manifest, tmp_path / "back.img")
    assert (tmp_path / "back.img").read_bytes() == volume.read_bytes()
    assert (tmp_path / "back.img").stat().st_blocks * 512 < volume.stat().st_size, "it has holes"
    again = result("pack", manifest, "-o", tmp_path / "again", "--level", "3")
    assert again["image_version"] == made["image_version"], "a prepared image can be packed too"


def test_a_remote_image_is_packed(result, served, volume, prepared, tmp_path):
    result("pack", served.url("disk.img"), "-o", prepared, "--level", "3")
    result("unpack", prepared / "manifest.json", tmp_path / "back.img")
    assert (tmp_path / "back.img").read_bytes() == volume.read_bytes()


def test_one_on_a_server_is_checked(run, result, served, volume, prepared, tmp_path):
    made = result("pack", volume, "-o", prepared, "--level", "3", "--sector-size", "2048")
    for path in prepared.rglob("*"):
        if path.is_file():
            served.add(path.relative_to(prepared).as_posix(), path.read_bytes())
    url = served.url("manifest.json")
    served.forget()
    whole = {"chunks": made["stored_chunks"], "wrong": [], "is_whole": True}
    assert result("verify", url) == whole
    assert len(served.requests) > made["stored_chunks"]
    # From the server each time, whatever is cached: the disk there is what is checked.
    result("prefetch", url)
    (some,) = [path for path in prepared.glob("chunks/*/*") if path.read_bytes()[:4] != b"AERO"][:1]
    name = some.relative_to(prepared).as_posix()
    served.image(name).replace(b"x" + some.read_bytes()[1:])
    status, out, _ = run("verify", url, "--json")
    assert (status, json.loads(out)["wrong"]) == (1, [name])
    served.image(name).behaviour = Behaviour(status=404)
    status, out, _ = run("verify", url, "--json")
    assert (status, json.loads(out)["wrong"]) == (1, [name])
    assert result("info", url)["sector_size"] == 2048
    assert result("info", prepared / "manifest.json")["sector_size"] == 2048
    assert run("verify", served.url("nothing.json"))[0] == 1


def test_a_damaged_image_is_told(run, result, volume, prepared):
    result("pack", volume, "-o", prepared, "--store")
    next(path for path in (prepared / "chunks").rglob("*") if path.is_file()).write_bytes(b"x")
    status, out, _ = run("verify", prepared / "manifest.json")
    assert status == 1, out


def test_signed_and_with_a_boot_bundle(run, result, volume, prepared, tmp_path):
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    profile = BootProfile(volume.stat().st_size, '"v"', 65536, (1, 0))
    (tmp_path / "profile").write_bytes(profile.encode())
    (tmp_path / "trace").write_text("65536 65536\n0 65536\n")
    common = ("pack", volume, "-o", prepared, "--sign", tmp_path / "key.pem", "--level", "3")
    by_profile = result(*common, "--profile", tmp_path / "profile")
    document = json.loads((prepared / "manifest.json").read_bytes())
    by_trace = result(*common, "--boot", tmp_path / "trace")
    assert by_profile["signed"]
    assert by_trace["bytes_written"] == 0, "the same blocks in the same order"
    assert document == json.loads((prepared / "manifest.json").read_bytes())
    public = key.public_key().public_bytes_raw().hex()
    result("verify", prepared / "manifest.json", "--digests-key", public)
    status, _, err = run("verify", prepared / "manifest.json", "--digests-key", "00" * 32)
    assert (status, "not signed" in err) == (1, True)


def test_pruning_says_what_it_would_do_first(result, volume, prepared, tmp_path):
    result("pack", volume, "-o", prepared, "--level", "3")
    changed = tmp_path / "changed.img"
    changed.write_bytes(b"changed" + volume.read_bytes()[7:])
    common = ("pack", changed, "-o", prepared, "--level", "3", "--prune")
    planned = result(*common, "--dry-run")["pruned"]
    assert planned["dry_run"]
    assert len(planned["files"]) == 2, "the old first chunk, and the page that named it"
    assert all((prepared / name).exists() for name in planned["files"])
    assert result("prune", prepared)["files"] == planned["files"]
    assert not any((prepared / name).exists() for name in planned["files"])
    assert result("verify", prepared / "manifest.json")["is_whole"]


def test_what_cannot_be_meant_is_refused(run, volume, prepared, tmp_path):
    assert run("pack", volume, "-o", prepared, "--dry-run")[0] == 2
    assert run("pack", volume, "-o", prepared, "--chunk-size", "5000")[0] == 2
    (tmp_path / "no.pem").write_text("no key")
    assert run("pack", volume, "-o", prepared, "--sign", tmp_path / "no.pem")[0] == 2
    assert run("prune", tmp_path)[0] == 1
