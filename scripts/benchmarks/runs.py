"""Workloads read by every client: cold, again after a reload, and with a boot profile."""

from __future__ import annotations

import itertools
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Error as PlaywrightError

from aero_browser_disk.testing.synthetic_image import SyntheticImage
from benchmarks.browser import BenchPage
from benchmarks.results import Run
from benchmarks.server import BenchServer, Link
from benchmarks.workloads import KIB, MIB, Workload

CONCURRENCY = 6
SWEEP_REQUEST = 1 * MIB
PEER_CHUNK = 256 * KIB  # the fastest for v86 over the shaped link, among 64 KiB to 1 MiB


@dataclass(frozen=True, slots=True)
class Client:
    """A client: its name in the tables, its worker, and its options for opening."""

    name: str
    worker: str
    options: Mapping[str, Any] = field(default_factory=dict)
    keeps: bool = False  # its cache survives a reload


OURS = Client("ours", "ours", {"options": {}}, keeps=True)
BARE = Client("bare loop", "bare")
PEERS = (
    Client("v86", "v86", {"chunk": PEER_CHUNK}),
    Client("chunkd", "chunkd", {"chunk": PEER_CHUNK}),
    Client("fsspec", "fsspec", {"chunk": PEER_CHUNK}),
)


class WrongBytesError(Exception):
    """A client returned wrong bytes."""


class Runner:
    """Runs workloads in the page against the server."""

    def __init__(
        self, page: BenchPage, server: BenchServer, images: Mapping[str, SyntheticImage]
    ) -> None:
        self._page = page
        self._server = server
        self._images = images
        self._keys = (f"bench-{number}" for number in itertools.count())

    def compare(
        self,
        workload: Workload,
        link: Link,
        *,
        repeat: int,
        peers: Sequence[Client] = PEERS,
        profile: bool = False,
    ) -> list[Run]:
        """Our client and the bare loop, alternating `repeat` times; then each of the peers once."""
        say(f"{workload.name} · {link.name}")
        runs: dict[tuple[str, str], Run] = {}
        for _ in range(repeat):
            self._visit(runs, workload, link, OURS, profile=profile)
            self._visit(runs, workload, link, BARE)
        for peer in peers:
            self._visit(runs, workload, link, peer)
        return list(runs.values())

    def _visit(
        self,
        runs: dict[tuple[str, str], Run],
        workload: Workload,
        link: Link,
        client: Client,
        *,
        profile: bool = False,
    ) -> None:
        def run(state: str) -> Run:
            # The link can deliver everything while the guest is busy.
            bound = max(workload.think_s, link.bound_s(workload.distinct_bytes))
            new = Run(workload.name, link.name, client.name, state, bound, workload.distinct_bytes)
            return runs.setdefault((client.name, state), new)

        key = next(self._keys)
        self._once(run("cold"), workload, link, client, key)
        if client.keeps:
            made = self._page.call("profile") if profile and not run("cold").error else None
            self._once(run("warm"), workload, link, client, key)
            if made:
                options = {**client.options, "profile": made}
                with_profile = Client(client.name, client.worker, options)
                self._once(run("profile"), workload, link, with_profile, next(self._keys))

    def _once(self, run: Run, workload: Workload, link: Link, client: Client, key: str) -> None:
        if run.error:
            return
        say(f"    {client.name}, {run.state}", end=" ")
        try:
            self._measure(run, workload, link, client, key)
        except PlaywrightError as error:
            run.error = last_words(str(error))
            say(run.error)
        else:
            say(f"{run.seconds[-1]:.3f} s")

    def _measure(self, run: Run, workload: Workload, link: Link, client: Client, key: str) -> None:
        page, server = self._page, self._server
        image = self._images[workload.image]
        page.start(client.worker)
        server.shape(link)
        server.forget()
        # Peers use the browser's own cache, so the URL must be new to it.
        url = f"{server.image_url(workload.image)}?visit={key}"
        opened = page.call("open", **values_for(client, url, image.size, key))
        if opened:
            run.open_ms.append(opened["ms"])
        run.seconds.append(self._timed(workload, client) / 1000)
        traffic = server.traffic()
        run.requests.append(traffic.requests)
        run.bytes.append(traffic.bytes)
        run.preflights = max(run.preflights, traffic.preflights)
        run.max_at_once = max(run.max_at_once, traffic.max_at_once)
        server.shape(Link("unshaped"))
        self._check(workload, image)

    def _timed(self, workload: Workload, client: Client) -> float:
        """Milliseconds for the whole workload. The bare loop does not wait between reads."""
        if client is BARE and workload.name == "sequential":
            offset = workload.reads[0][0]
            result = self._page.call(
                "sweep",
                offset=offset,
                length=workload.bytes,
                concurrency=CONCURRENCY,
                request=SWEEP_REQUEST,
            )
        else:
            result = self._page.call("replay", reads=workload.reads)
        return float(result["ms"])

    def _check(self, workload: Workload, image: SyntheticImage) -> None:
        ranges = workload.ranges_to_check()
        sums = self._page.call("check", ranges=ranges)
        if sums != [zlib.crc32(image.read(offset, length)) for offset, length in ranges]:
            raise WrongBytesError(f"{workload.name}: not the image's bytes")


def values_for(client: Client, url: str, size: int, key: str) -> dict[str, Any]:
    """The arguments of a client's `open`."""
    if client.worker == "ours":
        return {"url": url, "key": key, **client.options}
    return {"url": url, "size": size, "key": key, **client.options}


def say(text: str, end: str = "\n") -> None:
    """Prints the progress."""
    print(text, end=end, file=sys.stderr, flush=True)


def last_words(error: str) -> str:
    """The message of an error that came from Python through JavaScript."""
    lines = [line for line in error.splitlines() if line and not line.startswith(" ")]
    return lines[-1]
