"""Makes untrusted text fit to be shown: names on images, addresses, descriptions."""

from __future__ import annotations

_REPLACEMENT = "\ufffd"


def printable(text: str) -> str:
    """`text` with each character that does not print replaced by U+FFFD.

    So no control character reaches a terminal, and no bidirectional override disguises a name.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _REPLACEMENT for letter in text)
