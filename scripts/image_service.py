"""The image service in a process of its own, with its access log."""

from __future__ import annotations

import json
import queue
import subprocess
import sysconfig
import threading
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

START_TIMEOUT_S = 30
BYTES_ROUTE = "/disks/{id}/bytes"
FACTS_ROUTE = "/v1/images/{id}/meta"
CATALOG_ROUTE = "/v1/images"
HEALTH_ROUTE = "/healthz"

LogLine = dict[str, Any]


class ServiceError(Exception):
    """The service did not start, or is gone."""


class ImageService:
    """`aero-disk-service serve` over a folder of images, as long as the `with` lasts."""

    def __init__(
        self, images: Path, host: str, allow_origins: Iterable[str], *, port: int = 0
    ) -> None:
        program = Path(sysconfig.get_path("scripts"), "aero-disk-service")
        self._command: list[str | Path] = [program, "serve", "--images", images]
        self._command += ["--host", host, "--port", str(port)]
        for origin in allow_origins:
            self._command += ["--allow-origin", origin]
        self._lines: queue.SimpleQueue[LogLine | None] = queue.SimpleQueue()
        self.url = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read_lines, daemon=True)
        self._reader.start()
        self.url = self._next_line()["url"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()

    def image_url(self, image: Path) -> str:
        """Where the bytes of an image of the folder are."""
        return self.url + BYTES_ROUTE.format(id=quote(image.name))

    def facts_url(self, image: Path) -> str:
        """Where the service says what it knows of an image."""
        return self.url + FACTS_ROUTE.format(id=quote(image.name))

    def image_requests(self) -> list[LogLine]:
        """The requests for images' bytes that ended since the last call, whatever their method."""
        # A request of our own ends the list: log lines come in the order in which requests end.
        with urllib.request.urlopen(self.url + HEALTH_ROUTE, timeout=START_TIMEOUT_S):
            pass
        lines = []
        while (line := self._next_line()).get("route") != HEALTH_ROUTE:
            lines.append(line)
        return [line for line in lines if line.get("route") == BYTES_ROUTE]

    def wait(self) -> None:
        """Returns when the service has ended."""
        self._process.wait()

    def _read_lines(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(json.loads(line))
        self._lines.put(None)

    def _next_line(self) -> LogLine:
        try:
            line = self._lines.get(timeout=START_TIMEOUT_S)
        except queue.Empty:
            raise ServiceError("the image service says nothing") from None
        if line is None:
            raise ServiceError("the image service has ended")
        return line
