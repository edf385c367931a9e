"""`diagnose`: what is said of a server, and the exit status that scripts go by."""

from __future__ import annotations

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


def test_a_page_sees_less_than_a_program(run, served):
    served.behaviour = Behaviour(cors="none")
    url = served.url("disk.img")
    assert run("diagnose", url)[0] == 0
    assert run("diagnose", url, "--origin", "https://app.example.com")[0] == 1
