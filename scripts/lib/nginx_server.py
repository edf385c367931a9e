"""Debian's nginx with a configuration from scripts/deploy/nginx, during a `with` block."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Mapping
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


class NginxError(Exception):
    """nginx is not installed, or did not start."""


def find_nginx() -> str | None:
    """The program, which on Debian is not in an ordinary user's PATH."""
    return shutil.which("nginx", path=_SYSTEM_PATH)


class Nginx(ProgramProcess):
    """Runs `configuration` (a name in scripts/deploy/nginx, or its text) with values for its `${...}`.

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
