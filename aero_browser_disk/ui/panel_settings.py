"""The settings of the page: how the next image is to be opened, in words and as options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..units import format_bytes

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
AUTOMATIC = "auto"
_ON, _OFF = "on", "off"


@dataclass(frozen=True, slots=True)
class Setting:
    """One choice. `option` is the option of `open_disk` that it sets, the first choice its default.

    Without an `option` it is for the page itself. `values` are what the option is set to for each
    choice; None leaves it out.
    """

    name: str
    option: str
    label: str
    hint: str
    choices: Mapping[str, str]
    values: Mapping[str, object]

    @property
    def default(self) -> str:
        """The default choice."""
        return next(iter(self.choices))


def _sizes(name: str, option: str, label: str, hint: str, auto: str, sizes: list[int]) -> Setting:
    choices = {AUTOMATIC: auto} | {str(size): format_bytes(size) for size in sizes}
    values = {AUTOMATIC: None} | {str(size): size for size in sizes}
    return Setting(name, option, label, hint, choices, values)


SETTINGS = (
    _sizes(
        "blockSize",
        "block_size",
        "Block size",
        "The unit of downloading and caching. Small blocks download less, large ones need "
        "fewer requests. Another size starts a new cache for this image.",
        "16 KiB (default)",
        [4 * KIB, 64 * KIB, 128 * KIB, 256 * KIB, MIB],
    ),
    _sizes(
        "cacheLimit",
        "cache_limit_bytes",
        "Cache of an image",
        "How much of it is cached in this browser at most. The least recently used blocks are "
        "removed first.",
        "2 GiB, or half of what the browser offers (default)",
        [64 * MIB, 256 * MIB, GIB, 4 * GIB, 16 * GIB, 64 * GIB],
    ),
    Setting(
        "concurrency",
        "concurrency",
        "Requests at once",
        "How many requests the image’s server gets at the same time.",
        {
            AUTOMATIC: "6, or 16 over HTTP/2 (default)",
            **{str(n): str(n) for n in (1, 2, 4, 8, 16, 32)},
        },
        {AUTOMATIC: None, **{str(n): n for n in (1, 2, 4, 8, 16, 32)}},
    ),
    Setting(
        "readAhead",
        "read_ahead",
        "Read ahead",
        "Downloads what is likely to be read next while the connection is idle.",
        {_ON: "On (default)", _OFF: "Off: only what is read"},
        {_ON: None, _OFF: False},
    ),
    Setting(
        "bootProfile",
        "boot_profile",
        "Boot profile",
        "A list of the blocks that a boot needs, recorded here or offered by the server. They "
        "are downloaded before they are read.",
        {AUTOMATIC: "Use one if available (default)", _OFF: "Do not use one"},
        {AUTOMATIC: "auto", _OFF: None},
    ),
    Setting(
        "sharedMemory",
        "",
        "Shared memory",
        "Memory of this page from which a booted machine reads blocks without a request to the "
        "worker.",
        {AUTOMATIC: "64 MiB (default)", "0": "None"}
        | {str(size): format_bytes(size) for size in (16 * MIB, 256 * MIB)},
        {AUTOMATIC: None, "0": 0, str(16 * MIB): 16 * MIB, str(256 * MIB): 256 * MIB},
    ),
)
"""Every setting, in the order in which the page shows them."""

_BY_NAME = {setting.name: setting for setting in SETTINGS}


class PanelSettings:
    """What the user chose."""

    def __init__(self) -> None:
        self._chosen: dict[str, str] = {}
        self._digests: tuple[str, bytes] | None = None

    def choose_digests(self, name: str, document: bytes | None) -> None:
        """The user chose or removed a digest list."""
        self._digests = None if document is None else (name, document)

    def choose(self, name: str, choice: str) -> None:
        """The user chose; unknown settings and choices are ignored."""
        setting = _BY_NAME.get(name)
        if setting is None or choice not in setting.choices:
            return
        self._chosen.pop(name, None)
        if choice != setting.default:
            self._chosen[name] = choice

    def reset(self) -> None:
        """Restores the defaults."""
        self._chosen.clear()
        self._digests = None

    def restore(self, remembered: object) -> None:
        """Restores what an earlier visit stored."""
        if isinstance(remembered, dict):
            for name, choice in remembered.items():
                if isinstance(choice, str):
                    self.choose(name, choice)

    def remembered(self) -> dict[str, str]:
        """What the page may store: the choices that are not the default."""
        return dict(self._chosen)

    def options(self) -> dict[str, object]:
        """What `open_disk` takes for these choices."""
        found = {}
        for setting in SETTINGS:
            choice = self._chosen.get(setting.name)
            if choice is not None and setting.option:
                found[setting.option] = setting.values[choice]
        if self._digests is not None:
            found["digests"] = self._digests[1]
        return found

    def view(self) -> dict[str, object]:
        """The settings as plain values: `fields` in order, and whether any was `changed`."""
        shared = _BY_NAME["sharedMemory"]
        return {
            "changed": bool(self._chosen) or self._digests is not None,
            "digests": self._digests[0] if self._digests else "",
            "sharedMemoryBytes": shared.values[self._chosen.get("sharedMemory", AUTOMATIC)],
            "fields": [
                {
                    "name": setting.name,
                    "label": setting.label,
                    "hint": setting.hint,
                    "value": self._chosen.get(setting.name, setting.default),
                    "choices": [
                        {"value": value, "label": label} for value, label in setting.choices.items()
                    ],
                }
                for setting in SETTINGS
            ],
        }
