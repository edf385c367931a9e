"""A page of the built site, taken apart."""

from __future__ import annotations

from html.parser import HTMLParser


class Markup(HTMLParser):
    """What a page links to, has anchors for, and would have the browser do."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.loaded: list[str] = []
        self.forbidden: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.anchors.add(value or "")
            if name in ("href", "src"):
                self.links.append(value or "")
            if name == "src" or (name == "href" and tag == "link"):
                self.loaded.append(value or "")
            if name == "style" or name.startswith("on"):
                self.forbidden.append(f"{tag} {name}")
        if tag in ("style", "iframe", "object") or (tag == "script" and "src" not in dict(attrs)):
            self.forbidden.append(tag)
