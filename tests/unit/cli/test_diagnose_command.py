"""`diagnose`: what is said of a server, and the exit status that scripts go by."""

from __future__ import annotations

import re

import pytest

from aero_browser_disk.testing.behaviour import Behaviour


def test_a_server_is_diagnosed(run, result, served):
    url = served.url("disk.img")
    status, out, _ = run("diagnose", url)
    assert status == 0
    assert b"FAILS" not in out
    assert result("diagnose", url)["is_streamable"]


def test_what_prevents_streaming_is_said_with_its_remedy(run, served):
    served.behaviour = Behaviour(ignore_range=True)
    status, out, _ = run("diagnose", served.url("disk.img"), "--server", "caddy")
    assert status == 1
    assert b"FAILS" in out
    assert b"caddy: " in out
    assert b"nginx: " not in out


@pytest.mark.parametrize(
    "behaviour",
    [
        {"reset": True},
        {"content_range": "missing"},
        {"validators": "last-modified"},
        {"validators": "none"},
        {"validators": "weak"},
        {"head_status": 405},
        {"max_range": 4096},
        {"status": 403},
        {"status": 503},
        {"coding": "gzip-lie"},
    ],
    ids=str,
)
def test_without_a_page_no_browser_is_spoken_of(run, served, behaviour):
    served.behaviour = Behaviour(cors="none", **behaviour)
    said = run("diagnose", served.url("disk.img"), "--server", "nginx")[1].decode()
    assert "FAILS" in said or "note" in said
    assert not re.search(r"browser|CORS|\bpages?\b|Allow-Origin|Expose", said), said


def test_a_page_sees_less_than_a_program(run, served):
    served.behaviour = Behaviour(cors="none")
    url = served.url("disk.img")
    assert run("diagnose", url)[0] == 0
    assert run("diagnose", url, "--origin", "https://app.example.com")[0] == 1
