"""Memory that other threads see: a `SharedArrayBuffer`, handled by `web/lib/shared-host.mjs`.

What is called for each request is a JavaScript function that was looked up once; looking a method
up costs as much as calling it.
"""

from __future__ import annotations

from typing import Any

from ..base import File, ReadableBuffer, Requests
from .interop import bridge, js_exception
from .opfs import OpfsFile

_MAX_CHUNKS = 64


class BrowserSharedMemory:
    """A `SharedMemory` of web workers."""

    def __init__(self, frame_shift: int, set_shift: int, size: int, requests: Requests) -> None:
        from pyodide.ffi import create_proxy

        callbacks = requests.offset_of, requests.respond, requests.give_up
        self._callbacks = [create_proxy(callback) for callback in callbacks]
        try:
            host = _bridge().SharedHost.new(frame_shift, set_shift, size, *self._callbacks)
        except js_exception() as error:  # a RangeError
            raise MemoryError(str(error)) from error
        self._host = host
        self.area = host.area
        """What clients are to get of the frames."""
        self._scratch = host.scratch
        self._chunks: dict[int, Any] = {}
        self._fill_buffer, self._put_buffer = host.fillBuffer, host.putBuffer
        self.has, self.forget, self.used, self.finish = (
            host.has,
            host.forget,
            host.used,
            host.finish,
        )

    def use(self, file: File) -> bool:
        if not isinstance(file, OpfsFile):
            return False
        self._host.use(file.handle)
        return True

    def put(self, block: int, data: ReadableBuffer) -> None:
        self._chunk(len(data)).assign(data)
        self._host.put(block)

    def add_client(self, client: int) -> object:
        return self._host.addClient(client)

    def remove_client(self, client: int) -> None:
        self._host.removeClient(client)

    def counters(self, client: int) -> tuple[int, int]:
        reads, byte_count = self._host.counters(client)
        return int(reads), int(byte_count)

    def fill_buffer(
        self, client: int, entry: int, start: int, file: File, offset: int, length: int
    ) -> bool:
        if not isinstance(file, OpfsFile):
            return False
        return bool(self._fill_buffer(client, entry, start, file.handle, offset, length))

    def put_buffer(self, client: int, entry: int, start: int, data: ReadableBuffer) -> None:
        self._chunk(len(data)).assign(data)
        self._put_buffer(client, entry, start, len(data))

    def take_buffer(self, client: int, entry: int, length: int) -> bytes:
        self._host.takeBuffer(client, entry, length)
        taken: bytes = self._chunk(length).to_bytes()
        return taken

    def put_failure(self, client: int, entry: int, failure: bytes) -> None:
        self._chunk(len(failure)).assign(failure)
        self._host.putFailure(client, entry, len(failure))

    def close(self) -> None:
        self._host.close()
        for callback in self._callbacks:
            callback.destroy()

    def free(self) -> None:
        # Python's own collector may come much later, and each disk has megabytes here.
        self._host.free()
        self.area = self._scratch = None
        self._chunks.clear()

    def _chunk(self, length: int) -> Any:
        """The beginning of the scratch buffer, kept: making a view takes longer than a read."""
        chunk = self._chunks.get(length)
        if chunk is None:
            if len(self._chunks) >= _MAX_CHUNKS:
                self._chunks.clear()
            chunk = self._chunks[length] = self._scratch.subarray(0, length)
        return chunk


def can_share() -> bool:
    """Whether this worker may share memory with the page: only where it is isolated."""
    import js

    return bool(getattr(js, "crossOriginIsolated", False)) and bridge() is not None


def _bridge() -> Any:
    found = bridge()
    assert found is not None
    return found
