"""A FAT volume, on a server too, and folders of one's own for what the command keeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from aero_browser_disk.cli.main import main
from aero_browser_disk.testing.image_server import ImageServer
from support import file_images as images


@pytest.fixture(scope="module")
def volume(tmp_path_factory) -> Path:
    """A FAT volume with two files."""
    path = images.blank(tmp_path_factory.mktemp("volume") / "fat.img", 8 << 20)
    images.tool("mkfs.fat", "-n", "VOL", path)
    for name, data in (("hello.txt", b"hello\n"), ("big.bin", images.BIG)):
        source = path.with_name(name)
        source.write_bytes(data)
        images.tool("mcopy", "-m", "-i", path, source, "::")
    return path


@pytest.fixture
def served(volume) -> Iterator[ImageServer]:
    with ImageServer({"disk.img": volume}) as server:
        yield server


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """The folder where blocks are kept unless told otherwise."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "caches" / "aero-browser-disk"


Run = Callable[..., tuple[int, bytes, str]]


@pytest.fixture
def run(capsysbinary, cache) -> Run:
    """Runs the command; returns its exit status, standard output and standard error."""

    def runs(*arguments: str | Path) -> tuple[int, bytes, str]:
        status = main([*map(str, arguments)])
        out, err = capsysbinary.readouterr()
        return status, out, err.decode()

    return runs


@pytest.fixture
def result(run) -> Callable[..., dict]:
    """Runs the command, which succeeds; returns its result."""

    def runs(*arguments: str | Path) -> dict:
        status, out, err = run(*arguments, "--json")
        assert (status, err) == (0, ""), out
        return json.loads(out)

    return runs


@pytest.fixture
def call(run) -> Callable[..., Awaitable[tuple[int, bytes, str]]]:
    """Runs the command beside the event loop of a test: it has one of its own."""

    async def calls(*arguments: str | Path) -> tuple[int, bytes, str]:
        return await asyncio.to_thread(run, *arguments)

    return calls
