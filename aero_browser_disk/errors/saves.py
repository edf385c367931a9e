"""Errors of saves: overlays that are kept on a server."""

from __future__ import annotations

from .base import DiskError
from .remote import HttpStatusError


class NoSuchSaveError(DiskError):
    """The server has no such save, or it belongs to somebody else."""

    def __init__(self, save: str) -> None:
        super().__init__(
            f"There is no save {save!r} on this server that you may read. List the saves to see "
            "what there is."
        )
        self.save = save


class SaveConflictError(DiskError):
    """Somebody else pushed to the save meanwhile. Nothing was changed, here or there.

    Generations count the pushes of a save; 0 is none. Times are RFC 3339, and empty where they are
    not known.
    """

    def __init__(
        self,
        save: str,
        name: str,
        mine_generation: int,
        mine_time: str,
        mine_device: str,
        theirs_generation: int,
        theirs_time: str,
        theirs_device: str,
    ) -> None:
        mine = f"generation {mine_generation}" if mine_generation else "no generation of it"
        super().__init__(
            f"The save {name!r} has changed: {theirs_device or 'another device'} pushed generation "
            f"{theirs_generation}{f' at {theirs_time}' if theirs_time else ''}, and this disk is "
            f"based on {mine}. Neither was changed. Push yours as a new save, pull theirs into "
            "another overlay, or open theirs read-only to look at it."
        )
        self.save = save
        self.name = name
        self.mine_generation = mine_generation
        self.mine_time = mine_time
        self.mine_device = mine_device
        self.theirs_generation = theirs_generation
        self.theirs_time = theirs_time
        self.theirs_device = theirs_device


class SaveBaseError(DiskError):
    """A save was made over another version of the image. Neither was changed."""

    def __init__(self, save: str, pinned: str, found: str) -> None:
        super().__init__(
            f"The save {save!r} was made over another version of its image ({pinned} then, {found} "
            "now) and fits only that version. Open the image in that version."
        )
        self.save = save
        self.pinned = pinned
        self.found = found


class DamagedSaveError(DiskError):
    """A part of a save is not what it must be; none of it was used."""

    def __init__(self, save: str, reason: str) -> None:
        super().__init__(
            f"The save {save!r} cannot be read: {reason}. None of it was used. Try an earlier "
            "generation, and tell the operator of the server."
        )
        self.save = save
        self.reason = reason


class UnreadableSaveError(DiskError):
    """A save needs what this release, or this Python, does not have."""

    def __init__(self, save: str, reason: str) -> None:
        super().__init__(f"The save {save!r} cannot be read here: {reason}.")
        self.save = save
        self.reason = reason


class SaveKeyError(DiskError):
    """The passphrase or key of a save is missing, wrong, or not expected. Nothing was changed."""

    def __init__(self, save: str, reason: str) -> None:
        super().__init__(f"The save {save!r} {reason}. Nothing was changed.")
        self.save = save
        self.reason = reason


class SaveTooLargeError(DiskError):
    """An overlay has more, or more scattered, data than a save can have."""

    def __init__(self, what: str, found: int, limit: int) -> None:
        super().__init__(
            f"The overlay is too large for a save: {found:,} {what}, and {limit:,} are possible. "
            "Import the disk as an image instead, or export the overlay."
        )
        self.what = what
        self.found = found
        self.limit = limit


class SaveRefusedError(HttpStatusError):
    """The server refused a request for a save. `code` and `detail` are its own words."""

    def __init__(
        self,
        url: str,
        status: int,
        retry_after_s: float | None = None,
        code: str = "",
        detail: str = "",
    ) -> None:
        advice = {
            401: "Sign in again, or renew the token.",
            403: "You may not do that with saves: ask the operator of the server.",
            404: "There are no saves at this address: check it.",
            413: "It is too large for this server.",
            429: "Too many requests: try again later.",
        }.get(
            status,
            "The server has a problem: try again later."
            if status >= 500
            else "Update the server or this program: they do not fit.",
        )
        DiskError.__init__(self, f"{url} returned status {status}. {detail or advice}")
        self.url = url
        self.status = status
        self.retry_after_s = retry_after_s
        self.code = code
        self.detail = detail
