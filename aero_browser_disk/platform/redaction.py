"""What of an address may be shown, logged or kept.

User info, query and fragment are where addresses carry secrets (passwords, signatures, tokens).
They stay in memory: everything that leaves it passes through `redact_url`.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

HIDDEN = "…"

# A browser drops these wherever they stand in an address (URL Standard, §4.4), so a secret could
# otherwise hide behind one.
_DROPPED = re.compile(r"[\t\n\r]")
_EDGES = "".join(map(chr, range(0x21)))
# A browser takes any number of slashes, of either kind, after the scheme (URL Standard, §4.4).
_WEB_SCHEME = re.compile(r"(?i)(https?):[/\\]*")
_OTHER_SCHEME = re.compile(r"(?i)([a-z][a-z0-9+.-]*)://")
_OPAQUE_SCHEME = re.compile(r"(?i)(data|blob|javascript):")
_AUTHORITY_END = re.compile(r"[/\\?#]")
_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:@\[\]]+)(?::[0-9]*)?")


def redact_url(url: str) -> str:
    """`url` with user info, query and fragment each replaced by `…`.

    Takes any text, well-formed or not, and errs towards hiding: where it cannot tell the host from
    a password, it shows neither. Characters that do not print are replaced. Idempotent.
    """
    text = _DROPPED.sub("", url).strip(_EDGES)
    if opaque := _OPAQUE_SCHEME.match(text):
        return f"{opaque[1].lower()}:{HIDDEN}"
    scheme = _WEB_SCHEME.match(text) or _OTHER_SCHEME.match(text)
    if scheme is None and "@" in text:
        # Without a scheme there is no telling where a password ends.
        return HIDDEN
    if scheme is None:
        return _printable(_without_query_and_fragment(text))
    start = f"{scheme[1].lower()}://"
    authority, tail = _split_authority(text[scheme.end() :])
    user_info, _, host = authority.rpartition("@")
    is_web = _WEB_SCHEME.match(start) is not None
    if not _HOST.fullmatch(host) and (authority or is_web):
        # Such as https://user:pass/word@host/ or a # in a password: the "host" is half a secret.
        return f"{start}{HIDDEN}"
    if "@" in tail and (user_info or host.endswith(":") or not is_web):
        # Such as https://user:@pass/word@host/: a browser takes half of the password for the host.
        # Or such as user://pass/word@host/, where what looks like a scheme is a name.
        return f"{start}{HIDDEN}"
    shown_user_info = f"{HIDDEN}@" if user_info else ""
    return _printable(f"{start}{shown_user_info}{host}{_without_query_and_fragment(tail)}")


def may_be_kept(url: str) -> bool:
    """Whether `url` is a web address in which nothing is secret, so that it may be stored."""
    try:
        urlsplit(url)
    except ValueError:
        return False  # where its host ends is anybody's guess
    return _WEB_SCHEME.match(url) is not None and HIDDEN not in url and redact_url(url) == url


def _split_authority(address: str) -> tuple[str, str]:
    """User info, host and port; then all that follows."""
    delimiter = _AUTHORITY_END.search(address)
    end = delimiter.start() if delimiter else len(address)
    return address[:end], address[end:]


def _without_query_and_fragment(text: str) -> str:
    text, _, fragment = text.partition("#")
    text, _, query = text.partition("?")
    return f"{text}{f'?{HIDDEN}' if query else ''}{f'#{HIDDEN}' if fragment else ''}"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
