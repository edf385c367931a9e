"""The command `aero-disk-service`."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from .access_log import AccessLog
from .app import Service
from .cors import CorsPolicy
from .folder_store import FolderStore
from .manifest import ManifestError

# Longer than browsers pause between reads of a disk.
_KEEP_ALIVE_S = 75


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status, 2 when it cannot start as asked."""
    options = _parser().parse_args(arguments)
    log = AccessLog(sys.stdout)
    try:
        service = _service(options, log)
        listener = _listen(options.host, options.port)
    except (ManifestError, OSError, ValueError) as error:
        print(f"aero-disk-service: {error}", file=sys.stderr)
        return 2
    config = uvicorn.Config(
        service,
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=options.grace,
    )
    # uvicorn shuts down on these, then raises them again for the handlers that were there before.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    _Server(config, log).run([listener])
    return 0


class _Server(uvicorn.Server):
    """Says where it listens, once it does."""

    def __init__(self, config: uvicorn.Config, log: AccessLog) -> None:
        super().__init__(config)
        self._log = log

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            host, port = listener.getsockname()[:2]
            name = f"[{host}]" if ":" in host else host
            self._log.event("listening", url=f"http://{name}:{port}")


def _service(options: argparse.Namespace, log: AccessLog) -> Service:
    origins: list[str] = options.allow_origin
    cors = CorsPolicy(
        None if not origins or "*" in origins else frozenset(origins), options.resource_policy
    )
    store = FolderStore(
        options.images, lambda reason: log.event("manifest_rejected", reason=reason)
    )
    return Service(store, cors, log, options.max_age)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048)
    # Connections inherit it. asyncio sets it only on those of a listener that names its protocol;
    # without it every small range waits 40 ms for the client to acknowledge the headers (measured).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("aero-disk-service", description="Streams disk images.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve the images of a folder over HTTP")
    serve.add_argument("--images", type=Path, required=True, metavar="DIR", help="the folder")
    serve.add_argument("--host", default="127.0.0.1", help="address (default: %(default)s)")
    serve.add_argument(
        "--port", type=int, default=8080, help="port, 0 for a free one (default: %(default)s)"
    )
    serve.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="page origin that may read, again for each (default: *, every one)",
    )
    serve.add_argument(
        "--max-age",
        type=_not_negative,
        default=300,
        metavar="SECONDS",
        help="how long a browser or CDN may keep bytes without asking (default: %(default)s)",
    )
    serve.add_argument(
        "--resource-policy",
        choices=("same-origin", "same-site", "cross-origin"),
        default="same-site",
        help="Cross-Origin-Resource-Policy (default: %(default)s)",
    )
    serve.add_argument(
        "--grace",
        type=_not_negative,
        default=30,
        metavar="SECONDS",
        help="how long answers under way may take after SIGTERM (default: %(default)s)",
    )
    return parser


def _not_negative(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value
