"""A server in a process of its own that says in lines of JSON where it listens and what it does."""

from __future__ import annotations

import json
import queue
import subprocess
import sysconfig
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# How long anything may take on a busy machine.
PATIENCE_S = 30
SERVICE_PROGRAM = Path(sysconfig.get_path("scripts"), "aero-disk-service")

LogLine = dict[str, Any]


class ServerError(Exception):
    """The server did not start, says nothing, or has ended."""


class ServerProcess:
    """Runs `command` as long as the `with` lasts; `url` is where it listens.

    What it prints is read at once, so that a full pipe never stops it. `options` go to `Popen`.
    """

    def __init__(self, command: Sequence[str | Path], **options: Any) -> None:
        self._command = command
        self._options = options
        self._lines: queue.SimpleQueue[LogLine | None] = queue.SimpleQueue()
        self.before_url: list[LogLine] = []
        """What it said before it listened."""
        self.url = ""

    def __enter__(self) -> Self:
        self.process: subprocess.Popen[str] = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, text=True, **self._options
        )
        self._reader = threading.Thread(target=self._read_lines)
        self._reader.start()
        try:
            while "url" not in (line := self.next_line()):
                self.before_url.append(line)
        except BaseException:
            self.end()
            raise
        self.url = line["url"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """Kills it, if it has not ended: nothing that it has outlives it."""
        self.process.kill()
        self.wait()

    def wait(self, timeout_s: float | None = PATIENCE_S) -> tuple[int, str]:
        """Waits for it to end; its exit status and what it wrote to stderr, if that is a pipe."""
        status = self.process.wait(timeout_s)
        self._reader.join()
        written = ""
        if self.process.stderr and not self.process.stderr.closed:
            with self.process.stderr as stderr:
                written = stderr.read()
        return status, written

    def next_line(self) -> LogLine:
        """The next line that it prints; raises `ServerError`."""
        try:
            line = self._lines.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise ServerError(f"{self._command[0]} says nothing") from None
        if line is None:
            raise ServerError(f"{self._command[0]} has ended: {self.wait()}")
        return line

    def event(self, kind: str) -> LogLine:
        """The next line of this kind of event; others before it are dropped."""
        while (line := self.next_line()).get("event") != kind:
            pass
        return line

    def _read_lines(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(json.loads(line))
        self._lines.put(None)
