"""Metrics for Prometheus. Every label has a few known values; none comes from a client."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
    start_http_server,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from .exchange import Exchange

_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"))
# A range in page cache takes under a millisecond, a whole image on a slow link hours.
_DURATIONS_S: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 1000)


class Metrics:
    """Counts what one process does; for its one event loop."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        counter, of_route = partial(Counter, registry=registry), ("route",)
        of_request = (*of_route, "method", "status")
        ranges = "What became of the Range of requests for bytes."
        took = "From a request's headers to the end of its response."
        cut = "Bodies that ended before their length."
        in_flight = "Requests in flight."
        relayed = "Relayed requests, by what became of them."
        pushes = "Manifests of saves that were pushed, by what became of them."
        chunk_bytes = "Bytes of new chunks of saves."
        self._requests = counter("aero_disk_requests", "Requests that ended.", of_request)
        self._bytes = counter("aero_disk_body_bytes", "Bytes of bodies sent.", of_route)
        self._ranges = counter("aero_disk_ranges", ranges, ("result",))
        self._durations = Histogram(
            "aero_disk_request_duration_seconds",
            took,
            of_route,
            buckets=_DURATIONS_S,
            registry=registry,
        )
        self.in_flight = Gauge("aero_disk_requests_in_flight", in_flight, registry=registry)
        self._store_errors = counter("aero_disk_store_errors", "Failures of the store.", ("kind",))
        self._limited = counter("aero_disk_limited", "Requests refused with 429.", ("limit",))
        self._cut = counter("aero_disk_cut_short", cut)
        self._relayed = counter("aero_disk_relayed", relayed, ("server", "result"))
        self._pushes = counter("aero_disk_save_pushes", pushes, ("result",))
        self._chunk_bytes = counter("aero_disk_save_chunk_bytes", chunk_bytes)
        for kind in ("failed", "changing"):
            self._store_errors.labels(kind)
        # Looking up labels takes longer than counting. There are few combinations.
        self._of_route = lru_cache(128)(
            lambda route: (self._bytes.labels(route), self._durations.labels(route))
        )
        self._of_response = lru_cache(1024)(self._requests.labels)
        self._of_result = lru_cache(16)(self._ranges.labels)

    def ended(self, exchange: Exchange) -> None:
        """Counts a finished request."""
        took_s = time.monotonic() - exchange.record.started_at
        self.repeated(exchange)(exchange.record.body_bytes, took_s)
        if exchange.record.cut is not None:
            self._cut.inc()

    def repeated(self, exchange: Exchange) -> Callable[[int, float], None]:
        """A function that counts requests like this finished one, by body bytes and seconds."""
        route, result = exchange.request.route or "none", exchange.record.range_result
        method = exchange.request.method if exchange.request.method in _METHODS else "other"
        requests = self._of_response(route, method, str(exchange.record.status or 0))
        bytes_of_route, durations = self._of_route(route)
        of_result = None if result is None else self._of_result(result)

        def count(body_bytes: int, took_s: float) -> None:
            requests.inc()
            bytes_of_route.inc(body_bytes)
            durations.observe(took_s)
            if of_result is not None:
                of_result.inc()

        return count

    def store_error(self, kind: str) -> None:
        """Counts a failure of the store: `failed` or `changing`."""
        self._store_errors.labels(kind).inc()

    def relayed(self, server: str, result: str) -> None:
        """Counts a relayed request: `ok`, or why there was no response. Both are few."""
        self._relayed.labels(server, result).inc()

    def pushed(self, result: str) -> None:
        """Counts a pushed manifest: `switched`, `repeated`, `conflict` or `refused`."""
        self._pushes.labels(result).inc()

    def stored_chunk(self, length: int) -> None:
        """Counts the bytes of a new chunk."""
        self._chunk_bytes.inc(length)

    def limited(self, limit: str) -> None:
        """Counts a 429 by its limit."""
        self._limited.labels(limit).inc()

    def exposition(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        return generate_latest(self._registry)

    def serve(self, host: str, port: int) -> int:
        """Serves the metrics on a separate address, from a thread; returns the port.

        Raises `OSError`.
        """
        server, _ = start_http_server(port, host, self._registry)
        return server.server_port
