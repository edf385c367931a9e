"""What a save costs: pushes of a session, opening it elsewhere, and pushes beside reads.

    scripts/bench --only saves

The session is what a file system writes, without the boot of a guest: `debugfs` copies 30 MB of
files of the standard library into an ext4, then one more, and what changed in the image is written
to an overlay. The client is Python's, in a process that shares the processors with the server.
Needs `mke2fs` and `debugfs`, which Debian has in e2fsprogs.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import random
import subprocess
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aero_browser_disk import open_disk
from aero_browser_disk.file_systems import DiskFiles
from aero_browser_disk.platform.cpython import cpython_platform
from aero_browser_disk.saves import Pushed, SaveServer
from aero_browser_disk.saves.packing import pack
from aero_browser_disk.testing.image_server import ImageServer
from benchmarks.packing import in_own_loop
from benchmarks.results import MB, Measure
from benchmarks.runs import say
from benchmarks.server import SHAPED
from benchmarks.shaped_link import ShapedLink
from lib.server_process import SERVICE_PROGRAM, ServerProcess
from samples.debian_image import SYSTEM_PATH

SIZE = 128 << 20
GRANULE = 4096
SESSION_BYTES = 30_000_000
SMALL_BYTES = 64 << 10
SMALL = "/small.txt"
CHUNK = 256 << 10
READ = 1 << 20
THREADS = 4
GOAL = 1.1
IMAGE = "disk.img"


def saves(seconds: float) -> list[Measure]:
    """All of this module; the throughput for `seconds` each."""
    with tempfile.TemporaryDirectory(prefix="bench-saves-") as made:
        folder = Path(made)
        session = Session(folder)
        (folder / "images").mkdir()
        (folder / "images" / IMAGE).write_bytes(session.base)
        with save_service(folder) as (url, headers):
            measures = in_own_loop(_pushes(folder, session, url, headers))
            return [*measures, *_throughput(url, headers, seconds)]


class Session:
    """An ext4 as it was, after 30 MB of files were copied into it, and after one more was."""

    def __init__(self, folder: Path) -> None:
        image = folder / IMAGE
        with image.open("wb") as file:
            file.truncate(SIZE)
        _run("mke2fs", "-q", "-F", "-t", "ext4", str(image))
        self.base = image.read_bytes()
        names, total = [], 0
        for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py*")):
            if total >= SESSION_BYTES:
                break
            if path.is_file():
                names.append(path)
                total += path.stat().st_size
        self._copy(folder, image, names)
        self.written = image.read_bytes()
        small = folder / "small.txt"
        source = Path(json.__file__).read_bytes() * 10
        small.write_bytes(source[:SMALL_BYTES])
        self._copy(folder, image, [small])
        self.changed = image.read_bytes()
        image.write_bytes(self.base)

    def _copy(self, folder: Path, image: Path, files: list[Path]) -> None:
        commands = folder / "commands"
        names = (
            path.name if path.name == SMALL[1:] else f"{number}-{path.name}"
            for number, path in enumerate(files)
        )
        commands.write_text(
            "".join(f"write {path} {name}\n" for path, name in zip(files, names, strict=True))
        )
        _run("debugfs", "-w", "-f", str(commands), str(image))


def granules(before: bytes, after: bytes) -> Iterator[tuple[int, bytes]]:
    """The runs of granules that changed."""
    differs = (
        offset
        for offset in range(0, len(after), GRANULE)
        if before[offset : offset + GRANULE] != after[offset : offset + GRANULE]
    )
    runs = itertools.groupby(enumerate(differs), lambda item: item[1] - item[0] * GRANULE)
    for _, items in runs:
        offsets = [offset for _, offset in items]
        yield offsets[0], after[offsets[0] : offsets[-1] + GRANULE]


async def _pushes(
    folder: Path, session: Session, url: str, headers: dict[str, str]
) -> list[Measure]:
    small = list(granules(session.written, session.changed))
    first = list(granules(session.base, session.written))
    with ImageServer({IMAGE: session.base}) as images, ShapedLink(SHAPED, both_ways=True) as link:
        base = images.url(IMAGE)
        over = f"http://127.0.0.1:{link.to(urlsplit(url).port or 0)}/v1/saves"
        platform = cpython_platform(folder / "here")
        there = await SaveServer.open(over, allow_remote=True, headers=headers, platform=platform)
        opening = open_disk(base, overlay="work", allow_remote=True, platform=platform)
        async with opening as disk:
            save = await there.attach(disk)

            async def push(writes: list[tuple[int, bytes]]) -> tuple[Pushed, float]:
                for offset, data in writes:
                    await disk.write(offset, data)
                await disk.flush()
                started = time.monotonic()
                pushed = await save.push()
                return pushed, time.monotonic() - started

            whole, whole_s = await push(first)
            second, second_s = await push(small)
            save.close()
        await platform.http.close()
        platform = cpython_platform(folder / "there")
        there = await SaveServer.open(over, allow_remote=True, headers=headers, platform=platform)
        before, started = link.received_bytes, time.monotonic()
        below = await open_disk(base, allow_remote=True, platform=platform)
        async with await there.open_disk("work", below) as opened:
            opened_s, opened_bytes = time.monotonic() - started, link.received_bytes - before
            files = DiskFiles(opened)
            (volume,) = (await files.list("/")).entries
            found = await files.read(f"/{volume.name}{SMALL}", 0, SMALL_BYTES)
            read_bytes = link.received_bytes - before
        assert len(found) == SMALL_BYTES
        await platform.http.close()
    packed = len(pack(b"".join(data for _, data in small)))
    sent = second.chunk_bytes + second.manifest_bytes
    name = f"a session of {SESSION_BYTES / MB:.0f} MB"
    shaped = SHAPED.name
    return [
        Measure(
            f"push of {name}: sent, against what it changed",
            (whole.chunk_bytes + whole.manifest_bytes) / MB,
            "MB",
            whole.changed_bytes / MB,
        ),
        Measure(f"push of {name}: time, {shaped}", whole_s, "s"),
        Measure(
            "push after a small change: sent, against what it changed, compressed",
            sent / 1e3,
            "kB",
            packed / 1e3,
            GOAL,
        ),
        Measure("push after a small change: of that, manifest", second.manifest_bytes / 1e3, "kB"),
        Measure(f"push after a small change: time, {shaped}", second_s, "s"),
        Measure(f"{name}, opened elsewhere: time, {shaped}", opened_s, "s"),
        Measure(
            f"{name}, opened elsewhere: received before the first read", opened_bytes / 1e3, "kB"
        ),
        Measure(f"{name}, opened elsewhere: received to read one file", read_bytes / 1e3, "kB"),
    ]


def _throughput(url: str, headers: dict[str, str], seconds: float) -> list[Measure]:
    """Pushes of chunks and reads of the image, alone and beside one another."""
    created = _ask(url, "POST", "/v1/saves", headers, _NEW)
    path = f"/v1/saves/{json.loads(created)['id']}/chunks"
    chance = random.Random(19)  # noqa: S311 - the same each time

    def store(connection: http.client.HTTPConnection) -> int:
        data = chance.randbytes(CHUNK)
        name = hashlib.sha256(data).hexdigest()
        return _send(connection, "PUT", f"{path}/{name}", headers, data)

    def read(connection: http.client.HTTPConnection) -> int:
        offset = chance.randrange(SIZE // READ) * READ
        part = {**headers, "Range": f"bytes={offset}-{offset + READ - 1}"}
        return _send(connection, "GET", f"/disks/{IMAGE}/bytes", part)

    alone_pushed = _rates(url, seconds, store)[0]
    alone_read = _rates(url, seconds, read)[0]
    pushed, served = _rates(url, seconds, store, read)
    say(
        f"    pushes {alone_pushed:.0f} and {pushed:.0f} MB/s, reads {alone_read:.0f}, {served:.0f}"
    )
    return [
        Measure("service: pushes of chunks, beside reads", pushed, "MB/s", alone_pushed),
        Measure("service: reads, beside pushes of chunks", served, "MB/s", alone_read),
    ]


def _rates(
    url: str, seconds: float, *works: Callable[[http.client.HTTPConnection], int]
) -> list[float]:
    """MB a second of each kind of work, of which some threads do each."""
    done = [0] * len(works)
    lock = threading.Lock()
    until = time.monotonic() + seconds

    def repeat(kind: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        while time.monotonic() < until:
            count = works[kind](connection)
            with lock:
                done[kind] += count
        connection.close()

    threads = [
        threading.Thread(target=repeat, args=(kind,))
        for kind in range(len(works))
        for _ in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [count / MB / seconds for count in done]


_NEW = json.dumps({"name": "throughput", "base": {"version": "1", "size": SIZE}}).encode()


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes | None = None,
) -> int:
    """Bytes of the content that were sent or received; raises `RuntimeError` for a refusal."""
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    received = response.read()
    if response.status >= 300:
        raise RuntimeError(f"{method} {path}: {response.status}")
    return len(received) if body is None else len(body)


def _ask(url: str, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(method, path, body, headers)
        return connection.getresponse().read()
    finally:
        connection.close()


@contextmanager
def save_service(
    folder: Path, allow_origins: Sequence[str] = ()
) -> Iterator[tuple[str, dict[str, str]]]:
    """The image service with saves in a folder and SQLite, and a token for all of it.

    The images are in the folder's `images`.
    """
    key = Ed25519PrivateKey.generate()
    (folder / "saves").mkdir()
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "keys.pem").write_bytes(pem)
    settings = {
        "authorization.jwt.issuer": "bench",
        "authorization.jwt.audience": "bench",
        "authorization.jwt.keys_file": str(folder / "keys.pem"),
        "cors.allow_origins": [*allow_origins],
        "saves.enabled": True,
        "saves.folder": str(folder / "saves"),
        "saves.database": f"sqlite:///{folder / 'saves.db'}",
    }
    flags = [f"--set={name}={json.dumps(value)}" for name, value in settings.items()]
    claims = {
        "sub": "bench",
        "iss": "bench",
        "aud": "bench",
        "exp": int(time.time()) + 86400,
        "scope": "disk:read:* disk:write",
    }
    headers = {"Authorization": f"Bearer {jwt.encode(claims, key, algorithm='EdDSA')}"}
    command: list[str | Path] = [
        SERVICE_PROGRAM,
        "serve",
        "--images",
        folder / "images",
        "--port",
        "0",
        *flags,
    ]
    with ServerProcess(command) as running:
        yield running.url, headers


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, env={"PATH": SYSTEM_PATH})
