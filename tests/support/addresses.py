"""Addresses and what the URL Standard makes of them: one table for CPython and for browsers."""

from __future__ import annotations

# What was typed, and what is asked for (None: no web address). A `|` is not in the table: Chromium
# 156 encodes it, which the standard does not.
ADDRESSES: list[tuple[str, str | None]] = [
    ("https://host/disk.img", "https://host/disk.img"),
    ("https://host", "https://host/"),
    ("  https://host/a b.img\n", "https://host/a%20b.img"),
    ("https://host/é.img?ü=ß", "https://host/%C3%A9.img?%C3%BC=%C3%9F"),
    ("https://host/%C3%A9.img", "https://host/%C3%A9.img"),
    ("https://host/%e9.img", "https://host/%e9.img"),
    ("http:\\\\host\\x", "http://host/x"),
    ("http:host/x", "http://host/x"),
    ("http:///host/x", "http://host/x"),
    ("http://0\\@", "http://0.0.0.0/@"),
    ("http://user\\@host/", "http://user/@host/"),
    ("http://me:p@ss@host/", "http://host/"),
    ("http://HOST:80/A/../b/./c", "http://host/b/c"),
    ("https://host:443/", "https://host/"),
    ("https://host:444/", "https://host:444/"),
    ("ht\ttps://ho\nst/", "https://host/"),
    ("https://bücher.example/", "https://xn--bcher-kva.example/"),
    ("https://ｈｏｓｔ/", "https://host/"),
    ("http://0x7f.1/", "http://127.0.0.1/"),
    ("http://[0:0:0:0:0:0:0:1]:8000/", "http://[::1]:8000/"),
    ("http://h%6fst/", "http://host/"),
    ('https://host/ab{c}"<>`^', "https://host/ab%7Bc%7D%22%3C%3E%60%5E"),
    ("https://host/?a'b\"c", "https://host/?a%27b%22c"),
    ("https://host/\ud800", "https://host/%EF%BF%BD"),
    ("https://host/x#frag", "https://host/x"),
    ("https://host/x?", "https://host/x"),
    ("", None),
    ("disk.img", None),
    ("//host/disk.img", None),
    ("ftp://host/x", None),
    ("file:///x", None),
    ("https://", None),
    ("https://?", None),
    ("http://[::1", None),
    ("http://h:port/x", None),
    ("http://127.0.0.1:99999/", None),
    ("http://a b/", None),
    ("http://a%40b/", None),
    ("http://1.2.3.999/", None),
    ("javascript:alert(1)", None),
]

# Location headers as they come (bytes as ISO-8859-1), sent by http://host/folder/disk.img.
LOCATIONS: list[tuple[str, str | None]] = [
    ("/x", "http://host/x"),
    ("y z.img", "http://host/folder/y%20z.img"),
    ("//other/x", "http://other/x"),
    ("?a", "http://host/folder/disk.img?a"),
    ("\\\\other\\x", "http://other/x"),
    ("https://other/é".encode().decode("latin-1"), "https://other/%C3%A9"),
    ("https://other/\xe9", "https://other/%E9"),
    ("https://b\xc3\xbccher.example/", "https://xn--bcher-kva.example/"),
    ("http://[::1", None),
    ("http://127.0.0.1:99999/", None),
    ("ftp://other/x", None),
    ("data:,x", None),
]
