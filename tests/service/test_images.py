"""Which files are images, what is said of them, and that nothing else can be reached."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from aero_browser_disk.service.cli import main
from aero_browser_disk.service.stores.manifest import ManifestError, parse_manifest
from lib.server_process import ServerError

from .conftest import RunningService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service for all that only ask."""
    with RunningService(make_folder(tmp_path_factory.mktemp("unchanged"))) as running:
        yield running


def make_folder(tmp_path: Path) -> Path:
    """A folder with two disks, beside a secret that it leads to in several ways."""
    (tmp_path / "secret.img").write_bytes(b"secret")
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.img").write_bytes(b"b" * 512)
    (folder / "A-1_0.img").write_bytes(b"A" * 1024)
    (folder / ".hidden").write_bytes(b"hidden")
    (folder / "sub" / "inner.img").write_bytes(b"i" * 2048)
    (folder / "inside.img").symlink_to("sub/inner.img")
    (folder / "outside.img").symlink_to(tmp_path / "secret.img")
    (folder / "climbing.img").symlink_to("../secret.img")
    (folder / "dangling.img").symlink_to("nowhere")
    (folder / "circle.img").symlink_to("circle.img")
    (folder / "out").symlink_to(tmp_path)
    (folder / "a b.img").write_bytes(b"not an id")
    os.mkfifo(folder / "pipe.img")
    return folder


def write_manifest(folder: Path, *images: dict[str, Any]) -> None:
    """As a careful operator does: nobody sees half of it."""
    (folder / "manifest.new").write_text(json.dumps({"images": images}))
    (folder / "manifest.new").replace(folder / "manifest.json")


def test_a_plain_folder(folder: Path, serve: Callable[..., RunningService]) -> None:
    service = serve(folder)
    images = service.ask("/v1/images").json["images"]
    assert [image["id"] for image in images] == ["A-1_0.img", "b.img", "inside.img"]
    for image in images:
        answer = service.ask(f"/disks/{image['id']}/bytes")
        assert answer.status == 200
        assert len(answer.body) == image["size_bytes"]
        assert answer.headers["etag"] == image["etag"]
        assert answer.headers["content-type"] == image["content_type"]
        assert service.ask(f"/v1/images/{image['id']}/meta").json == image
        assert image["public"] is True


@pytest.mark.parametrize(
    "image_id",
    [
        *("outside.img", "climbing.img", "dangling.img", "circle.img", "pipe.img", "sub", "out"),
        *(
            ".hidden",
            "nothing",
            "",
            ".",
            "..",
            "a%20b.img",
            "%2e%2e",
            "%00",
            "b.img%00",
            "b.img%0a",
        ),
        *("..%2fsecret.img", "%2e%2e%2fsecret.img", "sub%2finner.img", "out%2fsecret.img"),
        *("../secret.img", "sub/inner.img", "x" * 129, "x" * 300, "%C3%A9", "%FF", "b.img/"),
    ],
)
def test_nothing_else_can_be_reached(unchanged: RunningService, image_id: str) -> None:
    for path in (f"/disks/{image_id}/bytes", f"/v1/images/{image_id}/meta"):
        answer = unchanged.ask(path)
        assert answer.status == 404
        assert answer.json["error"]["code"] in ("no_such_image", "no_such_page")
    # And the service is well.
    assert unchanged.ask("/disks/b.img/bytes").status == 200


def test_a_link_that_is_turned_outside_while_serving(
    folder: Path, tmp_path: Path, serve: Callable[..., RunningService]
) -> None:
    service = serve(folder)
    assert service.ask("/disks/inside.img/bytes").status == 200
    (folder / "next").symlink_to(tmp_path / "secret.img")
    (folder / "next").replace(folder / "inside.img")
    assert service.ask("/disks/inside.img/bytes").status == 404


def test_an_entry_without_its_file_is_said(
    folder: Path,
    tmp_path: Path,
    serve: Callable[..., RunningService],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By check-config, in readiness, and in the log when somebody asks; to nobody else."""
    faults = {
        "gone": ("nothing.img", "No such file"),
        "out": ("outside.img", "outside the folder"),
        "pipe": ("pipe.img", "not a file"),
        "folder": ("sub", "not a file"),
    }
    entries = [{"id": name, "file": file, "public": True} for name, (file, _) in faults.items()]
    write_manifest(folder, {"id": "good", "file": "b.img", "public": True}, *entries)
    assert main(["check-config", "--images", str(folder)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    service = serve(folder)
    assert service.ask("/disks/good/bytes").status == 200
    for name, (_, reason) in faults.items():
        assert f"manifest.json: {name}: " in said.err
        assert reason in said.err
        for _ in range(3):
            answer = service.ask(f"/disks/{name}/bytes")
            assert (answer.status, answer.json["error"]["code"]) == (404, "no_such_image")
            assert reason not in answer.body.decode()
        line = service.event("image_unusable")
        assert line["id"] == name
        assert reason in line["reason"]
    assert service.ask("/disks/made-up/bytes").status == 404
    assert service.ask("/readyz").json == {"status": "ready", "unusable_images": 4}
    # Each is logged once, and what nobody named never.
    write_manifest(folder, {"id": "good", "file": "b.img", "public": True})
    assert service.ask("/readyz").json == {"status": "ready"}
    service.process.send_signal(signal.SIGTERM)
    service.process.wait(30)
    with pytest.raises(ServerError):
        service.event("image_unusable")
    assert main(["check-config", "--images", str(folder)]) == 0


def test_a_file_that_is_removed(folder: Path, serve: Callable[..., RunningService]) -> None:
    service = serve(folder)
    assert service.ask("/disks/b.img/bytes").status == 200
    (folder / "b.img").unlink()
    assert service.ask("/disks/b.img/bytes").status == 404
    (folder / "b.img").write_bytes(b"back")
    assert service.ask("/disks/b.img/bytes").body == b"back"


@pytest.mark.parametrize("path", ["/v1/images", "/v1/images/disk.img/meta"])
def test_metadata_is_revalidated(service: RunningService, path: str) -> None:
    answer = service.ask(path)
    etag = answer.headers["etag"]
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-type"] == "application/json"
    for method in ("GET", "HEAD"):
        same = service.ask(path, {"If-None-Match": etag}, method=method)
        assert (same.status, same.body) == (304, b"")
        assert (same.headers["etag"], same.headers["cache-control"]) == (etag, "no-cache")
        other = service.ask(path, {"If-None-Match": '"other"'}, method=method)
        assert other.status == 200
        assert other.headers["content-length"] == str(len(answer.body))


def test_metadata_changes_with_the_image(
    folder: Path, serve: Callable[..., RunningService]
) -> None:
    service = serve(folder)
    before = service.ask("/v1/images/b.img/meta")
    (folder / "b.img").write_bytes(bytes(4096))
    after = service.ask("/v1/images/b.img/meta", {"If-None-Match": before.headers["etag"]})
    assert (after.status, after.json["size_bytes"]) == (200, 4096)
    assert after.json["etag"] != before.json["etag"]


FULL = {
    "id": "win7",
    "file": "sub/inner.img",
    "name": "Windows 7 SP1",
    "description": "Clean install",
    "public": True,
    "etag": '"win7-sp1-x64-v1"',
    "last_modified": "2026-01-10T00:00:00Z",
    "recommended_chunk_size_bytes": 1048576,
    "content_type": "application/octet-stream",
}


def test_a_manifest(folder: Path, serve: Callable[..., RunningService]) -> None:
    write_manifest(folder, FULL, {"id": "mine", "file": "b.img", "public": False})
    service = serve(folder)
    expected = {name: value for name, value in FULL.items() if name != "file"}
    expected |= {"max_range_bytes": 8 << 20, "layout": "raw"}
    assert service.ask("/v1/images").json == {"images": [expected | {"size_bytes": 2048}]}
    assert service.ask("/v1/images/win7/meta").json == expected | {"size_bytes": 2048}
    answer = service.ask("/disks/win7/bytes")
    assert answer.body == b"i" * 2048
    assert answer.headers["etag"] == '"win7-sp1-x64-v1"'
    assert answer.headers["last-modified"] == "Sat, 10 Jan 2026 00:00:00 GMT"
    # Not named, or private: nobody may read it.
    for path in ("/disks/b.img/bytes", "/disks/manifest.json/bytes", "/disks/A-1_0.img/bytes"):
        assert service.ask(path).status == 404
    for path in ("/disks/mine/bytes", "/v1/images/mine/meta"):
        assert service.ask(path).json["error"]["code"] == "private_image"
        assert service.ask(path).status == 403


def test_a_manifest_that_leads_outside(folder: Path, serve: Callable[..., RunningService]) -> None:
    write_manifest(folder, {"id": "x", "file": "out/secret.img", "public": True}, FULL)
    service = serve(folder)
    assert service.ask("/disks/x/bytes").status == 404
    assert [image["id"] for image in service.ask("/v1/images").json["images"]] == ["win7"]


def test_a_manifest_is_read_again_and_a_wrong_one_is_not_used(
    folder: Path, serve: Callable[..., RunningService]
) -> None:
    write_manifest(folder, {"id": "one", "file": "b.img", "public": True})
    service = serve(folder)
    assert service.ask("/disks/one/bytes").status == 200
    write_manifest(folder, {"id": "two", "file": "b.img", "public": True})
    assert service.ask("/disks/two/bytes").status == 200
    assert service.ask("/disks/one/bytes").status == 404
    write_manifest(folder, {"id": "three", "file": "b.img", "public": "yes"})
    assert service.ask("/disks/two/bytes").status == 200
    assert 'images[0] ("three").public' in service.event("manifest_rejected")["reason"]
    # Without it every file would be public.
    (folder / "manifest.json").unlink()
    assert service.ask("/disks/b.img/bytes").status == 404
    assert service.ask("/disks/two/bytes").status == 200
    assert "gone" in service.event("manifest_rejected")["reason"]


def test_a_manifest_whose_date_was_set_back_counts(
    folder: Path, serve: Callable[..., RunningService]
) -> None:
    write_manifest(folder, {"id": "one", "file": "b.img", "public": True})
    service = serve(folder)
    assert service.ask("/disks/one/bytes").status == 200
    manifest = folder / "manifest.json"
    before = manifest.stat()
    manifest.write_text(manifest.read_text().replace('"one"', '"two"'))
    os.utime(manifest, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert service.ask("/disks/two/bytes").status == 200
    service.process.send_signal(signal.SIGHUP)
    service.event("reloaded")
    assert service.ask("/disks/two/bytes").status == 200


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": ".."}, "id must be"),
        ({"id": "a/b"}, "id must be"),
        ({"id": 7}, "id must be"),
        ({"file": "/etc/passwd"}, "file must be"),
        ({"file": "../x"}, "file must be"),
        ({"file": ""}, "file must be"),
        ({"file": "a\0"}, "file must be"),
        ({"file": "\ud800"}, "file must be"),
        ({"public": 1}, "public must be"),
        ({"etag": "v1"}, "etag must be"),
        ({"last_modified": "2026-01-10"}, "last_modified must be"),
        ({"last_modified": "1969-12-31T23:59:59Z"}, "last_modified must be"),
        ({"last_modified": 5}, "last_modified must be"),
        # ISO 8601, and no RFC 3339.
        ({"last_modified": "20260110T000000Z"}, "last_modified must be"),
        ({"last_modified": "2026-W02-6T00:00:00Z"}, "last_modified must be"),
        ({"last_modified": "2026-01-10 00:00:00Z"}, "last_modified must be"),
        ({"last_modified": "2026-01-10T00:00Z"}, "last_modified must be"),
        ({"last_modified": "2026-13-10T00:00:00Z"}, "last_modified must be"),
        ({"recommended_chunk_size_bytes": 1000}, "recommended_chunk_size_bytes must be"),
        ({"recommended_chunk_size_bytes": -512}, "recommended_chunk_size_bytes must be"),
        ({"content_type": "text\r\n/x"}, "content_type must be"),
        ({"name": None}, "name must be"),
        ({"colour": "red"}, "colour: there is no such field"),
    ],
)
def test_a_wrong_entry_is_named(change: dict[str, object], says: str) -> None:
    with pytest.raises(ManifestError) as error:
        parse_manifest(json.dumps({"images": [FULL, FULL | {"id": "second"} | change]}))
    assert "images[1]" in str(error.value)
    assert says in str(error.value)


@pytest.mark.parametrize("missing", ["id", "file", "public"])
def test_a_missing_field_is_named(missing: str) -> None:
    entry = {name: value for name, value in FULL.items() if name != missing}
    with pytest.raises(ManifestError, match=rf"images\[0\].*\.{missing} is missing"):
        parse_manifest(json.dumps({"images": [entry]}))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"images": {}}', '{"images": [1]}', "[" * 100_000], ids=range(6)
)
def test_what_is_no_manifest_is_said(text: str) -> None:
    with pytest.raises(ManifestError, match=r"manifest\.json"):
        parse_manifest(text)


def test_an_id_that_is_there_twice() -> None:
    with pytest.raises(ManifestError, match="there twice"):
        parse_manifest(json.dumps({"images": [FULL, FULL]}))
