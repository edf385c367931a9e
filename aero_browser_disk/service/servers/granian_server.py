"""granian: HTTP/1.1 and HTTP/2, in this process and on an existing socket."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server.embed import Server

from ..app import Service
from ..options import ServerOptions

_BACKLOG = 2048
# granian's minimum; the application enforces the exact limit.
_SMALLEST_HTTP1_BUFFER = 8 * 1024
_HTTP_MODES = {"auto": HTTPModes.auto, "1": HTTPModes.http1, "2": HTTPModes.http2}


async def serve_granian(
    service: Service,
    listener: socket.socket,
    options: ServerOptions,
    listening: Callable[[], None],
) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what is under way."""
    server = _Server(service, listener, options)
    server.on_startup(listening)
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    serving = asyncio.ensure_future(server.serve())
    stopped = asyncio.ensure_future(stopping.wait())
    await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    server.stop()  # type: ignore[no-untyped-call]
    # It would wait for its last connection forever.
    await asyncio.wait((serving,), timeout=options.grace_s)
    stopped.cancel()
    if serving.done():
        serving.result()
    else:
        serving.cancel()


class _Server(Server):
    def __init__(self, service: Service, listener: socket.socket, options: ServerOptions) -> None:
        super().__init__(
            service,
            interface=Interfaces.ASGI,
            http=_HTTP_MODES[options.http],
            websockets=False,
            backlog=_BACKLOG,
            http1_settings=HTTP1Settings(
                # Also how long a connection may be idle between requests.
                header_read_timeout=options.keep_alive_s * 1000,
                max_buffer_size=max(2 * options.max_header_bytes, _SMALLEST_HTTP1_BUFFER),
            ),
            http2_settings=HTTP2Settings(
                keep_alive_interval=options.keep_alive_s * 1000,
                max_headers_size=2 * options.max_header_bytes,
            ),
            log_enabled=False,
            ssl_cert=options.tls_certificate,
            ssl_key=options.tls_key,
            ssl_protocol_min=SSLProtocols.tls12,
            ssl_ca=options.tls_client_authorities,
            ssl_client_verify=options.tls_client_authorities is not None,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # Its stub lacks the last two, and the base class does not say that these change.
        is_unix = self._listener.family == socket.AF_UNIX
        holder: Any = SocketHolder(self._listener.detach(), is_unix, _BACKLOG)  # type: ignore[call-arg]
        self._shd = holder
        self._sfd = holder.get_fd()
        self._ssp = None
