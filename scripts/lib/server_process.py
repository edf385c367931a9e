"""Runs servers in separate processes: starts them, waits until they are ready, and ends them.

`ServerProcess` is for servers that print lines of JSON, as all of this project do. Other programs
are a `ProgramProcess` with a check that they are ready.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sysconfig
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# How long any step may take on a busy machine.
PATIENCE_S = 120
_POLL_S = 0.05
SERVICE_PROGRAM = Path(sysconfig.get_path("scripts"), "aero-disk-service")

LogLine = dict[str, Any]


class ServerError(Exception):
    """The server did not start, prints nothing, or has ended."""


class ProgramProcess:
    """Runs `command` during a `with` block, which begins once the server is ready.

    `options` go to `Popen`.
    """

    start_timeout_s: float = PATIENCE_S

    def __init__(self, command: Sequence[str | Path], **options: Any) -> None:
        self._command = command
        self._options = options

    def __enter__(self) -> Self:
        self.process: subprocess.Popen[str] = subprocess.Popen(
            self._command, text=True, **self._options
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """Kills it, if it has not ended; nothing that it uses has to survive."""
        self.process.kill()
        self.wait()

    def wait(self, timeout_s: float | None = PATIENCE_S) -> tuple[int, str]:
        """Waits for it to end; its exit status and what it wrote to stderr, if that is a pipe."""
        status = self.process.wait(timeout_s)
        written = ""
        if self.process.stderr and not self.process.stderr.closed:
            with self.process.stderr as stderr:
                written = stderr.read()
        return status, written

    def _wait_until_ready(self) -> None:
        """Polls until the server is ready; raises `ServerError` if it has ended."""
        deadline = time.monotonic() + self.start_timeout_s
        while not self._is_ready():
            if self.process.poll() is not None:
                raise ServerError(f"{self._command[0]} has ended:\n{self.output()}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self._command[0]} does not respond:\n{self.output()}")
            time.sleep(_POLL_S)

    def _is_ready(self) -> bool:
        """Whether the server is ready."""
        raise NotImplementedError

    def output(self) -> str:
        """The errors that it printed."""
        return ""


class ServerProcess(ProgramProcess):
    """A server that prints lines of JSON; `url` is where it listens.

    Its output is read at once, so that a full pipe never blocks it.
    """

    def __init__(self, command: Sequence[str | Path], **options: Any) -> None:
        super().__init__(command, stdout=subprocess.PIPE, **options)
        self._lines: queue.SimpleQueue[LogLine | None] = queue.SimpleQueue()
        self.before_url: list[LogLine] = []
        """The events before it listened."""
        self.url = ""

    def _wait_until_ready(self) -> None:
        self._reader = threading.Thread(target=self._read_lines)
        self._reader.start()
        while "url" not in (line := self.next_line()):
            self.before_url.append(line)
        self.url = line["url"]

    def wait(self, timeout_s: float | None = PATIENCE_S) -> tuple[int, str]:
        """Waits for it to end; its exit status and what it wrote to stderr, if that is a pipe."""
        status, written = super().wait(timeout_s)
        self._reader.join()
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
        """The next event of this kind; earlier ones of other kinds are dropped."""
        while (line := self.next_line()).get("event") != kind:
            pass
        return line

    def _read_lines(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(json.loads(line))
        self._lines.put(None)
