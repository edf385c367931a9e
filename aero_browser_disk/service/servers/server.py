"""Runs the service: one listener, its signals, and the server that speaks HTTP for it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from ..app import Service
from ..http.access_log import AccessLog
from ..options import ServerOptions

_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """The listening socket; raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    # Connections inherit it. asyncio sets it only on those of a listener that names its protocol;
    # without it every small range waits 40 ms for the client to acknowledge the headers (measured).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def listen_unix(path: Path, mode: int) -> socket.socket:
    """The listening socket, which replaces a stale one at that path.

    Raises `OSError`, also when another process listens there. Nobody removes the file at the end:
    by then it may belong to a service that was started since.
    """
    listener = socket.socket(socket.AF_UNIX)
    try:
        if path.is_socket() and not _is_listened_on(path):
            path.unlink()
        listener.bind(str(path))
        path.chmod(mode)
        # Before this nobody can connect.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, error.strerror, str(path)) from error
    return listener


def _is_listened_on(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return False
    return True


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed: half again as many small ranges a second (measured)."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


def serve(
    service: Service,
    listener: socket.socket,
    options: ServerOptions,
    log: AccessLog,
    reload: Callable[[], Awaitable[None]],
) -> None:
    """Serves until SIGTERM or SIGINT, finishes what is under way, and ends the process.

    SIGHUP calls `reload`.
    """
    url = _url(listener, options)

    def listening() -> None:
        log.event("listening", url=url)

    async def main() -> None:
        reloads: set[asyncio.Future[None]] = set()

        def begin_reload() -> None:
            task = asyncio.ensure_future(reload())
            reloads.add(task)  # the loop itself holds tasks weakly
            task.add_done_callback(reloads.discard)

        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, begin_reload)
        # Import only one: both take a while.
        if options.kind == "granian":
            from .granian_server import serve_granian

            await serve_granian(service, listener, options, listening)
        else:
            from .uvicorn_server import serve_uvicorn

            await serve_uvicorn(service, listener, options, listening)
        log.close()
        # Everything is closed and written. An orderly end would wait for threads that hang in a
        # device or another server; and those of granian live on for a moment, and abort the process
        # if Python is gone by then (seen in one of six stops).
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    # What is loaded now stays. Searching it for garbage again and again would cost a fifth of the
    # time of a small range (measured).
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


def _url(listener: socket.socket, options: ServerOptions) -> str:
    """Where it listens; a Unix socket as nginx writes it."""
    if options.unix_socket is not None:
        return f"unix:{options.unix_socket}"
    host, port = listener.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if options.tls_certificate else 'http'}://{name}:{port}"
