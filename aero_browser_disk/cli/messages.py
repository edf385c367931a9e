"""Messages of errors for a command line, where the error's own message is for pages or programs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from .. import errors
from .opening import flag_of


def message_of(error: errors.DiskError, flags: Collection[str] = ()) -> str:
    """The message of an error in the words of a command line that has these flags."""
    if isinstance(error, errors.InvalidOptionError):
        flag = flag_of(error.option)
        return f"{flag if flag in flags else flag[2:].upper()} must be {error.expected}."
    written = _MESSAGES.get(type(error))
    return str(error) if written is None else written(error)


def _no_such_image(error: errors.NoSuchImageError) -> str:
    text = str(error)
    return text.replace("See the library's list for what there is.", "See aero-disk list.")


def _has_overlays(error: errors.HasOverlaysError) -> str:
    return (
        f"{error.image!r} has overlays: {error.overlays}. A change would make them useless. "
        "Commit, export or remove them first, or give them up with --drop-overlays."
    )


def _damaged(error: errors.DamagedDiskError) -> str:
    advice = "Save what is intact with aero-disk recover."
    return str(error).replace("Save what is intact with the library's recover().", advice)


_MESSAGES: Mapping[type[errors.DiskError], Callable[[Any], str]] = {
    errors.RemoteImagesDisabledError: lambda _: "Remote images are off.",
    errors.NetworkError: lambda e: (
        f"No response from {e.url}{f' ({e.reason})' if e.reason else ''}. Check the address and "
        "the connection."
    ),
    errors.UnreadableHeaderError: lambda e: f"{e.url} does not send {e.header}, which is needed.",
    errors.OddSizeError: lambda e: (
        f"{e.size} bytes are not a multiple of 512. The file may be cut off; if it is complete, "
        "pad it with zeros (--pad)."
    ),
    errors.HybridImageError: lambda e: (
        f"{e.image} is a CD and a disk as well: say --media cd or --media disk."
    ),
    errors.NoSuchImageError: _no_such_image,
    errors.ImageBusyError: lambda e: (
        f"{e.image!r} is open in another process. Close it there first."
    ),
    errors.HasOverlaysError: _has_overlays,
    errors.DataCutError: lambda e: (
        f"The image holds data up to byte {e.needed:,}: cut to {e.size:,} bytes it would lose some."
    ),
    errors.StorageBusyError: lambda e: f"{e.path} is in use by another process. End that first.",
    errors.StorageUnavailableError: lambda e: f"There is no storage here ({e.reason}).",
    errors.DamagedDiskError: _damaged,
}
