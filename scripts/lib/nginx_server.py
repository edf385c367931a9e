"""Debian's nginx with a configuration from scripts/deploy/nginx, during a `with` block."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lib.server_process import ProgramProcess

CONFIGURATIONS = Path(__file__).parents[1] / "deploy" / "nginx"
_SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
# What Debian's nginx.conf sets around `server`, with all paths in a separate folder.
_MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_processes {workers};
{user}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type application/octet-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{content}
}}
"""

# A plain static server. v86 asks for permission to send a header of its own, here once.
_STATIC = """
log_format traffic '$request_method $status $body_bytes_sent';
server {
    listen ${AERO_DISK_LISTEN};
    root ${AERO_DISK_IMAGES};
    access_log ${AERO_DISK_LOG} traffic;
    add_header Access-Control-Allow-Origin "*" always;
    add_header Access-Control-Allow-Headers "Range, X-Accept-Encoding" always;
    add_header Access-Control-Max-Age 600 always;
    add_header Access-Control-Expose-Headers "Accept-Ranges, Content-Range, ETag" always;
    add_header Cross-Origin-Resource-Policy cross-origin always;
    if ($request_method = OPTIONS) { return 204; }
}
"""


class NginxError(Exception):
    """nginx is not installed, or did not start."""


def find_nginx() -> str | None:
    """The program, which on Debian is not in an ordinary user's PATH."""
    return shutil.which("nginx", path=_SYSTEM_PATH)


class Nginx(ProgramProcess):
    """Runs `configuration` (a name in scripts/deploy/nginx, or text) with values for its `${...}`.

    Listens on a free port of 127.0.0.1, which `${AERO_DISK_LISTEN}` stands for.
    """

    def __init__(
        self, folder: Path, configuration: str, values: Mapping[str, str], workers: int = 1
    ) -> None:
        program = find_nginx()
        if program is None:
            raise NginxError("no nginx here: apt-get install nginx-light")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        text = configuration
        if "{" not in configuration:
            text = (CONFIGURATIONS / f"{configuration}.conf.template").read_text()
        known = {"AERO_DISK_LISTEN": f"127.0.0.1:{self.port}", **values}
        content = re.sub(r"\$\{(AERO_[A-Z_]+)\}", lambda match: known[match[1]], text)
        main = folder / "nginx.conf"
        # Under root, nginx would run its worker as `nobody`, who may not read root's files.
        user = "user root;" if os.geteuid() == 0 else ""
        main.write_text(_MAIN.format(folder=folder, workers=workers, user=user, content=content))
        super().__init__([program, "-c", main, "-p", folder, "-e", f"{folder}/error.log"])

    def _is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    def end(self) -> None:
        """Ends it and its workers, which a kill would leave running."""
        self.process.terminate()
        self.wait()

    def output(self) -> str:
        """The content of its error log."""
        log = self._folder / "error.log"
        return log.read_text() if log.is_file() else ""


class StaticNginx(Nginx):
    """nginx with the files of a folder, for any page; counts requests and the bytes of bodies."""

    def __init__(self, folder: Path, files: Path) -> None:
        self._access_log = folder / "access.log"
        self._read = 0
        values = {"AERO_DISK_IMAGES": str(files), "AERO_DISK_LOG": str(self._access_log)}
        super().__init__(folder, _STATIC, values)

    def traffic(self) -> tuple[int, int]:
        """GET and HEAD requests that ended since the last call, and the bytes of their bodies."""
        lines: list[str] = []
        with suppress(FileNotFoundError), self._access_log.open() as log:
            log.seek(self._read)
            lines = log.readlines()
            self._read = log.tell()
        asked = [line.split() for line in lines if not line.startswith("OPTIONS")]
        return len(asked), sum(int(sent) for _, _, sent in asked)
