"""The family of errors, and those of requests to a disk."""

from __future__ import annotations

FieldValue = str | int | float | bool | None


class DiskError(Exception):
    """The family. `str(error)` is for a person, the attributes are for a program."""

    def fields(self) -> dict[str, FieldValue]:
        """The error's attributes as plain values, by name."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


class RemoteImagesDisabledError(DiskError):
    """A remote image was asked for without permission to reach the network."""

    def __init__(self) -> None:
        super().__init__(
            "Remote images are off. Turn them on (allow_remote=True in Python, allowRemote: true "
            "in JavaScript) after the user has agreed: the image's server will see their IP "
            "address, and what they read and when."
        )


class InvalidUrlError(DiskError):
    """No image can be read from this address."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"This address cannot be used: {reason}")
        self.url = url
        self.reason = reason


class InvalidOptionError(DiskError):
    """An option has a value that cannot work."""

    def __init__(self, option: str, value: object, expected: str) -> None:
        super().__init__(f"The option {option} cannot be {value!r}: it must be {expected}.")
        self.option = option
        self.value = str(value)
        self.expected = expected


class OutOfRangeError(DiskError):
    """A read or write reaches outside the disk."""

    def __init__(self, offset: int, length: int, size: int) -> None:
        super().__init__(
            f"{length} bytes at offset {offset} reach outside the disk, which has {size} bytes."
        )
        self.offset = offset
        self.length = length
        self.size = size


class ReadOnlyError(DiskError):
    """A write to a disk that only reads."""

    def __init__(self) -> None:
        super().__init__("This disk is read-only. Put an overlay over it to write.")


class DiskClosedError(DiskError):
    """A call on a disk after `close()`."""

    def __init__(self) -> None:
        super().__init__("This disk is closed. Open it again to go on.")


class MissingPartError(DiskError):
    """A part of this package that a page fetches when it is first used did not load.

    `part` names it; `reason` says what failed.
    """

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(
            f"The part of this package for {part} did not load ({reason}). Check the connection, "
            "put the files of this package on your site, and try again."
        )
        self.part = part
        self.reason = reason
