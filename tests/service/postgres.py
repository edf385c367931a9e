"""A PostgreSQL server of this test session's own, from Debian's packages."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from types import TracebackType


def programs() -> Path | None:
    """The newest server's programs, which Debian keeps out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


class Postgres:
    """Listens on a socket in its folder only, and trusts who can reach that."""

    def __init__(self) -> None:
        found = programs()
        if found is None:
            pytest.skip("no PostgreSQL here: apt-get install postgresql")
        self._programs = found
        # Not among pytest's folders, which are for their owner only: it refuses to run as root.
        self._folder = Path(tempfile.mkdtemp())
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(self._folder, account.pw_uid, account.pw_gid)

    def __enter__(self) -> Self:
        data = self._folder / "data"
        self._run("initdb", "--pgdata", data, "--auth=trust", "--username=tests", "--no-sync")
        options = f"-c listen_addresses='' -k {self._folder} -c fsync=off"
        log = self._folder / "log"
        self._run("pg_ctl", "--pgdata", data, "--log", log, "--options", options, "--wait", "start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run("pg_ctl", "--pgdata", self._folder / "data", "--mode=immediate", "stop")
        shutil.rmtree(self._folder)

    def database(self, name: str) -> str:
        """The URL of a new database."""
        self._run("createdb", "--host", self._folder, "--username=tests", name)
        return f"postgresql+psycopg://tests@/{name}?host={self._folder}"

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [self._programs / program, *arguments]
        done = subprocess.run(
            command,
            user=self._user,
            cwd=self._folder,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{program}: {done.stdout}"
