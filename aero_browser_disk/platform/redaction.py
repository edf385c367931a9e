"""Removes the secret parts of addresses before they are shown, logged or stored.

User info, query and fragment are where addresses carry secrets (passwords, signatures, tokens).
They stay in memory: everything that leaves it passes through `redact_url`.
"""

from __future__ import annotations

import re

from .printable import printable
from .web_url import WebUrl, parse_web_url

HIDDEN = "…"

# The URL parser drops these wherever they stand in an address (URL Standard §4.4), so a secret
# could otherwise hide behind one.
_DROPPED = re.compile(r"[\t\n\r]")
_EDGES = "".join(map(chr, range(0x21)))
_WEB_SCHEME = re.compile(r"(?i)(https?):")
_OTHER_SCHEME = re.compile(r"(?i)([a-z][a-z0-9+.-]*)://")
_OPAQUE_SCHEME = re.compile(r"(?i)(data|blob|javascript):")
_AUTHORITY_END = re.compile(r"[/\\?#]")
_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:@\[\]]+)(?::[0-9]*)?")


def redact_url(url: str) -> str:
    """`url` with user info, query and fragment each replaced by `…`.

    A web address is shown in the form of the URL Standard, as it is requested. Takes any text,
    well-formed or not, and hides too much rather than too little: if it cannot distinguish the host
    from a password, it shows neither. Characters that do not print are replaced. Idempotent.
    """
    text = _DROPPED.sub("", url).strip(_EDGES)
    if opaque := _OPAQUE_SCHEME.match(text):
        return f"{opaque[1].lower()}:{HIDDEN}"
    if web := _WEB_SCHEME.match(text):
        parsed = None if text.endswith(f"://{HIDDEN}") else parse_web_url(text)
        if parsed is None or _may_hold_password(text[web.end() :], parsed):
            return f"{web[1].lower()}://{HIDDEN}"
        return _redacted(parsed)
    scheme = _OTHER_SCHEME.match(text)
    if scheme is None and "@" in text:
        # Without a scheme nothing shows where a password ends.
        return HIDDEN
    if scheme is None:
        return printable(_without_query_and_fragment(text))
    start = f"{scheme[1].lower()}://"
    authority, tail = _split_authority(text[scheme.end() :])
    user_info, _, host = authority.rpartition("@")
    if "@" in tail or (authority and not _HOST.fullmatch(host)):
        # Such as user://pass/word@host/, where what looks like a scheme is a name.
        return f"{start}{HIDDEN}"
    shown_user_info = f"{HIDDEN}@" if user_info else ""
    return printable(f"{start}{shown_user_info}{host}{_without_query_and_fragment(tail)}")


def has_secrets(url: str) -> bool:
    """Whether `redact_url` hides something of `url`."""
    return HIDDEN in redact_url(url)


def may_be_kept(url: str) -> bool:
    """Whether `url` is a web address in which nothing is secret, so that it may be stored."""
    return parse_web_url(url) is not None and not has_secrets(url)


def _may_hold_password(text: str, url: WebUrl) -> bool:
    """Whether an address, `text` without its scheme, may have half of a password as its host.

    Such as https://user:@pass/word@host/ and https://user:/password@host/.
    """
    authority, tail = _split_authority(text.lstrip("/\\"))
    has_user_info = bool(url.username or url.password)
    return "@" in tail and (has_user_info or authority.endswith(":"))


def _redacted(url: WebUrl) -> str:
    user_info = f"{HIDDEN}@" if url.username or url.password else ""
    query = f"?{HIDDEN}" if url.query else ""
    fragment = f"#{HIDDEN}" if url.fragment else ""
    return f"{url.scheme}://{user_info}{url.host}{url.path}{query}{fragment}"


def _split_authority(address: str) -> tuple[str, str]:
    """User info, host and port; then all that follows."""
    delimiter = _AUTHORITY_END.search(address)
    end = delimiter.start() if delimiter else len(address)
    return address[:end], address[end:]


def _without_query_and_fragment(text: str) -> str:
    text, _, fragment = text.partition("#")
    text, _, query = text.partition("?")
    return f"{text}{f'?{HIDDEN}' if query else ''}{f'#{HIDDEN}' if fragment else ''}"
