"""Storage in memory that passes for one that lasts."""

from typing import Literal

from aero_browser_disk.platform.memory import MemoryStorage


class LastingStorage(MemoryStorage):
    """Memory that says it lasts, as far as a test is concerned."""

    @property
    def kind(self) -> Literal["opfs"]:
        return "opfs"
