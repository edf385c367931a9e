"""A Debian in v86 that writes 30 MB: what its pushes send, and what its save costs elsewhere.

Part of `scripts/bench --only saves` where the image is there that `scripts/demo --debian` makes.
The guest boots over the shaped link in Chromium, writes to an overlay and pushes; then a browser
with a new profile boots the save. All of it is on the link but the site: the base's server, and the
service of the saves.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aero_browser_disk.testing.image_server import ImageServer
from benchmarks.browser import CALL_TIMEOUT_MS, BenchPage
from benchmarks.results import MB, Measure
from benchmarks.runs import say
from benchmarks.saves import GOAL, SESSION_BYTES, SMALL_BYTES, save_service
from benchmarks.server import SHAPED
from benchmarks.shaped_link import ShapedLink
from lib import browsers
from lib.project import CACHE
from samples.boot_traces import PROMPT

MODULE = "saved-guest.mjs"
IMAGE = "debian.img"
FILE = "/root/session"
# Programs and libraries, as many bytes of them as the session has; then a line.
WRITE = f"tar -cf - /usr/lib /usr/bin 2> /dev/null | head -c {SESSION_BYTES} > {FILE}"
# Small changes, and what may be sent for each of what it changed. A manifest takes half a kilobyte:
# more than a tenth of what a line comes to.
CHANGES = {
    "one more file of 64 KiB": (f"tail -c {SMALL_BYTES} {FILE} > /root/small", GOAL),
    "one more line": ("echo a line > /root/notes", None),
}
DIGEST = f"cat {FILE} /root/small /root/notes | md5sum"


class SavedGuest:
    """Both browsers, one after the other, over one link."""

    def __init__(self, bench: BenchPage, image: Path, folder: Path) -> None:
        self._bench = bench
        self._image = image
        self._folder = folder

    def measures(self) -> list[Measure]:
        """All of this module; raises `RuntimeError` if the save lacks what the guest wrote."""
        (self._folder / "images").mkdir()
        origin = self._bench.site_url.rstrip("/")
        with (
            save_service(self._folder, [origin]) as (service, headers),
            ImageServer({IMAGE: self._image}) as images,
            ShapedLink(SHAPED, both_ways=True) as link,
        ):
            service_port = urlsplit(service).port or 0
            saves = {"url": f"http://127.0.0.1:{link.to(service_port)}/v1/saves"}
            disk = {
                "url": f"http://127.0.0.1:{link.to(images.port)}/{IMAGE}",
                "saves": {**saves, "headers": headers},
                "until": PROMPT,
            }
            with self._browser() as page:
                commands = [WRITE, *(typed for typed, _ in CHANGES.values()), DIGEST]
                *pushes, checked = page.run(MODULE, "bootAndPush", commands=commands, **disk)
            say(f"    pushed {pushes[0]['changedBytes'] / MB:.1f} MB in {pushes[0]['ms']:.0f} ms")
            before = {port: link.received_from(port) for port in (service_port, images.port)}
            with self._browser() as page:
                boot = page.run(MODULE, "bootSaved", save="work", **disk)
                received = {port: link.received_from(port) - before[port] for port in before}
                found = page.run(MODULE, "run", command=DIGEST)
        if digest_in(found) != digest_in(checked["said"]):
            raise RuntimeError(f"the save has {found!r}, not {checked['said']!r}")
        return [
            *pushed(pushes),
            *booted(boot, received[service_port], received[images.port]),
        ]

    @contextmanager
    def _browser(self) -> Iterator[BenchPage]:
        """A page of the bench in a new profile."""
        kind = self._bench.chromium
        with tempfile.TemporaryDirectory(dir=CACHE / "bench", prefix="profile-") as profile:
            context = kind.launch_persistent_context(profile, **browsers.launch_options(kind))
            context.set_default_timeout(CALL_TIMEOUT_MS)
            try:
                page = BenchPage(context.pages[0], self._bench.site_url, self._bench.playwright)
                page.reload()
                yield page
            finally:
                context.close()


def digest_in(said: str) -> str:
    """The digest that a guest printed; raises `RuntimeError` if it printed none."""
    found = re.search(r"\b[0-9a-f]{32}\b", said)
    if found is None:
        raise RuntimeError(f"no digest: {said!r}")
    return found[0]


def pushed(pushes: Sequence[Mapping[str, Any]]) -> Iterator[Measure]:
    """The push of the session, and those after the small changes."""
    name = f"Debian that wrote {SESSION_BYTES / MB:.0f} MB, push"
    first = pushes[0]
    changed = first["changedBytes"] / MB
    yield Measure(f"{name}: sent, against what it changed", _sent(first) / MB, "MB", changed)
    yield Measure(f"{name}: time, {SHAPED.name}", first["ms"] / 1000, "s")
    for push, (change, (_, goal)) in zip(pushes[1:], CHANGES.items(), strict=True):
        after = f"{name} after {change}"
        packed = push["chunkBytes"] / 1e3
        about = "sent, against what it changed, compressed"
        yield Measure(f"{after}: {about}", _sent(push) / 1e3, "kB", packed, goal)
        yield Measure(f"{after}: time, {SHAPED.name}", push["ms"] / 1000, "s")


def _sent(push: Mapping[str, Any]) -> int:
    return int(push["chunkBytes"] + push["manifestBytes"])


def booted(boot: Mapping[str, Any], of_save: int, of_base: int) -> list[Measure]:
    """The boot of the save: bytes until the prompt, and times."""
    name = f"Debian that wrote {SESSION_BYTES / MB:.0f} MB, its save in a new browser"
    return [
        Measure(f"{name}: received of the save before the shell's prompt", of_save / MB, "MB"),
        Measure(f"{name}: received of the image before the shell's prompt", of_base / MB, "MB"),
        Measure(f"{name}: open, {SHAPED.name}", boot["openedMs"] / 1000, "s"),
        Measure(f"{name}: the shell's prompt, {SHAPED.name}", boot["ms"] / 1000, "s"),
    ]


def guest_saves(bench: BenchPage, image: Path) -> list[Measure]:
    """All of this module, with a Debian at `image`."""
    with tempfile.TemporaryDirectory(prefix="bench-saves-") as folder:
        return SavedGuest(bench, image, Path(folder)).measures()
