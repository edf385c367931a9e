"""A local S3-compatible object store, SeaweedFS, for tests and for trying things out."""

from __future__ import annotations

import json
import socket
import subprocess
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lib.server_process import ProgramProcess

_VOLUME_SIZE_MB = 1024
# SeaweedFS puts sockets here whatever the temporary folder is, and leaves them behind.
_SOCKETS = Path("/", "tmp")


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that sign requests to it."""

    access_key: str = "local-access-key"
    secret_key: str = "local-secret-key"

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables that S3 clients read them from."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


class LocalObjectStore(ProgramProcess):
    """SeaweedFS over `folder`, listening on 127.0.0.1 only, during the `with` block.

    `port` 0 takes a free one. Everybody may read `public_bucket`. It takes about 200 MB of memory
    and 4 to 10 s to start.
    """

    region = "us-east-1"
    start_timeout_s = 90

    def __init__(self, folder: Path, port: int = 0, public_bucket: str | None = None) -> None:
        self._folder = folder
        self._public_bucket = public_bucket
        self.keys = Keys()
        with ExitStack() as held:
            # All at once, or the system may hand out the same port twice.
            free = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(8)]
            ports = [listener.getsockname()[1] for listener in free]
        self._ports = [port or ports[0], *ports[1:]]
        self.url = f"http://127.0.0.1:{self._ports[0]}"
        super().__init__(self._arguments())

    def __enter__(self) -> Self:
        with (self._folder / "seaweedfs.log").open("wb") as log:
            self._options = {"stdout": log, "stderr": subprocess.STDOUT, "cwd": self._folder}
            return super().__enter__()

    def end(self) -> None:
        """Kills it: a clean shutdown takes 10 s."""
        super().end()
        for port in self._ports:
            for left in _SOCKETS.glob(f"seaweedfs-*-grpc-{port}.sock"):
                left.unlink()

    def _arguments(self) -> list[str]:
        s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = self._ports
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        identities = self._folder / "identities.json"
        identities.write_text(json.dumps({"identities": self._identities()}))
        return [
            str(Path(sysconfig.get_path("scripts")) / "weed"),
            "server",
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={data}"),
            *("-master.telemetry=false", f"-master.volumeSizeLimitMB={_VOLUME_SIZE_MB}"),
            *(f"-master.port={master}", f"-master.port.grpc={master_grpc}"),
            *(f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}", "-volume.max=0"),
            *("-filer", f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}"),
            f"-filer.localSocket={self._folder / 'filer.sock'}",
            *("-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}", f"-s3.config={identities}"),
            f"-s3.localSocket={self._folder / 's3.sock'}",
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        ]

    def _identities(self) -> list[dict[str, object]]:
        keys = {"accessKey": self.keys.access_key, "secretKey": self.keys.secret_key}
        actions = ["Admin", "Read", "List", "Tagging", "Write"]
        identities: list[dict[str, object]] = [
            {"name": "local", "credentials": [keys], "actions": actions}
        ]
        if self._public_bucket is not None:
            identities.append({"name": "anonymous", "actions": [f"Read:{self._public_bucket}"]})
        return identities

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2):
                return True
        except (OSError, urllib.error.URLError):
            return False

    def output(self) -> str:
        """The end of its log."""
        log = self._folder / "seaweedfs.log"
        return "".join(log.read_text(errors="replace").splitlines(keepends=True)[-20:])
