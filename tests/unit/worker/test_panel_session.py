"""What the panel shows while the page's slower operations are under way, and when they fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aero_browser_disk.platform.cpython import cpython_platform
from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.worker.panel_session import PanelSession

DISK = bytes(4096)


@pytest.fixture
def begun() -> asyncio.Event:
    """Set when an operation asks for the platform: it has begun."""
    return asyncio.Event()


@pytest.fixture
async def session(tmp_path: Path, begun: asyncio.Event) -> AsyncIterator[PanelSession]:
    platform = cpython_platform(tmp_path)

    async def current() -> Any:
        begun.set()
        return platform

    yield PanelSession(platform=current)
    await platform.http.close()


async def test_the_panel_says_that_the_doctor_is_at_work(
    session: PanelSession, begun: asyncio.Event
) -> None:
    with ImageServer({"disk.img": DISK}) as server:
        server.behaviour = Behaviour(stall=True)
        await session.set_remote(True)
        await session.set_url(server.url("disk.img"))
        assert (await session.view())["status"] == {"text": "Ready to open.", "tone": "idle"}
        examination = asyncio.create_task(session.diagnose())
        await begun.wait()
        view = await session.view()
        assert view["status"] == {"text": "Checking the address…", "tone": "busy"}
        assert view["busy"] is True
        # Whoever gives up ends it too.
        examination.cancel()
        with pytest.raises(asyncio.CancelledError):
            await examination
        view = await session.view()
        assert view["status"] == {"text": "Ready to open.", "tone": "idle"}
        assert view["busy"] is False
        server.behaviour = Behaviour()
        server.release()
        assert (await session.diagnose())["right"]
        assert (await session.view())["status"] == {"text": "Ready to open.", "tone": "idle"}


async def test_a_catalog_that_is_down_is_not_said_to_have_samples(session: PanelSession) -> None:
    with ImageServer({"disk.img": DISK}) as server:
        url = server.url("disk.img")
    # Nobody listens there any more.
    await session.set_catalog(url)
    await session.set_remote(True)
    before: Any = (await session.view())["samples"]
    assert before["hint"].startswith("From 127.0.0.1:")
    after: Any = (await session.load_samples())["samples"]
    assert after["hint"].endswith("did not send its list. Press a button to try again.")
    # It can be tried again.
    # Another one was not asked yet.
    await session.set_catalog("https://other.example/v1/images")
    hint: Any = (await session.view())["samples"]
    assert hint["hint"] == "From other.example."
