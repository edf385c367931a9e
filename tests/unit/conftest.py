"""A real server with an image, and the platform of CPython with a folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aero_browser_disk import sync
from aero_browser_disk.platform.base import Platform
from aero_browser_disk.platform.cpython import cpython_platform
from aero_browser_disk.testing.image_server import ImageServer
from support.samples import IMAGE


@pytest.fixture(scope="session", autouse=True)
def hardly_waits_for_other_holders() -> Iterator[None]:
    """An image that another has open is busy after a fifth of the second that users wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aero_browser_disk.records.folders._LEAVES_WITHIN_S", 0.2)
        patch.setattr("aero_browser_disk.streaming.cache_folder._TAB_LEAVES_WITHIN_S", 0.2)
        yield


@pytest.fixture
def server() -> Iterator[ImageServer]:
    """Serves `IMAGE` as `disk.img`."""
    with ImageServer({"disk.img": IMAGE}) as started:
        yield started


class EagerClock:
    """Time passes at each look, so that every chunk is a checkpoint; waiting takes none."""

    def __init__(self, step_s: float = 10.0) -> None:
        self.time = 1_000_000.0
        self.step_s = step_s

    def now(self) -> float:
        self.time += self.step_s
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
def sync_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What disks of `sync` share, of this test alone, with folders below the one that it gives."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    sync._session_of.cache_clear()
    yield tmp_path
    sync._session().close()
    sync._session_of.cache_clear()


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    """CPython's HTTP client, files and locks."""
    made = cpython_platform(tmp_path / "storage")
    yield made
    await made.http.close()


@pytest.fixture
def checkpoints(platform: Platform) -> Platform:
    """The platform on which an import notes after each chunk how far it is."""
    return replace(platform, clock=EagerClock())
