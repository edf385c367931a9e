"""The library in any order of anything, against a model: what each disk holds, and what is stale.

The long form: ./scripts/test --fuzz 5000 tests/unit/library/test_library_machine.py
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from aero_browser_disk.errors import BaseChangedError, DamagedDiskError, DiskError
from aero_browser_disk.library.library import Library
from aero_browser_disk.platform.base import Platform
from aero_browser_disk.platform.cpython import CpythonClock, CpythonHttp
from aero_browser_disk.platform.memory import MemoryLocks, MemoryStorage
from support.fuzz import fuzz, rounds

T = TypeVar("T")

EXAMPLES = rounds(60)
SIZE = 16 * 4096
NAMES = st.sampled_from(["a", "b"])
OVERLAYS = st.sampled_from(["x", "y"])
OFFSETS = st.integers(0, SIZE // 512 - 1).map(lambda sector: sector * 512)
BYTES = st.integers(0x81, 0x9F)  # what is no file of any known format
LENGTHS = st.sampled_from([100, 512, 4096, 9000])


@dataclass
class Disk:
    """What an image or overlay holds. `version` counts what a reader could see change."""

    content: bytearray
    version: int = 0
    base_version: int = 0
    is_gone: bool = False  # its file
    overlays: dict[str, Disk] = field(default_factory=dict)

    def write(self, offset: int, data: bytes) -> None:
        self.content[offset : offset + len(data)] = data
        self.version += 1


class LibraryMachine(RuleBasedStateMachine):
    """Images with overlays over them: written, cut, committed, reset, copied, renamed, damaged."""

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.storage = MemoryStorage()
        self.library = Library(Platform(CpythonHttp(), self.storage, MemoryLocks(), CpythonClock()))
        self.images: dict[str, Disk] = {}

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def failing(self, coroutine: Coroutine[Any, Any, object], kind: type[DiskError]) -> None:
        try:
            self.run(coroutine)
        except kind:
            return
        raise AssertionError(f"no {kind.__name__}")

    # images

    @rule(name=NAMES, byte=BYTES)
    def make(self, name: str, byte: int) -> None:
        if name not in self.images:
            content = bytes((byte,)) * SIZE
            self.run(self.library.import_bytes(content, name))
            self.images[name] = Disk(bytearray(content))

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        if self.images.pop(name, None):
            self.run(self.library.remove(name, drop_overlays=True))

    @rule(name=NAMES, other=NAMES)
    def copy(self, name: str, other: str) -> None:
        if name in self.images and other not in self.images:
            self.run(self.library.duplicate(name, other))
            self.images[other] = Disk(bytearray(self.images[name].content))

    @rule(name=NAMES, other=NAMES)
    def rename(self, name: str, other: str) -> None:
        if name in self.images and other not in self.images:
            self.run(self.library.rename(name, other))
            self.images[other] = self.images.pop(name)

    @rule(name=NAMES, sectors=st.integers(1, SIZE // 512))
    def cut_and_grow(self, name: str, sectors: int) -> None:
        if image := self.images.get(name):
            for size in (sectors * 512, SIZE):
                if size != len(image.content):
                    self.run(self.library.resize(name, size, cut=True, drop_overlays=True))
                    image.content = image.content[:size].ljust(size, b"\0")
                    image.version += 1

    @rule(name=NAMES, offset=OFFSETS, byte=BYTES, length=LENGTHS)
    def write(self, name: str, offset: int, byte: int, length: int) -> None:
        if image := self.images.get(name):
            data = bytes((byte,)) * min(length, SIZE - offset)
            self.run(self.written(name, [], offset, data))
            image.write(offset, data)

    @rule(name=NAMES)
    def recover_an_image(self, name: str) -> None:
        if image := self.images.get(name):
            saved = self.run(self.library.recover(name, "saved"))
            assert (saved.lost, saved.is_latest) == ((), True)
            assert self.run(self.read("saved", [])) == image.content
            self.run(self.library.remove("saved"))

    # overlays

    @rule(name=NAMES, over=OVERLAYS, offset=OFFSETS, byte=BYTES, length=LENGTHS)
    def write_to_an_overlay(self, name, over, offset, byte, length) -> None:
        if not (image := self.images.get(name)):
            return
        data = bytes((byte,)) * min(length, SIZE - offset)
        overlay = image.overlays.get(over)
        if overlay and self.is_refused(name, over):
            return
        self.run(self.written(name, [over], offset, data))
        if not overlay:
            overlay = Disk(bytearray(image.content), base_version=image.version)
            image.overlays[over] = overlay
        overlay.write(offset, data)

    @rule(name=NAMES, over=OVERLAYS)
    def read_an_overlay(self, name: str, over: str) -> None:
        image = self.images.get(name)
        if image and over in image.overlays and not self.is_refused(name, over):
            assert self.run(self.read(name, [over])) == image.overlays[over].content

    @rule(name=NAMES, over=OVERLAYS)
    def reset(self, name: str, over: str) -> None:
        image = self.images.get(name)
        if image and over in image.overlays:
            self.run(self.library.overlays.reset(self.id_of(name, over)))
            self.run(self.opened(name, [over]))
            image.overlays[over] = Disk(bytearray(image.content), base_version=image.version)

    @rule(name=NAMES, over=OVERLAYS)
    def commit(self, name: str, over: str) -> None:
        image = self.images.get(name)
        if image and over in image.overlays and not self.is_refused(name, over):
            folder = self.id_of(name, over)
            self.run(self.library.overlays.commit(folder, drop_overlays=True))
            overlay = image.overlays[over]
            if image.content != overlay.content or overlay.version:
                image.version += 1
            image.content = bytearray(overlay.content)
            image.overlays[over] = Disk(bytearray(image.content), base_version=image.version)

    @rule(name=NAMES, over=OVERLAYS)
    def lose_the_file_of_an_overlay(self, name: str, over: str) -> None:
        image = self.images.get(name)
        if image and over in image.overlays:
            self.run(self.storage.remove(f"{self.id_of(name, over)}/sectors"))
            image.overlays[over].is_gone = True

    @rule(name=NAMES, over=OVERLAYS)
    def lose_the_record_of_an_overlay(self, name: str, over: str) -> None:
        image = self.images.get(name)
        if image and over in image.overlays and not image.overlays[over].is_gone:
            folder = self.id_of(name, over)
            self.run(self.storage.remove(f"{folder}/record"))
            (found,) = [e for e in self.run(self.library.list()) if e.id == folder]
            assert (found.state, found.base_name) == ("recovered", name)
            self.run(self.library.rename(folder, over))

    @precondition(lambda self: self.images)
    @rule()
    def everything_is_listed(self) -> None:
        entries = self.run(self.library.list())
        assert {e.name for e in entries if e.kind == "image"} == set(self.images)
        overlays = {(e.base_name, e.name) for e in entries if e.kind == "overlay"}
        assert overlays == {
            (n, over) for n, image in self.images.items() for over in image.overlays
        }
        for name, image in self.images.items():
            assert self.run(self.read(name, [])) == image.content

    # how it is done

    def is_refused(self, name: str, over: str) -> bool:
        """Whether an overlay cannot be opened; sees that it is not, and why."""
        image = self.images[name]
        overlay = image.overlays[over]
        if overlay.is_gone:
            self.failing(self.opened(name, [over]), DamagedDiskError)
            return True
        if overlay.base_version != image.version:
            self.failing(self.opened(name, [over]), BaseChangedError)
            return True
        return False

    def id_of(self, name: str, over: str) -> str:
        entries = self.run(self.library.list())
        (found,) = [e.id for e in entries if (e.base_name, e.name) == (name, over)]
        return found

    async def opened(self, name: str, overlays: list[str]) -> None:
        await (await self.library.open_image(name, overlays)).close()

    async def read(self, name: str, overlays: list[str]) -> bytes:
        disk = await self.library.open_image(name, overlays)
        try:
            return await disk.read(0, disk.info.size)
        finally:
            await disk.close()

    async def written(self, name: str, overlays: list[str], offset: int, data: bytes) -> None:
        disk = await self.library.open_image(name, overlays, write_base=not overlays)
        try:
            await disk.write(offset, data)
        finally:
            await disk.close()


TestLibrary = LibraryMachine.TestCase
TestLibrary.pytestmark = fuzz
TestLibrary.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
