"""What the core needs of a platform: HTTP, files, locks, the clock, shared memory.

`browser` implements it with fetch, OPFS and Web Locks; `cpython` with CPython's standard
library; `memory.py` with bytes in memory, where nothing lasts. Foreign exceptions are mapped to
`aero_browser_disk.errors` here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

# What `File.read_into` may fill and `File.write` may take: a C-contiguous buffer of bytes.
WritableBuffer = bytearray | memoryview
ReadableBuffer = bytes | bytearray | memoryview

Credentials = Literal["omit", "same-origin", "include"]
Method = Literal["GET", "HEAD", "PUT", "POST", "DELETE"]


class HttpResponse(Protocol):
    """A response whose body may still be arriving."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers the platform shows, by lower-case name."""

    async def read(self) -> memoryview | None:
        """The next chunk of the body, in order; None at its end.

        The view is the caller's to keep. Raises `NetworkError` when the body breaks off.
        """

    def abort(self) -> None:
        """Drops the rest of the body and frees the connection. Idempotent; never raises."""


class HttpClient(Protocol):
    """Sends requests that bypass every HTTP cache and follow redirects."""

    async def request(
        self,
        method: Method,
        url: str,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials = "same-origin",
        body: bytes | None = None,
    ) -> HttpResponse:
        """Sends a request, with a body if there is one; returns once the headers of the response
        are in.

        Any status is a response. Cancelling the call aborts the request. Raises `NetworkError` when
        no response came, or none that the platform shows. Only use methods for which it does no
        harm if the server receives the request twice (RFC 9110 §9.2.2).
        """

    async def responds(self, url: str) -> bool:
        """Whether any response comes from `url`, even one that the platform does not show.

        Asks for no body. In a browser a page that is cross-origin isolated learns of a server only
        if that sends `Cross-Origin-Resource-Policy`.
        """

    def is_multiplexed(self, url: str) -> bool:
        """Whether the last response from `url` is known to have come over HTTP/2 or 3."""

    async def close(self) -> None:
        """Frees every connection."""


class Receiver(Protocol):
    """Takes a response by plain calls as it arrives. An exception that it raises ends the
    request."""

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """The status code, and the headers that the platform shows, by lower-case name."""

    def chunk(self, data: memoryview) -> None:
        """The next bytes of the body, in order. The view is valid for the length of the call."""


@runtime_checkable
class PushingHttp(Protocol):
    """A client that pushes a response to a `Receiver`: each await costs Python in a browser 0.1
    ms."""

    def may_push(self) -> bool:
        """Whether `push` works here."""

    async def push(
        self,
        url: str,
        headers: Mapping[str, str],
        credentials: Credentials,
        timeout_s: float,
        receiver: Receiver,
    ) -> None:
        """Sends a GET, as `HttpClient.request` does; returns once all of the body was handed over.

        Raises `NetworkError` when no response came or its body broke off, `TimeoutError` when
        nothing came for `timeout_s`, and what `receiver` raises. Cancelling the call aborts the
        request; nothing is handed over after that.
        """


class File(Protocol):
    """A file, opened exclusively. Every call but opening is synchronous."""

    def size(self) -> int:
        """Bytes in the file."""

    def read_into(self, target: WritableBuffer, offset: int) -> int:
        """Fills `target` from `offset`; returns how many bytes there were (short at the end)."""

    def write(self, data: ReadableBuffer, offset: int) -> None:
        """Writes all of `data` at `offset`, growing the file when needed.

        Raises `StorageFullError` when not all of it could be written; what is in that range of the
        file is then undefined.
        """

    def truncate(self, size: int) -> None:
        """Cuts or grows (with zeros) the file to `size` bytes.

        Growing reserves no storage: a device may be full when something is written there.
        """

    def allocate(self, offset: int, length: int) -> None:
        """Reserves storage for a range of bytes; grows the file to hold it.

        Later writes to the range do not fail for lack of space. Its content is undefined: zeros or
        what was there. Raises `StorageFullError` when there is not enough; the file's size is as it
        was then.
        """

    def flush(self) -> None:
        """Returns once everything written is durable."""

    def close(self) -> None:
        """Closes the file. Idempotent."""


class Storage(Protocol):
    """A private tree of files. Paths are relative, with `/` between names."""

    @property
    def kind(self) -> Literal["opfs", "folder", "memory"]:
        """Where the files are. Those in `memory` are gone with the session."""

    async def open(self, path: str, *, create: bool = True) -> File:
        """Opens a file, with the folders that lead to it.

        Raises `StorageBusyError` while another holder has it open, `FileNotFoundError` when it is
        not there and `create` is false.
        """

    async def list(self, path: str) -> list[str]:
        """The names in a folder, sorted; empty when there is no such folder."""

    async def facts(self, path: str) -> FileFacts | None:
        """What is known of a file without opening it; None when it is not there."""

    async def remove(self, path: str) -> None:
        """Removes a file or a folder with all that is in it; silent when it is not there.

        Raises `StorageBusyError` while a file in it is open.
        """

    async def estimate(self) -> StorageEstimate:
        """What is used and what may be."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file's size in bytes, and when it was written last, in seconds since the epoch."""

    size: int
    modified_at: float


@dataclass(frozen=True, slots=True)
class StorageEstimate:
    """Bytes used by this origin and bytes it may use at most."""

    usage: int
    quota: int


class Lock(Protocol):
    """A lock that this process, tab or worker holds, and loses when it dies."""

    def release(self) -> None:
        """Gives the lock up. Idempotent."""


class Locks(Protocol):
    """Named locks among all tabs and workers of this origin (or processes of this folder)."""

    async def acquire(self, name: str, timeout_s: float | None) -> Lock | None:
        """The lock, or None when another holder keeps it for all of `timeout_s`.

        Without a time-out it waits until the lock is free or the call is cancelled.
        """

    async def held(self, names: Collection[str]) -> set[str]:
        """Those of `names` whose locks somebody has at this moment."""


Message = dict[str, str | int | bytes]


class Channel(Protocol):
    """A channel on which the tabs and workers of this origin hear each other's messages."""

    def send(self, message: Message) -> None:
        """Sends a message to every other one that listens there."""

    def close(self) -> None:
        """Stops listening. Idempotent."""


class Channels(Protocol):
    """Named channels."""

    def open(self, name: str, hear: Callable[[Message], None]) -> Channel:
        """Receives the messages of others from now on."""


class Clock(Protocol):
    """Time, so that tests can control it."""

    def now(self) -> float:
        """Seconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Returns after `seconds`."""


class SharedMemory(Protocol):
    """Memory that other threads see: frames for a disk's blocks, and clients' requests.

    `web/lib/shared-protocol.mjs` describes it. Nothing here waits.
    """

    def use(self, file: File) -> bool:
        """Names the file that `offset_of` refers to; False when blocks cannot be read from it."""

    def has(self, block: int) -> bool:
        """Whether a block is in a frame."""

    def put(self, block: int, data: ReadableBuffer) -> None:
        """Puts a block into a frame, which evicts another."""

    def forget(self, offset: int, length: int) -> None:
        """Empties the frames of a range of bytes."""

    def used(self) -> int:
        """How many frames hold a block."""

    @property
    def area(self) -> object:
        """What is sent to clients to reach the frames."""

    def add_client(self, client: int) -> object:
        """Makes a mailbox for a client's requests; returns what is sent to the client to reach
        it."""

    def remove_client(self, client: int) -> None:
        """Forgets a client: what is put into its mailbox from now on is lost. Idempotent."""

    def counters(self, client: int) -> tuple[int, int]:
        """Reads and bytes that a client found in frames."""

    def fill_buffer(
        self, client: int, entry: int, start: int, file: File, offset: int, length: int
    ) -> bool:
        """Fills an entry's buffer from byte `start` on from a file; False when it gave not all."""

    def put_buffer(self, client: int, entry: int, start: int, data: ReadableBuffer) -> None:
        """Fills an entry's buffer from byte `start` on."""

    def take_buffer(self, client: int, entry: int, length: int) -> bytes:
        """The bytes in an entry's buffer."""

    def put_failure(self, client: int, entry: int, failure: bytes) -> None:
        """Puts a failure, as JSON, into an entry."""

    def finish(self, client: int, entry: int, result: int) -> None:
        """Responds to a request that was left for later."""

    def close(self) -> None:
        """Empties all frames and responds to what is posted now; later requests are ignored."""

    def free(self) -> None:
        """Frees the memory once every accepted request has its response; no callback follows."""


class Requests(Protocol):
    """Handles the requests that shared memory alone cannot serve."""

    def offset_of(self, block: int) -> int:
        """The offset of a block in the file that `use` named; negative when it is not there or
        needs waiting."""

    def respond(
        self, client: int, entry: int, kind: int, offset: int, length: int, extra: int
    ) -> int:
        """Responds to a request: its result, or 0 and `SharedMemory.finish` later."""

    def give_up(self, client: int, entry: int) -> None:
        """Cancels a request that was left for later."""


MakeSharedMemory = Callable[[int, int, int, Requests], SharedMemory]
"""From log2 of a frame's bytes, log2 of the number of sets, and the disk's size."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """How memory is shared with other threads, and the locks that show whether they are alive."""

    make_memory: MakeSharedMemory
    locks: Locks


@dataclass(frozen=True, slots=True)
class PageFacts:
    """The page that asks: its origin, and whether it is cross-origin isolated, if that is known."""

    origin: str
    is_isolated: bool | None = None


@dataclass(frozen=True, slots=True)
class Platform:
    """Everything that the core needs from its platform."""

    http: HttpClient
    storage: Storage
    locks: Locks
    clock: Clock
    channels: Channels | None = None
    """None if holders of one storage cannot send each other messages."""
    page: PageFacts | None = None
    """The page that this runs for; None outside a browser."""


# ── waiting ───────────────────────────────────────────────────────────────────────────────────────

Work = Callable[[], Coroutine[Any, Any, None]]


class Waiter(Protocol):
    """Waits for coroutines on behalf of synchronous code."""

    @property
    def may_try(self) -> bool:
        """Whether calls that do not wait may be made directly from the caller's thread."""

    def wait(self, work: Work) -> None:
        """Runs the coroutine that `work` makes; returns and raises what it does.

        Raises `CannotWaitError` when that is impossible here.
        """


Result = TypeVar("Result")


class Runner(Protocol):
    """Runs coroutines for synchronous code."""

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Waits for a coroutine; returns what it returns and raises what it raises.

        Raises `CannotWaitError` where that is impossible.
        """

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Has a coroutine run and waits for nothing; it is dropped where nothing runs it."""

    def close(self) -> None:
        """Ends what runs in the background. Idempotent."""

    def end(self, last: Coroutine[Any, Any, None]) -> None:
        """Runs `last`, then as `close`, while the interpreter ends.

        Threads that still run are not disturbed, and the wait is bounded.
        """
