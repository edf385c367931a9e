"""Writes log lines from a thread of its own, so that a full pipe or disk blocks nothing else."""

from __future__ import annotations

import json
import os
import select
import threading
from typing import Final

# A few thousand lines, for a reader that pauses. Lines beyond that are dropped.
MAX_WAITING_BYTES: Final = 1 << 20
# How long `close` waits for the last lines.
_CLOSE_S: Final = 2.0


class LogWriter:
    """A `LineStream` over the descriptor `descriptor`.

    A write never blocks and never raises. Lines for which there is no space are dropped, and
    counted in a line of their own once there is: `{"event": "log_dropped", "lines": 7}`.
    """

    def __init__(self, descriptor: int, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        self._descriptor = descriptor
        self._max_waiting_bytes = max_waiting_bytes
        self._changed = threading.Condition()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._dropped = 0
        self._closed = False
        # A pipe may stay full forever; the process must still end.
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, lines: str, /) -> None:
        """Takes whole lines, or drops them."""
        data = lines.encode()
        with self._changed:
            if self._closed or self._waiting_bytes + len(data) > self._max_waiting_bytes:
                self._dropped += data.count(b"\n")
                return
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            self._changed.notify()

    def flush(self) -> None:
        """Does nothing: the thread writes as fast as it can."""

    def close(self) -> None:
        """Waits for the last lines, but not long."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._dropped or self._closed)
                lines, self._waiting = self._waiting, []
                if self._dropped:
                    note = {"event": "log_dropped", "lines": self._dropped}
                    lines.append(json.dumps(note).encode() + b"\n")
                    self._dropped = 0
                if not lines:
                    return
            data = b"".join(lines)
            self._write(data)
            with self._changed:
                self._waiting_bytes = sum(map(len, self._waiting))

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                # Another process made the shared pipe non-blocking.
                select.select((), (self._descriptor,), ())
            except BrokenPipeError:
                # The reader is gone.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._descriptor)
            except OSError:
                # The disk is full; the next lines may find free space again.
                return
