"""The page before any script runs: the panel's first view, and nothing that the policy forbids."""

from __future__ import annotations

import json
import tomllib
from html.parser import HTMLParser
from typing import Any

import pytest

from aero_browser_disk.ui.panel import Panel
from lib.project import ROOT, WEB_PAGE

VOID = {"img", "input", "link", "meta", "path"}
PAGE = (WEB_PAGE / "index.html").read_text(encoding="utf-8")
FIRST_VIEW = json.loads(json.dumps(Panel().view()))


class Element:
    """An element with its attributes, its text and what is in it."""

    def __init__(self, tag: str, attributes: dict[str, str], parent: Element | None) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Element] = []
        self.parent = parent
        self.text = ""

    def all(self, name: str) -> list[Element]:
        """The elements in it that have an attribute, or are of a tag."""
        own = [self] if name in self.attributes or name == self.tag else []
        return own + [found for child in self.children for found in child.all(name)]


class Document(HTMLParser):
    """The page as a tree."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = self._open = Element("", {}, None)
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, self._open)
        self._open.children.append(element)
        if tag not in VOID:
            self._open = element

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self._open.tag == tag, f"</{tag}> closes <{self._open.tag}>"
        assert self._open.parent is not None
        self._open = self._open.parent

    def handle_data(self, data: str) -> None:
        self._open.text += data


DOCUMENT = Document(PAGE).root


def in_view(path: str) -> Any:
    value = FIRST_VIEW
    for name in path.split("."):
        value = value[name]
    return value


@pytest.mark.parametrize(
    "element", DOCUMENT.all("data-text"), ids=lambda element: element.attributes["data-text"]
)
def test_every_text_is_that_of_the_first_view(element: Element) -> None:
    path = element.attributes["data-text"]
    # The one text of the page's own: Python, whose view it is, is not there yet.
    expected = in_view("texts.starting") if path == "status.text" else in_view(path)

    assert element.text == expected


def test_the_warning_is_that_of_the_first_view() -> None:
    (warning,) = DOCUMENT.all("data-lines")

    assert [line.text for line in warning.children] == in_view(warning.attributes["data-lines"])


@pytest.mark.parametrize(
    "element", DOCUMENT.all("data-label"), ids=lambda element: element.attributes["data-label"]
)
def test_every_label_is_that_of_the_first_view(element: Element) -> None:
    assert element.attributes["aria-label"] == in_view(element.attributes["data-label"])


def test_the_legend_is_that_of_the_first_view() -> None:
    legend = {item.attributes["data-cell"]: item.text for item in DOCUMENT.all("data-cell")}

    assert legend == in_view("map.legend")


@pytest.mark.parametrize("name", ["image", "activity"])
def test_the_rows_are_those_of_the_first_view(name: str) -> None:
    (rows,) = (
        found for found in DOCUMENT.all("data-rows") if found.attributes["data-rows"] == name
    )

    assert [
        {"label": row.children[0].text, "value": row.children[1].text, "note": ""}
        for row in rows.children
    ] == in_view(name)


def is_in_dialog(element: Element | None) -> bool:
    return element is not None and (element.tag == "dialog" or is_in_dialog(element.parent))


def test_nothing_can_be_pressed_before_python_is_there() -> None:
    buttons = [button for button in DOCUMENT.all("button") if not is_in_dialog(button)]
    assert len(buttons) > 10
    assert all("disabled" in button.attributes for button in buttons)
    assert all("open" not in dialog.attributes for dialog in DOCUMENT.all("dialog"))
    (remote,) = (found for found in DOCUMENT.all("id") if found.attributes["id"] == "remote")
    assert "disabled" in remote.attributes
    assert "checked" not in remote.attributes


def test_every_id_that_is_pointed_to_is_there_once() -> None:
    ids = [element.attributes["id"] for element in DOCUMENT.all("id")]
    pointed = [
        name
        for attribute in ("for", "aria-describedby", "aria-labelledby", "aria-controls")
        for element in DOCUMENT.all(attribute)
        for name in element.attributes[attribute].split()
    ]

    assert len(ids) == len(set(ids))
    assert set(pointed) <= set(ids)


def test_the_policy_allows_no_inline_code_and_no_third_party() -> None:
    (policy,) = (
        element.attributes["content"]
        for element in DOCUMENT.all("meta")
        if element.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}

    assert rules == {
        "default-src": ["'none'"],
        "script-src": ["'self'", "'wasm-unsafe-eval'"],
        "worker-src": ["'self'", "blob:"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'", "http:", "https:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    assert not DOCUMENT.all("style")
    assert all(script.attributes.get("src") for script in DOCUMENT.all("script"))


def test_no_element_carries_code() -> None:
    def names(element: Element) -> set[str]:
        return set(element.attributes).union(*map(names, element.children))

    assert not [name for name in names(DOCUMENT) if name.startswith("on")]


def test_the_footer_leads_to_the_guide_the_reference_and_the_source() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (footer,) = DOCUMENT.all("footer")
    assert [link.attributes["href"] for link in footer.all("href")] == [
        "guide/index.html",
        "api/index.html",
        project["urls"]["Source"],
    ]
