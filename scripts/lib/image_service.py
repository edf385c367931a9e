"""The image service in a process of its own, with its access log."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from lib.server_process import PATIENCE_S, SERVICE_PROGRAM, LogLine, ServerProcess

BYTES_ROUTE = "/disks/{id}/bytes"
MANIFEST_ROUTE = "/disks/{id}/manifest.json"
FACTS_ROUTE = "/v1/images/{id}/meta"
CATALOG_ROUTE = "/v1/images"
HEALTH_ROUTE = "/healthz"


class ImageService(ServerProcess):
    """`aero-disk-service serve` over a folder of images, during the `with` block."""

    def __init__(
        self, images: Path, host: str, allow_origins: Iterable[str], *, port: int = 0
    ) -> None:
        command: list[str | Path] = [SERVICE_PROGRAM, "serve", "--images", images]
        command += ["--host", host, "--port", str(port)]
        for origin in allow_origins:
            command += ["--allow-origin", origin]
        super().__init__(command)

    def image_url(self, image: Path) -> str:
        """The URL of the bytes of an image in the folder."""
        return self.url + BYTES_ROUTE.format(id=quote(image.name))

    def manifest_url(self, folder: Path) -> str:
        """The URL of the manifest of a prepared image, which is a folder in the folder."""
        return self.url + MANIFEST_ROUTE.format(id=quote(folder.name))

    def facts_url(self, image: Path) -> str:
        """The URL of an image's metadata."""
        return self.url + FACTS_ROUTE.format(id=quote(image.name))

    def image_requests(self) -> list[LogLine]:
        """The requests for images' bytes that ended since the last call, of any method."""
        # An extra request marks the end: log lines come in the order in which requests end.
        with urllib.request.urlopen(self.url + HEALTH_ROUTE, timeout=PATIENCE_S):
            pass
        lines = []
        while (line := self.next_line()).get("route") != HEALTH_ROUTE:
            lines.append(line)
        return [line for line in lines if line.get("route") == BYTES_ROUTE]
