"""What of uvicorn our protocol stands on: a release that changes it fails here, by name.

`web/guide/service-fast-path.md` lists the same.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from aero_browser_disk.service.servers.uvicorn_protocol import Protocol

MESSAGE = (
    "uvicorn {} changed {}: look at servers/uvicorn_protocol.py and web/guide/service-fast-path.md"
)


def changed(what: str) -> str:
    return MESSAGE.format(uvicorn.__version__, what)


# What we override: the arguments after `self`.
OVERRIDDEN = {
    "connection_made": ["transport"],
    "connection_lost": ["exc"],
    "data_received": ["data"],
    "on_header": ["name", "value"],
    "on_headers_complete": [],
    "on_body": ["body"],
    "on_message_complete": [],
    "on_response_complete": [],
    "timeout_keep_alive_handler": [],
}
# What we call.
CALLED = {
    "_start_asgi_task": ["cycle", "app"],
    "_unset_keepalive_if_required": [],
    "on_message_begin": [],
    "shutdown": [],
    "pause_writing": [],
    "resume_writing": [],
}


@pytest.mark.parametrize("name", [*OVERRIDDEN, *CALLED])
def test_methods_of_the_protocol(name: str) -> None:
    method = getattr(HttpToolsProtocol, name, None)
    assert method is not None, changed(f"HttpToolsProtocol.{name}")
    _self, *arguments = inspect.signature(method).parameters
    assert arguments == {**OVERRIDDEN, **CALLED}[name], changed(f"HttpToolsProtocol.{name}")


def test_nothing_is_overridden_by_accident() -> None:
    """A new method of uvicorn with the name of one of ours would never be called."""
    ours = {name for name in vars(Protocol) if callable(getattr(Protocol, name))}
    theirs = {name for name in dir(HttpToolsProtocol) if callable(getattr(HttpToolsProtocol, name))}
    assert ours & theirs == {*OVERRIDDEN, "__init__"}, changed("names of HttpToolsProtocol")


def calls_in(function: Callable[..., Any]) -> set[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_data_received_only_parses() -> None:
    """Ours does not call it: what it does beside, ours would lack."""
    known = {
        "self._unset_keepalive_if_required",
        "self.parser.feed_data",
        "self.logger.warning",
        "self.send_400_response",
        "self._should_upgrade",
        "self.handle_websocket_upgrade",
        "self._unsupported_upgrade_warning",
    }
    assert calls_in(HttpToolsProtocol.data_received) <= known, changed("data_received")


def test_attributes_of_a_connection() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        pass

    config = uvicorn.Config(application, http=HttpToolsProtocol, log_config=None)
    config.load()
    # Its loop is asked for when it is made.
    made = HttpToolsProtocol.__init__
    for name in ("parser", "flow", "cycle", "scope", "headers", "app", "app_state", "loop"):
        assert f"self.{name}" in inspect.getsource(made), changed(f"HttpToolsProtocol.{name}")
    for name in ("logger", "access_logger", "access_log", "timeout_keep_alive", "server_state"):
        assert f"self.{name}" in inspect.getsource(made), changed(f"HttpToolsProtocol.{name}")
    assert "timeout_keep_alive_task" in inspect.getsource(made), changed("its timer")
    state = ServerState()
    assert isinstance(state.default_headers, list), changed("ServerState.default_headers")
    assert state.total_requests == 0, changed("ServerState.total_requests")
    assert httptools_impl.STATUS_LINE[206] == b"HTTP/1.1 206 Partial Content\r\n", changed(
        "STATUS_LINE"
    )


def test_the_cycle() -> None:
    _self, *arguments = inspect.signature(RequestResponseCycle.__init__).parameters
    assert arguments == [
        *("scope", "transport", "flow", "logger", "access_logger", "access_log"),
        *("default_headers", "message_event", "expect_100_continue", "keep_alive", "on_response"),
    ], changed("the arguments of RequestResponseCycle")
    fields = inspect.getsource(RequestResponseCycle.__init__)
    for name in (
        *("scope", "transport", "flow", "message_event", "on_response", "disconnected"),
        *("keep_alive", "waiting_for_100_continue", "more_body"),
        *("response_started", "response_complete"),
    ):
        assert f"self.{name} = " in fields, changed(f"RequestResponseCycle.{name}")
    # What our own `write` does at the end of a response.
    ending = calls_in(RequestResponseCycle.send)
    for call in ("self.message_event.set", "self.transport.close", "self.on_response"):
        assert call in ending, changed(f"the end of a response: {call}")


def test_flow_control() -> None:
    for name in ("drain", "pause_reading", "resume_reading", "pause_writing", "resume_writing"):
        assert callable(getattr(FlowControl, name, None)), changed(f"FlowControl.{name}")
    assert "self.write_paused" in inspect.getsource(FlowControl.__init__), changed("write_paused")
