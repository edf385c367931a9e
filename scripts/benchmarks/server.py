"""The image server of the bench, in a process of its own, and the link that it shapes."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aero_browser_disk.testing.synthetic_image import SyntheticImage
from lib.server_process import PATIENCE_S, ServerProcess


@dataclass(frozen=True, slots=True)
class Link:
    """The link between browser and server. A bandwidth of None is unlimited."""

    name: str
    latency_s: float = 0.0
    bandwidth_bytes_per_s: float | None = None

    def bound_s(self, distinct_bytes: int) -> float:
        """The shortest possible time for that many bytes: one round trip, and the transfer."""
        rate = self.bandwidth_bytes_per_s
        return self.latency_s + (distinct_bytes / rate if rate else 0.0)


LOCAL = Link("local")
SHAPED = Link("50 Mbit/s, 40 ms", 0.040, 6.25e6)


@dataclass(frozen=True, slots=True)
class Traffic:
    """The server's counters. Bytes are those of bodies, counted when handed to the system."""

    requests: int
    bytes: int
    preflights: int
    max_at_once: int


class BenchServer(ServerProcess):
    """`aero_browser_disk.testing.image_server` with synthetic images, and files."""

    def __init__(self, synthetic: Mapping[str, SyntheticImage], files: list[Path]) -> None:
        module = "aero_browser_disk.testing.image_server"
        command: list[str | Path] = [sys.executable, "-m", module, *files]
        for name, image in synthetic.items():
            command += ["--synthetic", f"{name}={image.size}:{image.seed}"]
        super().__init__(command)

    def __enter__(self) -> Self:
        super().__enter__()
        # The link must not get slower when the machine is busy.
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, self.process.pid, -10)
        return self

    def image_url(self, name: str) -> str:
        """The URL of an image."""
        return f"{self.url}/{name}"

    def shape(self, link: Link) -> None:
        """Switches to this link."""
        behaviour = {
            "latency_s": link.latency_s,
            "bandwidth_bytes_per_s": link.bandwidth_bytes_per_s,
        }
        self._control("behaviour", {"behaviour": behaviour})

    def forget(self) -> None:
        """Resets the counters."""
        self._control("forget", {})

    def traffic(self) -> Traffic:
        """The traffic since `forget`."""
        report = self._control("requests")
        asked = [r for r in report["requests"] if r["method"] in ("GET", "HEAD")]
        preflights = len(report["requests"]) - len(asked)
        sent = sum(request["bytes_sent"] for request in asked)
        return Traffic(len(asked), sent, preflights, report["max_in_flight"])

    def measure(self, link: Link, name: str) -> tuple[float, float]:
        """The link as a bare client sees it: seconds for 512 bytes, and bytes per second."""
        self.shape(link)
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"))
        times = [fetch(connection, name, index << 20, 512) for index in range(20)]
        length = 8 << 20
        seconds = fetch(connection, name, 0, length) - link.latency_s
        connection.close()
        return statistics.median(times), length / seconds

    def _control(self, name: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_control/{name}", data)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            return json.load(response)


def fetch(connection: http.client.HTTPConnection, name: str, offset: int, length: int) -> float:
    """Seconds for a range."""
    start = time.perf_counter()
    headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
    connection.request("GET", f"/{name}", headers=headers)
    data = connection.getresponse().read()
    seconds = time.perf_counter() - start
    if len(data) != length:
        raise ValueError(f"{len(data)} of {length} bytes came")
    return seconds
