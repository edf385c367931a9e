"""Where CPython keeps a user's files, and what an earlier version left in the wrong place."""

from __future__ import annotations

import errno
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import platformdirs.macos
import platformdirs.unix
import pytest

from aero_browser_disk import Library, cpython_platform, current_platform
from aero_browser_disk.platform import user_folders
from aero_browser_disk.records.record import IMAGES, OVERLAYS

MIB = 1 << 20


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return user_folders.cache_folder(), user_folders.data_folder()


async def make_old(cache: Path) -> None:
    """An image and an overlay over it, where version 0.1.0 kept them."""
    old = cpython_platform(cache)
    async with Library.open(old) as library:
        await library.create("work", MIB)
        async with library.open_image("work") as disk:
            await disk.write(0, b"base")
        async with library.open_image("work", ["changes"]) as disk:
            await disk.write(512, b"mine")
    await old.http.close()


async def contents() -> bytes:
    platform = await current_platform()
    async with Library.open(platform) as library, library.open_image("work", ["changes"]) as disk:
        data = await disk.read(0, 516)
    await platform.http.close()
    return data


def test_what_lasts_is_what_the_library_keeps():
    assert set(user_folders.LASTING) == {IMAGES, OVERLAYS}


@pytest.mark.skipif(sys.platform != "linux", reason="the rules of XDG")
@pytest.mark.parametrize("given", [None, "", "not/absolute"])
def test_without_usable_variables_the_specifications_defaults_count(given, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        if given is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, given)
    assert user_folders.cache_folder() == tmp_path / ".cache" / "aero-browser-disk"
    assert user_folders.data_folder() == tmp_path / ".local" / "share" / "aero-browser-disk"


@pytest.fixture
def on(monkeypatch, tmp_path):
    """Makes the rules those of another system, with a home and no variables set."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)

    def switch(system: str) -> None:
        monkeypatch.setattr(user_folders, "sys", SimpleNamespace(platform=system))

    return switch


SYSTEMS = {"darwin": platformdirs.macos.MacOS, "linux": platformdirs.unix.Unix}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("is_set", [False, True])
def test_the_rules_are_those_of_platformdirs(on, system, is_set, tmp_path, monkeypatch):
    on(system)
    if is_set:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    theirs = SYSTEMS[system]("aero-browser-disk", appauthor=False)
    assert user_folders.cache_folder() == Path(theirs.user_cache_dir)
    assert user_folders.data_folder() == Path(theirs.user_data_dir)
    assert is_set == (user_folders.data_folder() == tmp_path / "data" / "aero-browser-disk")


def test_on_windows_both_are_in_the_local_folder(on, tmp_path, monkeypatch):
    on("win32")
    local = tmp_path / "AppData" / "Local" / "aero-browser-disk"
    assert (user_folders.cache_folder(), user_folders.data_folder()) == (local / "Cache", local)
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "elsewhere"))
    assert user_folders.data_folder() == tmp_path / "elsewhere" / "aero-browser-disk"
    # Variables of other systems do not count here, as platformdirs has it.
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert user_folders.data_folder() == tmp_path / "elsewhere" / "aero-browser-disk"


@pytest.mark.parametrize("system", ["darwin", "win32"])
async def test_what_version_0_1_0_kept_is_found_on_every_system(on, system, tmp_path):
    on(system)
    await make_old(tmp_path / ".cache" / "aero-browser-disk")  # where it was on all of them
    assert await contents() == b"base" + bytes(508) + b"mine"
    assert list((user_folders.data_folder() / "images").iterdir())
    assert not list((tmp_path / ".cache").rglob("images/*"))
    assert await contents() == b"base" + bytes(508) + b"mine"


async def test_images_are_kept_among_the_users_data(folders):
    cache, data = folders
    platform = await current_platform()
    async with Library.open(platform) as library:
        await library.create("work", MIB)
    await platform.http.close()
    assert list((data / "images").iterdir())
    assert not (cache / "images").exists()


@pytest.mark.parametrize("rename_works", [True, False], ids=["same device", "another device"])
async def test_what_an_earlier_version_kept_moves_once(folders, rename_works, monkeypatch, caplog):
    cache, _ = folders
    await make_old(cache)
    if not rename_works:
        rename = Path.rename

        def refuse(self, target):
            if self.is_relative_to(cache):
                raise OSError(errno.EXDEV, "another device")
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", refuse)
    with caplog.at_level(logging.WARNING):
        first = await contents()
    assert first[:4] == b"base"
    assert first[512:] == b"mine"
    assert not (cache / "images").exists()
    assert not (cache / "overlays").exists()
    assert ["2 local images and overlays moved" in r.message for r in caplog.records] == [True]
    caplog.clear()
    assert await contents() == first
    assert not caplog.records


async def test_an_image_that_is_open_stays_and_moves_later(folders):
    cache, _ = folders
    await make_old(cache)
    old = cpython_platform(cache)
    async with Library.open(old) as library, library.open_image("work", ["changes"]):
        before = await current_platform()
        await before.http.close()
        assert (cache / "images").exists()
        assert (cache / "overlays").exists()
    await old.http.close()
    assert (await contents())[512:] == b"mine"
    assert not (cache / "overlays").exists()


async def test_nothing_is_moved_over_what_is_there(folders):
    cache, data = folders
    await make_old(cache)
    (folder,) = (cache / "images").iterdir()
    (data / "images" / folder.name).mkdir(parents=True)
    (data / "images" / folder.name / "kept").write_bytes(b"x")
    platform = await current_platform()
    await platform.http.close()
    assert (data / "images" / folder.name / "kept").read_bytes() == b"x"
    assert list(folder.iterdir())
