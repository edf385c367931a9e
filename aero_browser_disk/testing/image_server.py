"""A real HTTP/1.1 server for images that counts, shapes and breaks its responses on command.

    with ImageServer({"disk.img": SyntheticImage(1 << 40)}) as server:
        server.fail_next(Behaviour(status=503, retry_after_s=1))
        ...  # something that reads server.url("disk.img")
        assert [request.status for request in server.requests] == [503, 206]

It responds as RFC 9110 says and with full CORS unless a `Behaviour` says otherwise. From another
process or language, run `python -m aero_browser_disk.testing.image_server FILE...` and steer it
over HTTP: see `image_control`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, unquote

from .behaviour import Behaviour
from .http_connection import HttpConnection, MalformedRequestError
from .image_content import ImageData, ServedImage
from .image_control import CONTROL_PATH, MAX_CONTROL_BODY, respond_to_command
from .image_response import RequestHead, ServedResponse, image_response, text_response
from .request_log import Request, RequestLog
from .response_sender import ResponseSender, head_bytes
from .synthetic_image import SyntheticImage

if TYPE_CHECKING:
    from types import TracebackType

__all__ = [
    "Behaviour",
    "ImageServer",
    "Request",
    "RequestHead",
    "ServedImage",
    "SyntheticImage",
]

_SEND_BUFFER = 1 << 17  # small, so that a client that stops reading is noticed early

Predicate = Callable[["ImageServer"], bool]


class ImageServer:
    """Serves images by name from a thread of its own, from `start()` to `stop()` or in a `with`.

    `port` 0 takes a free one. The default host is reachable as `127.0.0.1` and as `localhost`,
    which browsers take for two origins. All methods may be called from any thread.
    """

    def __init__(
        self,
        images: Mapping[str, ImageData] | None = None,
        *,
        behaviour: Behaviour | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        """How the server responds for images without a behaviour of their own."""
        self._images: dict[str, ServedImage] = {}
        for name, data in (images or {}).items():
            self.add(name, data)
        self._host = host
        self._port = port
        self._log = RequestLog()
        self._faults: list[_Fault] = []
        self._sender = ResponseSender(self._log)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._accepted: set[asyncio.Task[Any]] = set()

    # ── life ──

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listens; connections are accepted when it returns. Raises OSError, RuntimeError."""
        if self._thread is not None:
            raise RuntimeError(f"the server was started already, at {self.origin}")
        listener = socket.create_server((self._host, self._port))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        # asyncio sets it on sockets made for TCP by number only, and create_server's are not.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = listener.getsockname()[1]
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(listener, ready)),
            name="image server",
            daemon=True,
        )
        self._thread.start()
        ready.result()

    def stop(self) -> None:
        """Cuts every connection and frees the port. Idempotent; `start()` takes the port again."""
        if self._thread is None:
            return
        assert self._loop is not None
        assert self._stopping is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._thread = None

    # ── images and addresses ──

    @property
    def port(self) -> int:
        """The port; the real one once started."""
        return self._port

    @property
    def origin(self) -> str:
        """`http://host:port`."""
        return f"http://{self._host}:{self._port}"

    def url(self, name: str, host: str | None = None) -> str:
        """Where the image of this name is, or would be; `host` to name this machine otherwise."""
        return f"http://{host or self._host}:{self._port}/{quote(name)}"

    def add(self, name: str, data: ImageData) -> ServedImage:
        """Serves another image. Raises ValueError for a name that is taken or cannot be one."""
        if not name or name in self._images or f"/{name}".startswith(CONTROL_PATH):
            raise ValueError(f"no image can be added by the name {name!r}")
        image = self._images[name] = ServedImage(data)
        return image

    def image(self, name: str) -> ServedImage:
        """The image, to replace its bytes or set its behaviour. Raises KeyError."""
        return self._images[name]

    @property
    def images(self) -> Mapping[str, ServedImage]:
        """All images by name."""
        return dict(self._images)

    # ── faults ──

    def fail_next(
        self,
        behaviour: Behaviour,
        times: int = 1,
        only_when: Callable[[RequestHead], bool] | None = None,
        image: str | None = None,
    ) -> None:
        """Responds to the next `times` requests with `behaviour` instead of what else is set.

        Without `only_when` it applies to the next GET and HEAD requests for images, with it to
        those for which it is true (preflights included); `image` limits it to one image. Faults are
        used up in the order they were set.
        """
        with self._lock:
            self._faults.append(_Fault(behaviour, times, only_when, image))

    def forget_faults(self) -> None:
        """Forgets the one-shot faults that were not used yet."""
        with self._lock:
            self._faults.clear()

    @property
    def faults_left(self) -> int:
        """How many one-shot faults were not used yet."""
        with self._lock:
            return sum(fault.times for fault in self._faults)

    def release(self) -> None:
        """Lets every request that has arrived so far go on, and past stalls still before it."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._sender.release, self._log.last_number)

    # ── what was asked ──

    @property
    def requests(self) -> list[Request]:
        """All requests since the last `forget()`, in order of arrival."""
        return self._log.requests

    def image_requests(self, name: str) -> list[Request]:
        """The GET and HEAD requests for one image since the last `forget()`."""
        return [r for r in self.requests if r.image == name and r.method in ("GET", "HEAD")]

    def forget(self) -> None:
        """Forgets all requests, and the most that were in flight. Behaviours and faults stay."""
        self._log.forget()

    @property
    def in_flight(self) -> int:
        """Requests for images whose response is being sent."""
        return self._log.in_flight

    @property
    def max_in_flight(self) -> int:
        """The highest number of image requests in flight at once since the last `forget()`."""
        return self._log.max_in_flight

    def wait_for(self, predicate: Predicate, timeout_s: float = 60.0) -> None:
        """Blocks until `predicate(server)` holds, looking again whenever a request goes on.

        A predicate that asks for a request that has yet to come (IndexError) does not hold. Raises
        TimeoutError, with the requests so far.
        """
        self._log.wait_for(lambda: predicate(self), timeout_s)

    async def until(self, predicate: Predicate, timeout_s: float = 60.0) -> None:
        """`wait_for` for a caller whose own event loop must go on meanwhile."""
        await asyncio.to_thread(self.wait_for, predicate, timeout_s)

    # ── the server's thread ──

    async def _run(self, listener: socket.socket, ready: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        loop = self._loop
        # Not loop.create_server: closing that loses connections it is just accepting.
        listener.setblocking(False)
        loop.add_reader(listener, self._accept, listener, loop)
        ready.set_result(None)
        await self._stopping.wait()
        loop.remove_reader(listener)
        listener.close()
        # Connections that are just being made have yet to start their task: hence in rounds.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in self._connections:
                task.cancel()
            await asyncio.wait(others, timeout=0.02)
        await asyncio.sleep(0)  # the transports close themselves in the next turn of the loop

    def _accept(self, listener: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        try:
            accepted, _ = listener.accept()
        except OSError:
            return  # the client has left again
        accepted.setblocking(False)
        making = loop.create_task(
            loop.connect_accepted_socket(lambda: HttpConnection(self._serve, loop), accepted)
        )
        self._accepted.add(making)
        making.add_done_callback(self._accepted.discard)

    async def _serve(self, connection: HttpConnection) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            while (arrived := await connection.read_head()) is not None:
                head, keep = arrived
                body = await connection.read_body(head, MAX_CONTROL_BODY)
                if head.path.startswith(CONTROL_PATH):
                    response = await respond_to_command(self, head, body)
                    await self._write(connection, _kept(response, keep=keep))
                else:
                    await self._respond(connection, head, keep=keep)
                if not keep:
                    return
        except MalformedRequestError as error:
            response = text_response(error.status, RequestHead("GET", "", "", {}), Behaviour())
            await self._write(connection, _kept(response, keep=False))

    async def _write(self, connection: HttpConnection, response: ServedResponse) -> None:
        await connection.write(head_bytes(response) + response.body.read_all())

    async def _respond(self, connection: HttpConnection, head: RequestHead, *, keep: bool) -> None:
        name = unquote(head.path[1:])
        image = self._images.get(name)
        number = self._log.arrived(
            head.method, head.path, head.query, head.headers, name if image else None
        )
        try:
            if image is None:
                behaviour = Behaviour()
                response = text_response(404, head, behaviour)
            else:
                behaviour = self._behaviour(name, image, head)
                response = image_response(head, image.version(), behaviour, number)
                if behaviour.ignore_range and response.status == 200 and "range" in head.headers:
                    behaviour = _slowed(behaviour, response)
            await self._sender.send(connection, number, _kept(response, keep=keep), behaviour)
        except BaseException:
            self._log.aborted(number)
            raise

    def _behaviour(self, name: str, image: ServedImage, head: RequestHead) -> Behaviour:
        with self._lock:
            for fault in self._faults:
                if fault.meets(name, head):
                    fault.times -= 1
                    if fault.times == 0:
                        self._faults.remove(fault)
                    return fault.behaviour
        return image.behaviour or self.behaviour


class _Fault:
    """A behaviour for some requests to come."""

    def __init__(
        self,
        behaviour: Behaviour,
        times: int,
        only_when: Callable[[RequestHead], bool] | None,
        image: str | None,
    ) -> None:
        if times < 1:
            raise ValueError(f"a fault cannot happen {times} times")
        self.behaviour = behaviour
        self.times = times
        self._only_when = only_when
        self._image = image

    def meets(self, name: str, head: RequestHead) -> bool:
        if self._image not in (None, name):
            return False
        if self._only_when is None:
            return head.method in ("GET", "HEAD")
        return self._only_when(head)


def _kept(response: ServedResponse, *, keep: bool) -> ServedResponse:
    """The response with a `Connection` header."""
    word = {"Connection": "keep-alive" if keep else "close"}
    return replace(response, headers={**response.headers, **word})


def _slowed(behaviour: Behaviour, response: ServedResponse) -> Behaviour:
    """A whole image in place of a range, slow enough for the client to stop it."""
    own_pace = behaviour.drip_bytes or behaviour.bandwidth_bytes_per_s
    if own_pace or response.body.length <= 1 << 20:
        return behaviour
    return replace(behaviour, drip_bytes=1 << 16, drip_interval_s=0.01)


# ── the command line ──────────────────────────────────────────────────────────────────────────────


def main(arguments: list[str] | None = None) -> None:
    """Serves until SIGINT or SIGTERM."""
    options = _parser().parse_args(arguments)
    server = ImageServer(behaviour=options.behaviour, host=options.host, port=options.port)
    for path in options.files:
        server.add(path.name, path)
    for name, image in options.synthetic:
        server.add(name, image)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with server:
        print(json.dumps({"event": "listening", "url": server.origin}), flush=True)
        ended.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m aero_browser_disk.testing.image_server",
        description="Serves images; counts, shapes and breaks the responses on command.",
    )
    parser.add_argument("files", metavar="FILE", nargs="*", type=Path, help="served by its name")
    parser.add_argument(
        "--synthetic",
        metavar="NAME=SIZE[:SEED]",
        action="append",
        default=[],
        type=_synthetic,
        help="an image of SIZE bytes made up on the fly",
    )
    parser.add_argument(
        "--behaviour",
        metavar="JSON",
        default=None,
        type=lambda text: Behaviour.from_json(json.loads(text)),
        help="fields of Behaviour from the start",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    return parser


def _synthetic(text: str) -> tuple[str, SyntheticImage]:
    name, _, numbers = text.rpartition("=")
    size, _, seed = numbers.partition(":")
    return name, SyntheticImage(int(size), int(seed or 0))


if __name__ == "__main__":
    main()
