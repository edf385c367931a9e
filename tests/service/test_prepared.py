"""Prepared images: their disks for clients that know nothing, and their files for those that do."""

from __future__ import annotations

import asyncio
import hashlib
import json
from http.client import IncompleteRead
from typing import TYPE_CHECKING, Any

import pytest

from aero_browser_disk.errors import DamagedImageError
from aero_browser_disk.formats.prepared.chunk_codec import RAW
from aero_browser_disk.formats.prepared.manifest import Manifest
from aero_browser_disk.formats.prepared.stored_files import stored_file
from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.platform.cpython import cpython_platform
from aero_browser_disk.remote.image_catalog import fetch_catalog
from aero_browser_disk.service.access.signed_urls import SignedUrls
from aero_browser_disk.service.cli import main
from aero_browser_disk.service.stores.unpacked_chunks import UnpackedChunks
from aero_browser_disk.streaming.boot_profile import BootProfile
from aero_browser_disk.streaming.digest_list import DigestList, digests_of
from support.prepared import prepared_files

from .conftest import RunningService, put_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .object_server import Bucket

KIB = 1 << 10
CHUNK = 64 * KIB
# The third chunk is zeros; the second and the last are stored raw, since they do not shrink.
RAW_CHUNK, LAST = hashlib.shake_128(b"2").digest(CHUNK), hashlib.shake_128(b"4").digest(2997)
DISK = b"one " * (CHUNK // 4) + RAW_CHUNK + bytes(CHUNK) + LAST
BLOCKS = (4, 0, 1, 9)
FILES = prepared_files(DISK, CHUNK, BLOCKS)
MANIFEST = Manifest.decode(FILES["manifest.json"])
ENTRY = {"id": "disk", "file": "sub/manifest.json", "public": True, "layout": "prepared"}
BYTES, MANIFEST_URL, META = "/disks/disk/bytes", "/disks/disk/manifest.json", "/v1/images/disk/meta"
RAW_PATH = stored_file(RAW_CHUNK).path
SECRET, PAGE = "A" * 43, "https://app.example.com"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images")


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service for all that only ask."""
    images = make_folder(tmp_path_factory.mktemp("prepared") / "images")
    (images / RAW_PATH).parent.mkdir(parents=True)
    (images / RAW_PATH).write_bytes(RAW_CHUNK)
    options = ("--set", "server.keep_alive_s=3600", "--allow-origin", PAGE)
    with RunningService(images, *options) as running:
        yield running


def make_folder(images: Path) -> Path:
    """A folder with `DISK`, prepared, and a raw image beside it."""
    put_files(images / "sub", FILES)
    (images / "sub" / ".pack-index").write_bytes(b"for pack")
    (images / "raw.img").write_bytes(bytes(512))
    write_manifest(images, ENTRY, {"id": "raw", "file": "raw.img", "public": True})
    return images


def write_manifest(folder: Path, *entries: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps({"images": entries}))


def signed(folder: Path) -> tuple[str, ...]:
    """Options of a service that takes signed addresses, and whose image is private."""
    keys = folder.parent / "keys.toml"
    keys.write_text(f'current = "k"\n[keys]\nk = "{SECRET}"\n')
    write_manifest(folder, {**ENTRY, "public": False})
    setting = f"authorization.signing_keys_file={json.dumps(str(keys))}"
    return "--set", setting, "--set", "cors.allow_origins=[]"


# ── what is there ──


def test_the_catalog_names_it(unchanged: RunningService) -> None:
    packed, raw = unchanged.ask("/v1/images").json["images"]
    assert (raw["layout"], "prepared" in raw) == ("raw", False)
    assert (packed["layout"], packed["size_bytes"]) == ("prepared", len(DISK))
    assert packed["etag"] == f'"{MANIFEST.image_version.hex()}"'
    assert packed["prepared"] == {
        "manifest_url": MANIFEST_URL,
        "sector_size_bytes": 512,
        "chunk_size_bytes": CHUNK,
        "compression": "zstd",
        "boot_bundle": True,
        "signed": False,
    }
    assert unchanged.ask(META).json["prepared"] == packed["prepared"]
    answer = unchanged.ask(packed["prepared"]["manifest_url"])
    assert (answer.status, answer.body) == (200, FILES["manifest.json"])


def test_a_folder_without_a_list_has_them_too(
    folder: Path, serve: Callable[..., RunningService]
) -> None:
    (folder / "manifest.json").unlink()
    (folder / "site").mkdir()
    (folder / "site" / "manifest.json").write_text('{"name": "of something else"}')
    service = serve(folder)
    images = service.ask("/v1/images").json["images"]
    assert [image["id"] for image in images] == ["raw.img", "sub"]
    assert service.ask("/disks/sub/bytes", {"Range": "bytes=0-4095"}).body == DISK[:4096]
    assert service.ask("/disks/site/bytes").status == 404


def test_its_own_folder_is_refused_with_what_to_do(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-config", "--images", str(folder / "sub")]) == 2
    assert "serve the folder above it" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["manifest.json", "bytes"])
async def test_a_client_opens_what_the_catalog_says(
    unchanged: RunningService, tmp_path: Path, address: str
) -> None:
    platform = cpython_platform(tmp_path / "client")
    try:
        url = f"http://{unchanged.host}:{unchanged.port}"
        image, _ = await fetch_catalog(f"{url}/v1/images", platform.http, allow_remote=True)
        assert (image.url, image.size) == (f"{url}{MANIFEST_URL}", len(DISK))
        disk = await open_disk(f"{url}/disks/disk/{address}", allow_remote=True, platform=platform)
        async with disk:
            assert await disk.read(0, len(DISK)) == DISK
    finally:
        await platform.http.close()


def test_the_probe_knows_it(unchanged: RunningService, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (MANIFEST_URL, BYTES):
        url = f"http://{unchanged.host}:{unchanged.port}{path}"
        assert main(["probe", url, "--origin", PAGE]) == 0
        assert "FAILS" not in capsys.readouterr().out


# ── the disk ──


def test_zeros_cost_nothing(tmp_path: Path, serve: Callable[..., RunningService]) -> None:
    """A terabyte without a chunk: a page of its table, and no file is read for the zeros."""
    size = 1 << 40
    small = prepared_files(bytes(8 << 20), 8 << 20)
    document = json.loads(small["manifest.json"])
    pages = {path: data for path, data in small.items() if path.startswith("chunks/")}
    (root,) = pages.values()
    count = (size >> 23) // 8192
    # The root of a table of two levels: entries of zeros for pages that are not stored.
    page = root[:8] + bytes([1, 0, 0, 0]) + count.to_bytes(4, "little") + bytes(40 * count)
    file = stored_file(page)
    document["table"] = {
        "sha256": file.digest.hex(),
        "length": file.length,
        "page_entries": 8192,
    }
    document["size"] = size
    put_files(tmp_path / "zeros", {file.path: page, "manifest.json": json.dumps(document).encode()})
    service = serve(tmp_path)
    path = "/disks/zeros/bytes"
    assert service.ask(path, method="HEAD").headers["content-length"] == str(size)
    before = service.peak_bytes()
    for start in (0, size // 2 + 5, size - (4 << 20)):
        answer = service.ask(path, {"Range": f"bytes={start}-{start + (4 << 20) - 1}"})
        assert (answer.status, answer.body) == (206, bytes(4 << 20))
    assert service.ask(path, {"Range": f"bytes={size}-"}).status == 416
    assert service.peak_bytes() - before < 16 << 20


def test_a_damaged_chunk_never_is_wrong_bytes(
    folder: Path, serve: Callable[..., RunningService]
) -> None:
    service = serve(folder)
    etag = service.ask(BYTES, method="HEAD").headers["etag"]
    path = stored_file(LAST).path
    file = folder / "sub" / path
    file.write_bytes(b"x" + LAST[1:])
    # Nothing is sent yet: a response that says so.
    answer = service.ask(BYTES, {"Range": "bytes=-5"})
    assert (answer.status, answer.json["error"]["code"]) == (503, "store_failed")
    assert f"offset {3 * CHUNK} are damaged" in service.event("failed")["error"]
    assert service.ask(f"/disks/disk/{path}").status == 503
    # In mid-body: the connection ends, after right bytes only.
    connection = service.connect()
    connection.request("GET", BYTES)
    with connection.getresponse() as response, pytest.raises(IncompleteRead) as cut:
        response.read()
    connection.close()
    assert cut.value.partial == DISK[: 2 * CHUNK]
    # The rest of the disk is served, and it is all there once the chunk is.
    asked = {"Range": f"bytes=9-{3 * CHUNK - 1}"}
    assert service.ask(BYTES, asked).body == DISK[9 : 3 * CHUNK]
    file.unlink()
    assert service.ask(BYTES, {"Range": "bytes=-5"}).status == 503
    file.write_bytes(LAST)
    answer = service.ask(BYTES, {"If-Match": etag})
    assert (answer.status, answer.body) == (200, DISK)


def test_a_new_version_is_served_at_once(
    folder: Path, serve: Callable[..., RunningService]
) -> None:
    # Without a cache, so that all of it is read.
    service = serve(folder, "--set", "store.prepared_cache_bytes=0")
    for start in range(0, len(DISK), 20_011):
        assert service.ask(BYTES, {"Range": f"bytes={start}-"}).body == DISK[start:]
    before = service.ask(BYTES, {"Range": "bytes=0-9"}).headers["etag"]
    newer = b"new" + DISK[3:]
    put_files(folder / "sub", prepared_files(newer, CHUNK))
    answer = service.ask(BYTES, {"Range": "bytes=0-9", "If-Range": before})
    assert (answer.status, answer.body) == (200, newer)
    assert answer.headers["etag"] != before
    # The same disk, packed otherwise: what clients have of it stays good.
    put_files(folder / "sub", prepared_files(newer, CHUNK, level=None))
    assert service.ask(BYTES, {"If-None-Match": answer.headers["etag"]}).status == 304
    assert service.ask(MANIFEST_URL).json["compression"] == "zstd"


# ── the files ──


def test_every_file_is_served_for_ever(unchanged: RunningService) -> None:
    service = unchanged
    for path, data in FILES.items():
        for method in ("GET", "HEAD"):
            answer = service.ask(f"/disks/disk/{path}", method=method)
            assert (answer.status, answer.headers["content-length"]) == (200, str(len(data)))
            assert answer.body == (data if method == "GET" else b"")
        if path == "manifest.json":
            assert answer.headers["cache-control"] == "no-cache"
            assert answer.headers["content-type"] == "application/json"
        else:
            immutable = "public, max-age=31536000, immutable, no-transform"
            assert answer.headers["cache-control"] == immutable
            assert answer.headers["etag"] == f'"{path.rpartition("/")[2]}"'
        asked = {"If-None-Match": answer.headers["etag"]}
        current = service.ask(f"/disks/disk/{path}", asked)
        assert (current.status, current.body) == (304, b"")
        assert current.headers["cache-control"] == answer.headers["cache-control"]
        assert service.ask(f"/disks/disk/{path}", {"If-Match": '"x"'}).status == 412
    # The HEAD of the bytes, with which clients open an image, says that it has a boot profile.
    assert "boot-profile" in service.ask(BYTES, method="HEAD").headers["link"]


def test_nothing_else_is_reached(unchanged: RunningService) -> None:
    digest = RAW_PATH.rpartition("/")[2]
    assert unchanged.ask(f"/disks/disk/{RAW_PATH}").status == 200
    other = "0" * 64
    for path in (
        f"/disks/disk/chunks/00/{other}",
        f"/disks/disk/chunks/{'ff' if digest[:2] != 'ff' else '00'}/{digest}",
        f"/disks/disk/chunks/{digest[:2]}/{digest.upper()}",
        f"/disks/disk/chunks/{digest[:2]}/{digest}0",
        "/disks/disk/chunks/../manifest.json",
        "/disks/disk/chunks/..%2f../manifest.json",
        "/disks/disk/chunks/sub/.pack-index",
        "/disks/disk/.pack-index",
        # Beside a raw image they are not its files.
        f"/disks/raw/{RAW_PATH}",
        "/disks/raw/manifest.json",
        f"/disks/none/{RAW_PATH}",
        "/disks/none/manifest.json",
    ):
        answer = unchanged.ask(path)
        assert answer.status == 404, path
        assert answer.json["error"]["code"] in ("no_such_file", "no_such_image", "no_such_page")
    # Made-up names are not reported as images that lack their file.
    assert unchanged.ask("/readyz").json == {"status": "ready"}


def test_a_private_one_is_private_as_a_whole(
    folder: Path, serve: Callable[..., RunningService]
) -> None:
    options = signed(folder)
    proxies = ("--set", 'server.trusted_proxies=["127.0.0.0/8"]')
    readers = ("--set", 'authorization.proxy_identity.subjects={"CN=ann" = ["disk"]}')
    service = serve(folder, *options, *proxies, *readers)
    urls = SignedUrls(folder.parent / "keys.toml")
    good, _ = urls.sign("disk", 600, "bytes")
    other, _ = urls.sign("other", 600, "bytes")
    for path, data in {"bytes": DISK, **FILES}.items():
        assert service.ask(f"/disks/disk/{path}").status == 401
        assert service.ask(f"/disks/disk/{path}?{other}").status == 401
        answer = service.ask(f"/disks/disk/{path}?{good}")
        assert (answer.status, answer.body) == (200, data)
        assert answer.headers["cache-control"] == "private, no-store, no-transform"
    assert service.ask("/v1/images").json == {"images": []}
    # A lease is for the manifest and its files too.
    ann = {"X-Client-Subject": "CN=ann", "X-Client-Verify": "SUCCESS"}
    lease = service.ask("/v1/images/disk/lease", ann, method="POST", body=b"").json
    assert lease["manifest_url"].startswith(f"{MANIFEST_URL}?")
    assert service.ask(lease["manifest_url"]).body == FILES["manifest.json"]
    query = lease["manifest_url"].partition("?")[2]
    assert service.ask(f"/disks/disk/{RAW_PATH}?{query}").body == RAW_CHUNK


# ── what is wrong with one ──


def test_what_cannot_be_served_is_said(
    folder: Path, serve: Callable[..., RunningService], capsys: pytest.CaptureFixture[str]
) -> None:
    newer = FILES["manifest.json"].replace(b'"version": 1', b'"version": 2')
    reasons = {
        "other": (b'{"name": "of something else"}', "not the manifest"),
        "junk": (bytes(99), "not valid JSON"),
        "long": (b" " * (65 << 10), "at most 65,536 bytes"),
        "newer": (newer, "version 2"),
        "torn": (FILES["manifest.json"], "No such file"),
    }
    entries = []
    for name, (document, _) in reasons.items():
        put_files(folder / name, {"manifest.json": document})
        entries.append({**ENTRY, "id": name, "file": f"{name}/manifest.json"})
    write_manifest(folder, ENTRY, *entries)
    assert main(["check-config", "--images", str(folder)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(reasons)
    for line, (name, (_, reason)) in zip(said, reasons.items(), strict=True):
        assert line.startswith(f"aero-disk-service: manifest.json: {name}: ")
        assert reason in line
    service = serve(folder)
    assert service.ask("/readyz").json == {"status": "ready", "unusable_images": 5}
    for name, (_, reason) in reasons.items():
        line = service.event("image_unusable")
        assert line["id"] == name
        assert reason in line["reason"]
        # Without its table it is an image that cannot be read.
        status = 503 if name == "torn" else 404
        assert service.ask(f"/disks/{name}/bytes").status == status
        put_files(folder / name, FILES)
        assert service.ask(f"/disks/{name}/bytes").body == DISK
    assert service.ask("/readyz").json == {"status": "ready"}
    assert main(["check-config", "--images", str(folder)]) == 0


# ── its digest list and boot profile ──


def test_the_boot_bundle_is_a_boot_profile(
    folder: Path, serve: Callable[..., RunningService]
) -> None:
    service = serve(folder)
    answer = service.ask("/v1/images/disk/boot-profile")
    profile = BootProfile.decode(answer.body)
    assert (profile.size, profile.block_size, profile.blocks) == (len(DISK), 16 * KIB, BLOCKS)
    meta = service.ask(META).json
    assert profile.validator == meta["etag"]
    assert meta["boot_profile"]["sha256"] == hashlib.sha256(answer.body).hexdigest()
    unchanged = {"If-None-Match": answer.headers["etag"]}
    assert service.ask("/v1/images/disk/boot-profile", unchanged).status == 304
    # One that somebody wrote goes before it.
    own = BootProfile(len(DISK), meta["etag"], 4096, (1, 2))
    (folder / "sub" / "manifest.json.boot-profile").write_bytes(own.encode())
    assert BootProfile.decode(service.ask("/v1/images/disk/boot-profile").body) == own
    # Without a bundle there is none.
    (folder / "sub" / "manifest.json.boot-profile").unlink()
    put_files(folder / "sub", prepared_files(DISK, CHUNK))
    assert service.ask("/v1/images/disk/boot-profile").status == 404
    assert "boot_profile" not in service.ask(META).json


def test_a_digest_list_is_of_its_disk(
    folder: Path, serve: Callable[..., RunningService], capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = str(folder / "sub" / "manifest.json")
    assert main(["digest", manifest]) == 0
    service = serve(folder)
    digests = DigestList.decode(service.ask("/v1/images/disk/digests").body)
    assert digests == digests_of([DISK])
    assert "digests" in service.ask(META).json
    (folder / "sub" / RAW_PATH).unlink()
    assert main(["digest", manifest]) == 2
    assert "No such file" in capsys.readouterr().err


# ── in a bucket ──


def test_one_in_a_bucket(bucket: Bucket, serve: Callable[..., RunningService]) -> None:
    bucket.put("manifest.json", json.dumps({"images": [ENTRY]}).encode())
    for path, data in FILES.items():
        bucket.put(f"sub/{path}", data)
    service = serve(None, *bucket.options)
    assert service.ask(BYTES).body == DISK
    for start in (0, CHUNK - 7, 2 * CHUNK - 5):
        answer = service.ask(BYTES, {"Range": f"bytes={start}-{start + 10}"})
        assert (answer.status, answer.body) == (206, DISK[start : start + 11])
    for path, data in FILES.items():
        assert service.ask(f"/disks/disk/{path}").body == data
    assert "boot_profile" in service.ask(META).json
    bucket.put(f"sub/{RAW_PATH}", bytes(CHUNK))
    assert service.ask(f"/disks/disk/{RAW_PATH}").status == 503


# ── memory ──


async def test_a_chunk_is_loaded_once_for_all_who_wait() -> None:
    unpacked = UnpackedChunks(max_bytes=150)
    release, loads = asyncio.Event(), []

    def loading(number: int) -> Callable[[], Any]:
        async def load() -> bytes:
            loads.append(number)
            await release.wait()
            return bytes([number]) * 100

        return load

    def get(number: int) -> asyncio.Task[bytes]:
        key = (RAW, stored_file(bytes([number])), 100)
        return asyncio.create_task(unpacked.get(key, 8 << 20, loading(number)))

    first, second = get(1), get(1)
    others = [get(number) for number in range(2, 9)]
    for _ in range(5):
        await asyncio.sleep(0)
    # As many large chunks at a time as there is memory for, whoever waits.
    assert loads == [1, 2, 3, 4]
    first.cancel()
    release.set()
    assert await second == b"\1" * 100
    assert [await other for other in others] == [bytes([n]) * 100 for n in range(2, 9)]
    assert loads == [*range(1, 9)]
    # The last one is cached; two are too many.
    assert await get(8) == b"\x08" * 100
    assert len(loads) == 8
    await get(1)
    await get(8)
    assert loads[8:] == [1, 8]
    with pytest.raises(DamagedImageError):
        await unpacked.get((RAW, stored_file(b"?"), 99), 4096, loading(9))
    unpacked.close()
    unpacked.close()
