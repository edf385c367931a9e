"""Nothing secret in an address gets past `redact_url`, whatever is typed."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aero_browser_disk.platform.redaction import HIDDEN, may_be_kept, redact_url
from aero_browser_disk.platform.web_url import parse_web_url

# Letters that occur in no scheme, host or path below, so that finding one is finding a leak.
secrets = st.text(alphabet="QXZ🔑", min_size=1, max_size=12)
# What makes parsers disagree: delimiters, escapes, spaces, slashes of both kinds.
awkward_secrets = st.text(alphabet="QXZ:/?#[]@!$&'()*+,;=%\\ \t\n", min_size=1, max_size=12).filter(
    lambda text: set(text) & set("QXZ")
)
schemes = st.sampled_from(["http", "https", "HTTP", "hTTps"])
hosts = st.sampled_from(["host.example", "host.example:8080", "127.0.0.1:81", "[::1]:8000"])
paths = st.text(alphabet=string.ascii_lowercase + "/-_.%0", max_size=20).map(lambda p: f"/{p}")


def leaked(shown: str, secret: str = "QXZ🔑") -> bool:
    return bool(set(shown) & set(secret) & set("QXZ🔑"))


@given(schemes, hosts, paths, st.tuples(secrets, secrets, secrets, secrets, secrets))
def test_user_info_query_and_fragment_never_appear(
    scheme: str, host: str, path: str, hidden: tuple[str, ...]
) -> None:
    user, password, key, value, fragment = hidden

    shown = redact_url(f"{scheme}://{user}:{password}@{host}{path}?{key}={value}#{fragment}")

    assert not leaked(shown)
    asked = parse_web_url(f"http://host{path}")
    assert asked is not None
    assert shown == f"{scheme.lower()}://{HIDDEN}@{host}{asked.path}?{HIDDEN}#{HIDDEN}"


@given(schemes, awkward_secrets, hosts, st.sampled_from(["", "/", "/disk.img"]))
def test_a_password_with_delimiters_never_appears(
    scheme: str, password: str, host: str, path: str
) -> None:
    shown = redact_url(f"{scheme}://user:Q{password}@{host}{path}")

    assert not leaked(shown)


@given(schemes, hosts, paths, st.sampled_from("?#"), awkward_secrets)
def test_a_query_or_fragment_with_delimiters_never_appears(
    scheme: str, host: str, path: str, delimiter: str, secret: str
) -> None:
    assert not leaked(redact_url(f"{scheme}://{host}{path}{delimiter}{secret}"))


@given(st.sampled_from(["", "//", "/", "host/", "ftp://", "x+y://"]), awkward_secrets)
@example("", "//Q/")
def test_what_stands_before_an_at_sign_never_appears_without_a_web_address(
    start: str, password: str
) -> None:
    assert not leaked(redact_url(f"{start}user:{password}Q@host.example/disk.img"))


@given(st.text(max_size=60) | st.from_regex(r"https?:[/\\]{0,3}[ -~]{0,40}", fullmatch=True))
def test_redacting_again_changes_nothing(text: str) -> None:
    once = redact_url(text)

    assert redact_url(once) == once


@example("http://a\\]")
@example("http://[:]/")
@given(st.text(max_size=60) | st.from_regex(r"https?://[ -~]{1,40}", fullmatch=True))
def test_what_may_be_kept_holds_nothing_secret(text: str) -> None:
    if may_be_kept(text):
        url = parse_web_url(text)
        assert url is not None
        assert not url.username + url.password + url.query + url.fragment


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/disk.img", "https://host/disk.img"),
        ("https://host", "https://host/"),
        ("http://0\\@", "http://0.0.0.0/@"),
        ("HTTPS://Höst:443/ä b", "https://xn--hst-sna/%C3%A4%20b"),
        ("https://host/a@b/disk.img", "https://host/a@b/disk.img"),
        ("https://host/disk.img?X-Amz-Signature=abc", "https://host/disk.img?…"),
        ("https://host/disk.img#part", "https://host/disk.img#…"),
        ("https://me@host/", "https://…@host/"),
        ("https://me:pass/word@host/", "https://…"),
        ("https://me:@pass/word@host/", "https://…"),
        ("https://me:/password@host/", "https://…"),
        ("  https://host/\n?a", "https://host/?…"),
        ("ht\ttps://me:p@host/", "https://…@host/"),
        (r"http:\\me:p@host\disk.img", "http://…@host/disk.img"),
        ("https:me:p@host/", "https://…@host/"),
        ("me:p@host/disk.img", "…"),
        ("host/disk.img?a=1", "host/disk.img?…"),
        ("data:application/octet-stream;base64,AAAA", "data:…"),
        ("https://host/\u202egmi.ksid", "https://host/%E2%80%AEgmi.ksid"),
        ("", ""),
    ],
)
def test_what_is_shown(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://host/disk.img", True),
        ("http://[::1]:8000/disk.img", True),
        ("https://host/disk.img?", True),
        ("https://host/disk.img?a", False),
        ("https://host/disk.img#a", False),
        ("https://me@host/disk.img", False),
        ("https://host/disk.img?…", False),
        ("https://", False),
        ("file:///disk.img", False),
        ("disk.img", False),
    ],
)
def test_what_may_be_kept(url: str, kept: bool) -> None:
    assert may_be_kept(url) is kept
