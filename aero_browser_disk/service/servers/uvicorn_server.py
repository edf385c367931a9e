"""uvicorn: HTTP/1.1 only."""

from __future__ import annotations

import signal
import socket
import ssl
from collections.abc import Callable
from functools import partial

import uvicorn

from ..app import Service
from ..options import ServerOptions
from .request_gate import RequestLimits
from .uvicorn_protocol import Protocol


async def serve_uvicorn(
    service: Service,
    listener: socket.socket,
    options: ServerOptions,
    listening: Callable[[], None],
) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what is under way."""
    config = server_config(service, options)
    # uvicorn shuts down on these, then raises them again for the handlers that were there before.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    await _Server(config, listening).serve([listener])


def server_config(service: Service, options: ServerOptions) -> uvicorn.Config:
    """uvicorn's configuration for the service."""
    authorities = options.tls_client_authorities
    return uvicorn.Config(
        service,
        http=partial(Protocol, limits=_limits(options)),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=options.keep_alive_s,
        timeout_graceful_shutdown=options.grace_s,
        ssl_certfile=options.tls_certificate,
        ssl_keyfile=options.tls_key,
        ssl_ca_certs=None if authorities is None else str(authorities),
        ssl_cert_reqs=ssl.CERT_NONE if authorities is None else ssl.CERT_REQUIRED,
    )


def _limits(options: ServerOptions) -> RequestLimits:
    """Wider than the application's limits, which count only the values of target and headers."""
    max_line_bytes = options.max_url_length + 1024
    return RequestLimits(
        max_line_bytes=max_line_bytes,
        max_head_bytes=max_line_bytes + options.max_header_bytes,
        max_framing_bytes=options.max_header_bytes,
    )


class _Server(uvicorn.Server):
    """Reports when it listens."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening()
