"""The settings: choices in words, and the options that they are."""

from __future__ import annotations

import pytest

from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.ui.panel import Panel
from aero_browser_disk.ui.panel_settings import SETTINGS, PanelSettings


def test_nothing_chosen_leaves_every_option_as_it_comes() -> None:
    settings = PanelSettings()

    assert settings.options() == {}
    assert settings.remembered() == {}
    assert settings.view()["changed"] is False


@pytest.mark.parametrize(
    ("name", "choice"), [(s.name, choice) for s in SETTINGS for choice in s.choices]
)
async def test_every_choice_opens_an_image(
    name: str, choice: str, platform, server: ImageServer
) -> None:
    settings = PanelSettings()
    settings.choose(name, choice)

    disk = await open_disk(
        server.url("disk.img"), allow_remote=True, platform=platform, **settings.options()
    )
    await disk.close()


def test_a_choice_is_remembered_until_it_is_reset() -> None:
    earlier = Panel()
    earlier.settings.choose("blockSize", "65536")
    assert earlier.remembered() == {"settings": {"blockSize": "65536"}}

    panel = Panel()
    panel.restore(earlier.remembered())
    assert panel.settings.options() == {"block_size": 65536}
    assert panel.view()["settings"]["changed"] is True

    panel.settings.reset()
    assert panel.settings.options() == panel.remembered() == {}


def test_the_default_chosen_again_is_no_change() -> None:
    settings = PanelSettings()
    settings.choose("readAhead", "off")
    settings.choose("readAhead", "on")

    assert settings.remembered() == {}


@pytest.mark.parametrize(
    "remembered",
    [None, 7, "x", [], {"blockSize": 65536}, {"blockSize": "1"}, {"other": "on"}, {7: "on"}],
)
def test_what_is_no_choice_is_not_taken_back(remembered: object) -> None:
    settings = PanelSettings()

    settings.restore(remembered)

    assert settings.options() == {}


def test_every_choice_has_words() -> None:
    for field in PanelSettings().view()["fields"]:
        assert field["label"]
        assert field["hint"]
        assert field["value"] == field["choices"][0]["value"]
        assert all(choice["label"] for choice in field["choices"])


def test_a_digest_list_is_an_option_that_is_not_remembered() -> None:
    settings = PanelSettings()
    settings.choose_digests("list.json", b"{}")

    assert settings.options() == {"digests": b"{}"}
    assert settings.remembered() == {}
    assert settings.view()["digests"] == "list.json"
    settings.reset()
    assert settings.options() == {}


def test_shared_memory_is_for_the_page() -> None:
    settings = PanelSettings()
    settings.choose("sharedMemory", "0")

    assert settings.options() == {}
    assert settings.view()["sharedMemoryBytes"] == 0
