"""What a notebook shows of a disk and of long work: figures, escaped, and nothing secret."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from aero_browser_disk.disk_html import disk_html
from aero_browser_disk.errors import InvalidOptionError
from aero_browser_disk.notebook import NotebookBar, fetch_all, progress
from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.progress import Unwatched
from aero_browser_disk.testing.behaviour import Behaviour
from support.samples import IMAGE


@pytest.fixture
def open_url(server, platform):
    async def open_one(query: str = "", **options):
        return await open_disk(
            server.url("disk.img") + query, allow_remote=True, platform=platform, **options
        )

    return open_one


@pytest.fixture
def notebook(monkeypatch):
    """As in a kernel: what was displayed, in order."""
    shown: list[str] = []

    def display(thing, display_id):
        assert display_id is True
        shown.append(thing._repr_html_())
        return SimpleNamespace(update=lambda again: shown.append(again._repr_html_()))

    package, module = ModuleType("IPython"), ModuleType("IPython.display")
    package.get_ipython = lambda: SimpleNamespace(kernel=object())
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return shown


async def test_a_disk_shows_its_size_and_what_is_cached(open_url):
    disk = await open_url(read_ahead=False, block_size=65536)
    await disk.read(0, IMAGE.size // 2)
    shown = disk._repr_html_()
    assert "3 MiB (3,145,728 bytes)" in shown
    assert f'<progress value="{disk.stats().cached_bytes}" max="3145728">' in shown
    assert "50 %" in shown
    assert "read-only" in shown
    await disk.close()


async def test_nothing_secret_and_no_markup_of_the_host_is_shown(server, open_url):
    server.behaviour = Behaviour(headers=(("ETag", '"<script>alert(1)</script>"'),))
    disk = await open_url("?token=hushhush", headers={"X-Key": "topsecret"})
    shown = disk_html(disk)
    assert "<script" not in shown
    assert "&lt;script" in shown
    assert "hushhush" not in shown
    assert "topsecret" not in shown
    await disk.close()


async def test_fetching_all_shows_a_bar_and_fills_the_cache(open_url, notebook):
    disk = await open_url()
    await fetch_all(disk)
    assert disk.stats().cached_bytes == IMAGE.size
    assert notebook
    assert "Fetching" in notebook[-1]
    assert "100 %" in notebook[-1]
    await disk.close()


async def test_a_cache_that_is_too_small_is_told_before_anything_is_fetched(open_url):
    disk = await open_url(cache_limit_bytes=65536)
    with pytest.raises(InvalidOptionError, match="cache_limit_bytes"):
        await fetch_all(disk, Unwatched())
    await disk.close()


def test_a_bar_is_shown_only_where_somebody_looks(notebook, monkeypatch):
    assert isinstance(progress("x"), NotebookBar)
    monkeypatch.delitem(sys.modules, "IPython")
    assert isinstance(progress("x"), Unwatched)


def test_a_bar_that_was_never_shown_shows_nothing_in_the_end(notebook):
    NotebookBar("x").close()
    assert notebook == []
