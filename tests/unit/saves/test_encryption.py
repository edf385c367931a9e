"""Encrypted saves: nothing of the content reaches the server, and a wrong key is an error."""

from __future__ import annotations

import hashlib
import json
import os
import random

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.errors import (
    DamagedSaveError,
    EncryptionUnavailableError,
    InvalidOptionError,
    SaveKeyError,
    UnreadableSaveError,
)
from aero_browser_disk.library.library import Library
from aero_browser_disk.platform import encryption as platform_encryption
from aero_browser_disk.platform.cipher import WrongKeyError
from aero_browser_disk.saves import SaveServer, encryption
from aero_browser_disk.saves.encryption import Encryption
from support.saves import SaveService, etag_of

KEY = bytes(range(32))
TEXT = b"a secret that nobody else may see. " * 300
SECRETS = [{"passphrase": "correct horse"}, {"key": KEY}]


@pytest.fixture(autouse=True)
def few_iterations(monkeypatch):
    monkeypatch.setattr(encryption, "ITERATIONS", encryption.MIN_ITERATIONS)


@pytest.fixture
def service():
    with SaveService() as started:
        yield started


@pytest.fixture
def opened(server, platform):
    async def open_one(overlay="work"):
        url = server.url("disk.img")
        return await open_disk(url, overlay=overlay, allow_remote=True, platform=platform)

    return open_one


@pytest.fixture
def saves(service, platform):
    async def open_one(**options):
        return await SaveServer.open(service.url, allow_remote=True, platform=platform, **options)

    return open_one


@pytest.fixture(params=SECRETS, ids=lambda secret: next(iter(secret)))
async def secret(request, opened, saves):
    """A save of two generations, encrypted with this."""
    async with await opened() as disk, await saves(**request.param) as there:
        await disk.write(0, TEXT)
        await disk.write(300_000, random.Random(1).randbytes(300_000))
        await there.push(disk)
        await disk.write(4096, b"more")
        await there.push(disk)
    return request.param


async def test_what_was_encrypted_is_pulled_and_read_in_place(
    server, service, opened, saves, secret
):
    async with await saves(**secret) as there:
        await there.pull("work", "copy", url=server.url("disk.img"))
        layer = await there.open_disk("work", await opened(None))
        async with layer, await opened("copy") as copy, await opened() as disk:
            expected = await disk.read(0, disk.info.size)
            assert await copy.read(0, disk.info.size) == expected
            assert await layer.read(0, disk.info.size) == expected
            await copy.write(9000, b"the copy goes on")
            assert (await there.push(copy, "work")).generation == 3


async def test_the_server_sees_nothing_of_the_content(service, opened, saves, secret):
    save = service.only
    stored = b"".join([*save.chunks.values(), *save.manifests])
    assert b"secret" not in stored
    manifest = json.loads(save.manifests[-1])
    assert manifest["encryption"]["algorithm"] == "AES-256-GCM"
    # The same content again, with the same key: no name and no digest is the same.
    async with await opened() as disk, await saves(**secret) as there:
        await there.push(disk, "again")
    other = next(one for one in service.saves.values() if one is not save)
    assert not save.chunks.keys() & other.chunks.keys()
    assert json.loads(other.manifests[-1])["digest"] != manifest["digest"]


@pytest.mark.parametrize(
    "wrong",
    [{}, {"passphrase": "wrong"}, {"key": bytes(32)}, {"passphrase": "correct horse "}],
    ids=str,
)
async def test_a_wrong_key_is_an_error_by_itself(
    server, service, opened, saves, secret, wrong, platform
):
    generations = len(service.only.manifests)
    async with await saves(**wrong) as there, await opened() as disk:
        await disk.write(0, b"changed")
        with pytest.raises(SaveKeyError, match="work"):
            await there.push(disk)
        with pytest.raises(SaveKeyError):
            await there.pull("work", "copy", url=server.url("disk.img"))
        with pytest.raises(SaveKeyError):
            await there.open_disk("work", await opened(None))
    assert len(service.only.manifests) == generations
    assert [e.name for e in await Library(platform).list() if e.kind == "overlay"] == ["work"]


async def test_a_save_that_is_not_encrypted_is_not_taken_for_one(server, service, opened, saves):
    async with await opened() as disk, await saves() as there:
        await disk.write(0, TEXT)
        await there.push(disk)
    async with await opened() as disk, await saves(passphrase="x") as there:
        with pytest.raises(SaveKeyError, match="not encrypted"):
            await there.push(disk)
        with pytest.raises(SaveKeyError, match="not encrypted"):
            await there.pull("work", "copy", url=server.url("disk.img"))
        assert (await there.push(disk, "encrypted")).generation == 1
    assert len(service.saves) == 2


async def test_nothing_that_a_push_sent_in_the_clear_gets_into_an_encrypted_save(
    service, opened, saves
):
    """A push without a passphrase broke off before its manifest; the next one has a passphrase."""
    async with await opened() as disk:
        await disk.write(0, random.Random(2).randbytes(600_000))
        async with await saves() as there:
            save = await there.attach(disk)
            service.faults.extend([("PUT", "ok"), *[("PUT", "503")] * 50])
            with pytest.raises(Exception, match="status 503"):
                await save.push()
            save.close()
        service.faults.clear()
        clear = set(service.only.chunks)
        assert clear
        async with await saves(passphrase="x") as there:
            await there.push(disk)
    named = {one["sha256"] for one in json.loads(service.only.manifests[-1])["chunks"]}
    assert not named & clear


async def test_chunks_that_changed_places_are_an_error(server, service, opened, saves, secret):
    """A server cannot make another disk of the same chunks."""
    save = service.only
    manifest = json.loads(save.manifests[-1])
    manifest["chunks"].reverse()
    save.manifests[-1] = json.dumps(manifest).encode()
    async with await saves(**secret) as there:
        with pytest.raises(DamagedSaveError, match="not encrypted with this key"):
            await there.open_disk("work", await opened(None))


async def test_damage_is_an_error(server, service, opened, saves, secret):
    save = service.only
    manifest = json.loads(save.manifests[-1])
    chunk = manifest["chunks"][0]
    changed = os.urandom(chunk["length"])
    name = hashlib.sha256(changed).hexdigest()
    save.chunks[name] = changed
    text = save.manifests[-1].replace(chunk["sha256"].encode(), name.encode())
    save.manifests[-1] = text
    assert etag_of(text)
    async with await saves(**secret) as there:
        with pytest.raises(DamagedSaveError):
            await there.pull("work", "copy", url=server.url("disk.img"))


def document(**changes):
    return {**Encryption(bytes(60), bytes(16), 600_000).document(), **changes}


def test_what_a_manifest_says_is_read_as_it_was_written():
    for made in (Encryption(bytes(60), bytes(16), 600_000), Encryption(bytes(60))):
        assert Encryption.read(made.document(), "work") == made


@pytest.mark.parametrize(
    "wrong",
    [
        7,
        document(check=""),
        document(check="no base64!"),
        document(salt="AAAA"),
        document(iterations=1),
        document(iterations=1 << 40),
        document(iterations=True),
        document(iterations=None),
    ],
    ids=str,
)
def test_a_hostile_description_is_an_error(wrong):
    with pytest.raises(ValueError, match=r"encrypt|derived"):
        Encryption.read(wrong, "work")


@pytest.mark.parametrize("later", [{"algorithm": "ROT13"}, {"kdf": "scrypt"}], ids=str)
def test_another_way_of_encryption_says_so(later):
    with pytest.raises(UnreadableSaveError, match="newer release"):
        Encryption.read(document(**later), "work")


@pytest.mark.parametrize("key", [b"short", "text", bytes(33), 7], ids=str)
async def test_what_is_no_key_is_refused(service, opened, saves, key):
    async with await opened() as disk, await saves(key=key) as there:
        with pytest.raises(InvalidOptionError, match="32 bytes"):
            await there.push(disk)


async def test_a_passphrase_and_a_key_are_refused(saves):
    for options in ({"passphrase": "x", "key": KEY}, {"passphrase": ""}):
        with pytest.raises(InvalidOptionError):
            await saves(**options)


async def test_the_same_passphrase_in_another_form_of_unicode_fits():
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    one = await platform_encryption.derived_cipher(composed, bytes(16), 1000)
    two = await platform_encryption.derived_cipher(decomposed, bytes(16), 1000)
    assert await two.decrypt(await one.encrypt(b"x", b"a"), b"a") == b"x"
    with pytest.raises(WrongKeyError):
        await two.decrypt(await one.encrypt(b"x", b"a"), b"b")
    with pytest.raises(WrongKeyError):
        await two.decrypt(b"short", b"a")


async def test_without_the_extra_its_name_is_said(monkeypatch):
    monkeypatch.setitem(
        __import__("sys").modules, "cryptography.hazmat.primitives.ciphers.aead", None
    )
    with pytest.raises(EncryptionUnavailableError, match=r"aero-browser-disk\[encryption\]"):
        await platform_encryption.cipher_of(KEY)
