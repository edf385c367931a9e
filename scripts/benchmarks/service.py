"""Measures the image service against nginx: the same ranges of the same file, in the same run.

Random ranges of a 4 GiB file in the page cache, 16 connections, one nginx worker or one service
process at a time, `wrk` asking. The file is sparse: its pages are in the cache all the same.

Of a bucket the service's store, which pins each read to a version, is compared with obstore called
from a plain loop in the same way; and the whole service, whose HTTP and `wrk` then take their share
of the processors from the bucket's server.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import re
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing, contextmanager
from functools import partial
from pathlib import Path

import obstore
import uvloop
from obstore.store import S3Store

from aero_browser_disk.service.http.direct_bytes import read_chunks
from aero_browser_disk.service.stores.object_store import ObjectStore
from benchmarks.results import Measure, measures_table
from deploy.local_store import fill
from lib.local_object_store import LocalObjectStore
from lib.nginx_server import Nginx

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
CONNECTIONS = 16
STALLED = 200
LENGTHS = (64 * KIB, MIB)
# Our throughput as a share of nginx's: plain on the faster server, and through X-Accel-Redirect.
PLAIN_GOALS = {64 * KIB: 0.55, MIB: 0.85}
ACCELERATED_GOALS = {64 * KIB: 0.45, MIB: 0.75}
OBJECT_GOAL = 0.8
STALLED_GOAL_MB = 150.0
OBJECT_SIZE = 256 * MIB
IMAGE = "disk.img"

_SCRIPT = """
local blocks, length = {blocks}, {length}
request = function()
  local start = math.random(0, blocks - 1) * length
  return wrk.format("GET", nil, {{["Range"] = "bytes=" .. start .. "-" .. (start + length - 1)}})
end
"""
_STATIC = "server {{ listen ${{AERO_DISK_LISTEN}}; root {folder}; sendfile on; tcp_nopush on; }}"


class BenchError(Exception):
    """The measurement is invalid."""


def ask_ranges(url: str, size: int, length: int, seconds: float) -> float:
    """MB per second of random ranges at that address."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT.format(blocks=size // length, length=length))
        script.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-s", script.name, url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", done.stdout)
    if rate is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise BenchError(f"wrk met errors at {url}:\n{done.stdout}")
    return float(rate[1]) * length / 1e6


@contextmanager
def service(
    *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[str, int]]:
    """A running service: its URL and its process id."""
    program = Path(sysconfig.get_path("scripts"), "aero-disk-service")
    command = [str(program), "serve", "--port", "0", "--set", "limits.requests_in_flight=0"]
    process = subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    assert process.stdout
    try:
        line = process.stdout.readline()
        if not line:
            raise BenchError(f"the service did not start with {options}")
        # The service keeps logging, and the pipe must not fill up.
        drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
        yield json.loads(line)["url"], process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    drain.wait()


def make_image(folder: Path, size: int) -> Path:
    """The image, with all of it in the page cache."""
    image = folder / IMAGE
    with image.open("wb") as file:
        file.truncate(size)
    with image.open("rb", buffering=0) as file:
        while file.read(8 * MIB):
            pass
    entry = {"id": IMAGE, "file": IMAGE, "public": True}
    (folder / "manifest.json").write_text(json.dumps({"images": [entry]}))
    return image


def rounds_of(asked: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of each, measured in turns, so that a busy moment affects them all."""
    found: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(rounds):
        for name, ask in asked.items():
            found[name].append(ask())
    return {name: statistics.median(values) for name, values in found.items()}


def folder_measures(work: Path, size: int, seconds: float, rounds: int) -> list[Measure]:
    """nginx, the service on both HTTP servers, and nginx sending files for the service."""
    images = work / "images"
    images.mkdir()
    make_image(images, size)
    with ExitStack() as stack:
        folders = {name: work / name for name in ("static", "accelerated")}
        for folder in folders.values():
            folder.mkdir()
        static = _STATIC.format(folder=images)
        nginx = stack.enter_context(Nginx(folders["static"], static, {}))
        urls = {"nginx": f"{nginx.url}/{IMAGE}"}
        for server in ("uvicorn", "granian"):
            running, _ = stack.enter_context(service("--images", str(images), "--server", server))
            urls[server] = f"{running}/disks/{IMAGE}/bytes"
        urls["X-Accel-Redirect"] = stack.enter_context(_accelerated(work, images, folders))
        measures = []
        for length in LENGTHS:
            asked = {
                name: partial(ask_ranges, url, size, length, seconds) for name, url in urls.items()
            }
            rates = rounds_of(asked, rounds)
            base = rates["nginx"]
            best = max(("uvicorn", "granian"), key=lambda name: rates[name])
            what = f"ranges of {length // KIB} KiB"
            measures.append(Measure(f"nginx, {what}", base, "MB/s"))
            for name in ("uvicorn", "granian"):
                goal = PLAIN_GOALS[length] if name == best else None
                measures.append(
                    Measure(
                        f"service on {name}, {what}", rates[name], "MB/s", base, goal, at_least=True
                    )
                )
            measures.append(
                Measure(
                    f"service through X-Accel-Redirect, signed URL, {what}",
                    rates["X-Accel-Redirect"],
                    "MB/s",
                    base,
                    ACCELERATED_GOALS[length],
                    at_least=True,
                )
            )
    return measures


@contextmanager
def _accelerated(work: Path, images: Path, folders: Mapping[str, Path]) -> Iterator[str]:
    """A signed address of the private image, whose bytes nginx sends.

    nginx asks the service through a Unix socket, as it would on a machine that runs both.
    """
    keys = work / "keys.toml"
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    keys.write_text(f'current = "bench"\n[keys]\nbench = "{key}"\n')
    private = work / "private"
    private.mkdir()
    os.link(images / IMAGE, private / IMAGE)
    entry = {"id": IMAGE, "file": IMAGE, "public": False}
    (private / "manifest.json").write_text(json.dumps({"images": [entry]}))
    options = [
        *("--images", str(private), "--allow-origin", "https://app.example.com"),
        *("--set", f'authorization.signing_keys_file="{keys}"'),
    ]
    program = Path(sysconfig.get_path("scripts"), "aero-disk-service")
    signed = subprocess.run(
        [program, "sign", IMAGE, *options], capture_output=True, text=True, check=True
    )
    options += ["--set", f'server.unix_socket="{work / "service.sock"}"']
    options += ["--set", 'server.trusted_proxies=["unix:"]']
    options += ["--set", 'bytes.accel_location="/_aero_disk"', "--server", "uvicorn"]
    with service(*options) as (running, _):
        values = {
            "AERO_DISK_SERVICE": running,
            "AERO_DISK_IMAGES": str(private),
        }
        with Nginx(folders["accelerated"], "accel-redirect", values) as nginx:
            yield nginx.url + signed.stdout.strip()


def stalled_measure(work: Path) -> Measure:
    """Memory of a service whose clients request everything and read nothing."""
    images = work / "images"
    with (
        service("--images", str(images), "--server", "uvicorn") as (url, process_id),
        ExitStack() as stack,
    ):
        host, port = url.removeprefix("http://").split(":")
        for _ in range(STALLED):
            client = stack.enter_context(socket.create_connection((host, int(port))))
            client.sendall(f"GET /disks/{IMAGE}/bytes HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            client.recv(1)
        status = Path(f"/proc/{process_id}/status").read_text("ascii")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak
    return Measure(
        f"memory, {STALLED} stalled clients", int(peak[1]) * 1024 / 1e6, "MB", STALLED_GOAL_MB, 1
    )


def object_measures(work: Path, seconds: float, rounds: int) -> list[Measure]:
    """The service over a bucket, against obstore alone on the same bucket."""
    (work / "objects").mkdir()
    image = work / "object.img"
    image.write_bytes(random.Random(1).randbytes(MIB) * (OBJECT_SIZE // MIB))  # noqa: S311
    measures = []
    with LocalObjectStore(work / "objects") as store:
        fill(store, [image])
        options = ["--bucket", "s3://images", "--server", "uvicorn"]
        options += ["--set", f'store.endpoint="{store.url}"', "--set", 'store.region="us-east-1"']
        with service(*options, environment=store.keys.environment) as (url, _):
            address = f"{url}/disks/{image.name}/bytes"
            for length in LENGTHS:
                asked: dict[str, Callable[[], float]] = {
                    "obstore": partial(_rate, _bare_read(store, image.name), length, seconds),
                    "store": partial(_rate, _store_read(store, image.name), length, seconds),
                    "service": partial(ask_ranges, address, OBJECT_SIZE, length, seconds),
                }
                rates = rounds_of(asked, rounds)
                what = f"ranges of {length // KIB} KiB from a bucket"
                measures.append(Measure(f"obstore alone, {what}", rates["obstore"], "MB/s"))
                base = rates["obstore"]
                for who, goal in (("store", OBJECT_GOAL), ("service", None)):
                    measures.append(
                        Measure(f"{who}, {what}", rates[who], "MB/s", base, goal, at_least=True)
                    )
    return measures


# Reads from `start` up to `stop`, and returns the number of bytes.
Read = Callable[[int, int], Awaitable[int]]


def _rate(read: Read, length: int, seconds: float) -> float:
    """MB per second of random ranges, 16 at a time."""
    # In a full `scripts/bench`, Playwright's event loop may already run in this thread.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(uvloop.run, _read_ranges(read, length, seconds)).result()


async def _read_ranges(read: Read, length: int, seconds: float) -> float:
    started = time.monotonic()
    total = 0

    async def read_on() -> None:
        nonlocal total
        while time.monotonic() - started < seconds:
            start = random.randrange(OBJECT_SIZE // length) * length  # noqa: S311
            done = await read(start, start + length)
            total += done  # not in one statement: others add to it while this one waits

    await asyncio.gather(*(read_on() for _ in range(CONNECTIONS)))
    return total / (time.monotonic() - started) / 1e6


def _bucket(store: LocalObjectStore) -> S3Store:
    return S3Store(
        "images",
        endpoint=store.url,
        region=store.region,
        access_key_id=store.keys.access_key,
        secret_access_key=store.keys.secret_key,
        client_options={"allow_http": True},
    )


def _bare_read(store: LocalObjectStore, name: str) -> Read:
    """Read by obstore itself, in whatever version is current."""
    bucket = _bucket(store)

    async def read(start: int, stop: int) -> int:
        return len(await obstore.get_range_async(bucket, name, start=start, end=stop))

    return read


def _store_read(store: LocalObjectStore, name: str) -> Read:
    """Read by the service's store, as the service does."""
    images = ObjectStore(_bucket(store), on_rejected_manifest=sys.exit)

    async def read(start: int, stop: int) -> int:
        async with (
            images.open(name) as opened,
            aclosing(read_chunks(opened, start, stop)) as chunks,
        ):
            return sum([len(chunk) async for chunk in chunks])

    return read


def service_measures(size: int, seconds: float, rounds: int) -> list[Measure]:
    """All measures of this module; needs nginx and wrk."""
    if shutil.which("wrk") is None:
        raise BenchError("no wrk here: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="bench-service-") as folder:
        work = Path(folder)
        measures = folder_measures(work, size, seconds, rounds)
        measures.append(stalled_measure(work))
        measures += object_measures(work, seconds, rounds)
    return measures


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench_service", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--size", type=int, default=4 * GIB, help="of the file, in bytes")
    parser.add_argument("--json", type=Path, help="write the results there too")
    options = parser.parse_args()
    seconds, rounds = (2.0, 1) if options.quick else (5.0, 3)
    measures = service_measures(options.size, seconds, rounds)
    print(measures_table(measures))
    if options.json:
        found = [
            {"name": m.name, "value": m.value, "unit": m.unit, "ratio": m.ratio} for m in measures
        ]
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
