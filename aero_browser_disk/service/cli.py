"""The command `aero-disk-service`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from . import digest_command, probe_command
from .access.authorization import AuthRequest, RefusedError
from .access.signed_urls import SignedUrls
from .assembly import Assembly
from .configuration import Configuration, ConfigurationError, load_configuration
from .http.access_log import AccessLog
from .http.log_writer import LogWriter
from .servers.server import listen, listen_unix, serve
from .stores.manifest import is_image_id

_UNUSABLE = 2
_STDOUT = 1
# Where the parser puts the value of a flag, before the option's name.
_FLAG = "flag "


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status, 2 if it cannot start."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "digest":
            return digest_command.run(options)
        if options.command == "probe":
            return probe_command.run(options)
        configuration = _configuration(options)
        if options.command == "check-config":
            return _check(configuration)
        if options.command == "sign":
            return _sign(configuration, options)
        return _serve(configuration)
    except (OSError, ValueError) as error:
        for line in str(error).splitlines():
            print(f"aero-disk-service: {line}", file=sys.stderr)
        return _UNUSABLE


def _serve(configuration: Configuration) -> int:
    log = AccessLog(LogWriter(_STDOUT))
    assembly = Assembly(configuration, log)
    server, metrics = configuration.server, configuration.metrics
    if server.unix_socket is None:
        listener = listen(server.host, server.port)
    else:
        listener = listen_unix(server.unix_socket, int(server.unix_socket_mode, 8))
    if assembly.metrics is not None and metrics.host is not None:
        port = assembly.metrics.serve(metrics.host, metrics.port)
        log.event("metrics_listening", port=port)
    serve(assembly.service(), listener, server, log, assembly.reload)
    return 0


def _check(configuration: Configuration) -> int:
    """Opens what the service would open, except the network, and prints what it would run."""
    assembly = Assembly(configuration, AccessLog(sys.stderr))
    # Makes no request to a bucket.
    unusable = assembly.store.unusable()
    assembly.close()
    for image_id, reason in unusable.items():
        print(f"aero-disk-service: manifest.json: {image_id}: {reason}", file=sys.stderr)
    if unusable:
        return _UNUSABLE
    print(configuration.model_dump_json(indent=2))
    return 0


def _sign(configuration: Configuration, options: argparse.Namespace) -> int:
    keys_file = configuration.authorization.signing_keys_file
    if keys_file is None:
        raise ConfigurationError("sign needs authorization.signing_keys_file")
    if not is_image_id(options.image):
        raise ConfigurationError("that is not an image id")
    urls = SignedUrls(keys_file)
    query, _ = urls.sign(options.image, options.lifetime, options.scope)
    # Check that the service accepts the URL.
    asked = AuthRequest({}, dict(parse_qsl(query)), options.image, trusted_proxy=False)
    try:
        asyncio.run(urls.examine(asked))
    except RefusedError as error:
        raise ConfigurationError(f"--lifetime {options.lifetime}: {error}") from None
    address = (configuration.server.public_url or "") + configuration.base_path
    print(f"{address}/disks/{options.image}/bytes?{query}")
    return 0


def _configuration(options: argparse.Namespace) -> Configuration:
    """From flags, environment and file; raises `ConfigurationError` or `OSError`."""
    flags: dict[str, Any] = {}
    for assignment in options.set:
        _assign(flags, *_parse_assignment(assignment))
    for path, value in vars(options).items():
        if path.startswith(_FLAG) and value not in (None, []):
            _assign(flags, path.removeprefix(_FLAG), value)
    defaults: dict[str, Any] = {}
    if getattr(options, _FLAG + "store.folder") is not None and options.config is None:
        # Only a folder is given: somebody tries the service locally.
        defaults = {"mode": "development", "limits": {"requests_in_flight": 0}}
        if flags.get("mode", "development") == "development":
            defaults["store"] = {"listing": True}
    return load_configuration(options.config, flags, defaults)


def _parse_assignment(text: str) -> tuple[str, object]:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise ConfigurationError(f"--set {path}: write NAME=VALUE")
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return path, value  # a bare word


def _assign(tree: dict[str, Any], path: str, value: object) -> None:
    *sections, name = path.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[name] = value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("aero-disk-service", description="Streams disk images.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text in (
        ("serve", "serve images over HTTP"),
        ("check-config", "check the configuration without opening a port"),
        ("sign", "print a signed URL of an image"),
    ):
        command = commands.add_parser(name, help=help_text)
        _add_configuration(command)
        if name == "sign":
            command.add_argument("image", metavar="ID")
            command.add_argument("--lifetime", type=_not_negative, default=3600, metavar="SECONDS")
            command.add_argument("--scope", choices=("bytes", "read"), default="read")
    digest = commands.add_parser("digest", help="write the digest list of an image next to it")
    digest_command.add_arguments(digest)
    probe = commands.add_parser("probe", help="check what a browser needs of a server or CDN")
    probe_command.add_arguments(probe)
    return parser


def _add_configuration(command: argparse.ArgumentParser) -> None:
    """The flags, which override the environment (AERO_DISK_SECTION__NAME) and the file."""
    command.add_argument("--config", type=Path, metavar="FILE", help="the configuration (TOML)")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.NAME=VALUE",
        help="an option of the configuration, with a TOML value; may be repeated",
    )

    def add(flag: str, option: str, **how: Any) -> None:
        command.add_argument(flag, dest=_FLAG + option, **how)

    add("--images", "store.folder", type=Path, metavar="DIR", help="the folder of images")
    buckets = "the bucket of images: s3://bucket/prefix, gs://, az://"
    add("--bucket", "store.bucket", metavar="URL", help=buckets)
    add("--host", "server.host", metavar="HOST", help="address (default: 127.0.0.1)")
    ports = "port, 0 for a free one (default: 8080)"
    add("--port", "server.port", type=int, metavar="PORT", help=ports)
    kinds = ("uvicorn", "granian")
    add("--server", "server.kind", choices=kinds, help="HTTP server (default: uvicorn)")
    add("--base-path", "base_path", metavar="PATH", help="prefix of every path (default: none)")
    add(
        "--allow-origin",
        "cors.allow_origins",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="page origin that may read; may be repeated (default: *, all)",
    )
    add(
        "--max-age",
        "bytes.max_age_s",
        type=_not_negative,
        metavar="SECONDS",
        help="how long a browser or CDN may keep bytes without revalidation (default: 300)",
    )
    add(
        "--resource-policy",
        "cors.resource_policy",
        choices=("same-origin", "same-site", "cross-origin"),
        help="Cross-Origin-Resource-Policy (default: same-site)",
    )
    add(
        "--grace",
        "server.grace_s",
        type=_not_negative,
        metavar="SECONDS",
        help="how long responses under way may take after SIGTERM (default: 30)",
    )


def _not_negative(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value
