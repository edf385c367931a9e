"""Everything that can go wrong, as one shallow family.

Each message says what happened and what to do about it. Each error carries, as plain attributes,
what a program needs to act on it; `fields()` collects them, which is how they reach JavaScript.
A URL in an error is always redacted.
"""

from __future__ import annotations

FieldValue = str | int | float | bool | None


class DiskError(Exception):
    """The family. `str(error)` is for a person, the attributes are for a program."""

    def fields(self) -> dict[str, FieldValue]:
        """The error's attributes as plain values, by name."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


# ── what was asked for ────────────────────────────────────────────────────────────────────────────


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


# ── the image's server ────────────────────────────────────────────────────────────────────────────


class NetworkError(DiskError):
    """The server gave no response that a browser may see.

    `reason` is empty where a browser hides it.
    """

    def __init__(self, url: str, reason: str = "") -> None:
        # A browser gives no reason. Where there is one, it was not CORS.
        cors = (
            "; if it opens in a browser tab, the server does not allow this page to read it "
            "(CORS): it must send Access-Control-Allow-Origin."
        )
        super().__init__(
            f"No response from {url}{f' ({reason})' if reason else ''}. Check the address and the "
            f"connection{'.' if reason else cors}"
        )
        self.url = url
        self.reason = reason


class BrokenResponseError(NetworkError):
    """The connection closed before the end of a response."""

    def __init__(self, url: str) -> None:
        DiskError.__init__(
            self,
            f"The connection to {url} closed before the end of the response. Try again.",
        )
        self.url = url
        self.reason = "the connection closed early"


class HttpStatusError(DiskError):
    """The server refused to send the image, or could not find or read it."""

    def __init__(self, url: str, status: int, retry_after_s: float | None = None) -> None:
        advice = {
            401: "Sign in, or use an address that includes access, such as a signed URL.",
            403: "You have no access to this image: ask its owner, or renew the address.",
            404: "There is no image at this address: check the spelling.",
            410: "The image was removed.",
        }.get(
            status,
            "The server has a problem: try again later."
            if status >= 500
            else "Ask the owner of the server whether the address is right.",
        )
        super().__init__(f"{url} returned status {status}. {advice}")
        self.url = url
        self.status = status
        self.retry_after_s = retry_after_s


class RenewalError(DiskError):
    """Access to the image ended and could not be renewed."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Access to the image ended and was not renewed: {reason}")
        self.reason = reason


class RangeNotSupportedError(DiskError):
    """The server ignores range requests and sends the whole image."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"{url} ignored the Range header and sent the whole file (200), so the image cannot be "
            "streamed. Have the server respond to ranges with 206 Partial Content, uncompressed, "
            "or import the image."
        )
        self.url = url


class InvalidResponseError(DiskError):
    """The response does not have the bytes that were requested; none of it was used."""

    def __init__(self, url: str, what: str, expected: str, found: str) -> None:
        super().__init__(
            f"{url} sent a wrong response, and none of it was used: {what} should be {expected}, "
            f"but is {found}. Fix the server or the proxy in front of it."
        )
        self.url = url
        self.what = what
        self.expected = expected
        self.found = found


class UnreadableHeaderError(DiskError):
    """A header is needed that the browser hides, or that the server does not send."""

    def __init__(self, url: str, header: str) -> None:
        super().__init__(
            f"{url} does not let this page read {header}. Have the server send it, together with "
            f"Access-Control-Expose-Headers: {header}."
        )
        self.url = url
        self.header = header


class ImageChangedError(DiskError):
    """The image on the server is no longer the version that was opened."""

    def __init__(self, url: str, pinned: str, found: str) -> None:
        super().__init__(
            f"The image at {url} has changed since it was opened ({pinned} then, {found} now). "
            "Open it again to use the new version."
        )
        self.url = url
        self.pinned = pinned
        self.found = found


class IntegrityError(DiskError):
    """Bytes that are not what the image's digest list says."""

    def __init__(self, offset: int, length: int) -> None:
        super().__init__(
            f"The {length} bytes at offset {offset} are not what the image's digest list says, so "
            "they were not used. The image was changed, or damaged in transit: tell its owner."
        )
        self.offset = offset
        self.length = length


class InvalidDocumentError(DiskError):
    """A digest list or boot profile that cannot be used."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"The {what} cannot be used: {reason}.")
        self.what = what
        self.reason = reason


class SignaturesUnavailableError(DiskError):
    """The signature of a digest list cannot be checked here."""

    def __init__(self, advice: str) -> None:
        super().__init__(f"The digest list's signature cannot be checked here: {advice}.")
        self.advice = advice


class EmptyImageError(DiskError):
    """The image has no bytes."""

    def __init__(self, url: str) -> None:
        super().__init__(f"The image at {url} is empty (0 bytes): there is nothing to open.")
        self.url = url


# ── files that are imported ───────────────────────────────────────────────────────────────────────


class UnsupportedImageError(DiskError):
    """A file of a known format that cannot be opened as a disk here."""

    def __init__(self, format: str, title: str, advice: str) -> None:  # noqa: A002
        super().__init__(f"This is {title}. {advice}")
        self.format = format
        self.advice = advice


class DamagedImageError(DiskError):
    """A file whose header or tables contradict themselves."""

    def __init__(self, title: str, reason: str) -> None:
        super().__init__(f"This is {title}, and it is damaged or cut off: {reason}.")
        self.reason = reason


class OddSizeError(DiskError):
    """A disk whose size is not a multiple of 512 bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(
            f"The size, {size} bytes, is not a multiple of 512 bytes. The file may be cut off. "
            "If it is complete, have it padded with zeros (pad=True in Python, pad: true in "
            "JavaScript)."
        )
        self.size = size


class SourceError(DiskError):
    """A file that is imported or looked at cannot be read."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} cannot be read: {reason}.")
        self.reason = reason


class SourceChangedError(DiskError):
    """An import cannot be continued with a different file."""

    def __init__(self, name: str, what: str, begun: str, found: str) -> None:
        super().__init__(
            f"The import of {name!r} was started with a different file: its {what} was {begun}, "
            f"and is {found} now. Choose the same file, or remove the unfinished import and start "
            "again."
        )
        self.image = name
        self.what = what
        self.begun = begun
        self.found = found


# ── the library ───────────────────────────────────────────────────────────────────────────────────


class NoSuchImageError(DiskError):
    """There is no image, overlay or cache of that name.

    `recovered` names those whose record was damaged, so that their names are lost.
    """

    def __init__(self, what: str, name: str, recovered: tuple[str, ...] = ()) -> None:
        advice = "See the library's list for what there is."
        if recovered:
            advice = (
                f"The record of another was damaged; it may be this one: {', '.join(recovered)}. "
                "Rename it to go on with it."
            )
        super().__init__(f"There is no {what} {name!r}. {advice}")
        self.image = name
        self.recovered = ", ".join(recovered)


class RecoveredOverlayError(DiskError):
    """An overlay was requested that may be one whose name is lost."""

    def __init__(self, name: str, base: str, recovered: tuple[str, ...]) -> None:
        super().__init__(
            f"There is no overlay {name!r} over {base!r}, but the data of an overlay over it whose "
            f"record was damaged: {', '.join(recovered)}. Rename it to {name!r} to go on with it, "
            "or to another name to begin a new overlay."
        )
        self.image = name
        self.recovered = ", ".join(recovered)


class NameTakenError(DiskError):
    """Another image, or another overlay of the same image, has the name."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"There is an {what} {name!r} already. Choose another name, or remove it.")
        self.image = name


class UnfinishedImportError(DiskError):
    """The image is still being imported, or its import was interrupted."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The import of {name!r} is not finished. Continue it with the same file, or remove it."
        )
        self.image = name


class ImageBusyError(DiskError):
    """The image, overlay or cache is open."""

    def __init__(self, name: str, *, is_base: bool = False) -> None:
        why = "two that write to one disk would destroy it."
        if is_base:
            why = (
                "overlays over one disk can be open together in one tab, while nobody has the disk "
                "itself open to write."
            )
        super().__init__(f"{name!r} is open, here or in another tab. Close it there first: {why}")
        self.image = name


class HasOverlaysError(DiskError):
    """A change would make the overlays of an image unusable."""

    def __init__(self, name: str, overlays: list[str], consent: str) -> None:
        listed = ", ".join(map(repr, overlays))
        super().__init__(
            f"{name!r} has overlays: {listed}. They store the differences from it as it is now, "
            "so a change would make them unusable. Commit, export or remove them first, open one "
            f"of them instead, or agree to lose them ({consent})."
        )
        self.image = name
        self.overlays = ", ".join(overlays)


class UnversionedBaseError(DiskError):
    """An overlay needs an image whose versions can be distinguished."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"{url} has neither a strong ETag nor Last-Modified, so a change of the image would go "
            "unnoticed and destroy an overlay over it. Import the image, or have the server send "
            "one of them."
        )
        self.url = url


# ── files on a disk ───────────────────────────────────────────────────────────────────────────────


class UnknownFileSystemError(DiskError):
    """A volume whose files cannot be read here."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"The files of this volume cannot be shown: it has {found}. FAT, exFAT, NTFS, ext2, "
            "ext3, ext4 and ISO 9660 can be read."
        )
        self.found = found


class DamagedFileSystemError(DiskError):
    """A file system that contradicts itself."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The file system is damaged, or in use with changes not yet written: {what}. Check it "
            "with the system that it belongs to."
        )
        self.what = what


class NoSuchFileError(DiskError):
    """No file or folder has that path."""

    def __init__(self, path: str) -> None:
        super().__init__(f"There is no {path} on this disk.")
        self.path = path


class UnreadableFileError(DiskError):
    """The file is there, but its content cannot be read this way."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be read: {reason}.")
        self.path = path
        self.reason = reason


class UnreadableImageError(DiskError):
    """A local file cannot be opened or read as a disk image."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be read as a disk image: {reason}.")
        self.path = path
        self.reason = reason


class CannotWaitError(DiskError):
    """Bytes that are not cached were read where the caller cannot wait for them."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"These bytes are not cached, and this call cannot wait for them: {reason}"
        )
        self.reason = reason


# ── local images and overlays ─────────────────────────────────────────────────────────────────────


class BaseChangedError(DiskError):
    """An overlay was made over another version of its base. It was left as it is."""

    def __init__(self, pinned: str, found: str) -> None:
        super().__init__(
            f"This overlay was made over another version of its image ({pinned} then, {found} "
            "now) and fits only that version. It is kept as it is. Open it over that version "
            "again, export it, start another overlay under a new name, or reset this one, which "
            "deletes what was written to it."
        )
        self.pinned = pinned
        self.found = found


class DataCutError(DiskError):
    """Making an image smaller would cut off data."""

    def __init__(self, size: int, needed: int) -> None:
        super().__init__(
            f"The image holds data up to byte {needed}: cut to {size} bytes it would lose some. "
            "Make the partitions in it smaller first, or ask for the cut (cut=True)."
        )
        self.size = size
        self.needed = needed


# ── the browser's storage ─────────────────────────────────────────────────────────────────────────


class StorageError(DiskError):
    """The browser's storage failed, or in CPython the folder."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"The storage failed at {path}: {reason}")
        self.path = path
        self.reason = reason


class StorageFullError(StorageError):
    """The storage is full."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "no space is left. Free some, or set a smaller cache limit.")


class StorageBusyError(StorageError):
    """Another tab or worker has the file open."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "another tab or worker has it open. Close that first.")


class DamagedDiskError(StorageError):
    """What is stored of a local image or an overlay is damaged; nothing of it was changed.

    `offset` and `length` are the bytes of the disk that cannot be read, where it is not the whole.
    `image` is its name in the library, if it has one there.
    """

    def __init__(
        self,
        path: str,
        reason: str,
        *,
        offset: int | None = None,
        length: int | None = None,
        image: str | None = None,
        advice: str = "Save what is intact with the library's recover().",
    ) -> None:
        part = "" if offset is None else f" (bytes {offset:,} to {offset + (length or 0):,})"
        DiskError.__init__(
            self,
            f"{repr(image) if image else path} is damaged{part}: {reason}. Nothing was changed or "
            f"deleted. {advice}",
        )
        self.path = path
        self.reason = reason
        self.offset = offset
        self.length = length
        self.image = image


class StorageUnavailableError(StorageError):
    """This browser, or this window, has no such storage."""

    def __init__(self, reason: str) -> None:
        super().__init__("OPFS", f"it is not available here ({reason}).")
