"""Every text of the image panel, in one place so that it can be translated."""

from __future__ import annotations

from typing import Literal

from .. import errors
from ..disk import Notice

# What never changes while the page is open. The page's markup carries the same texts, so that it
# is readable before a script runs; a test compares the two.
FIXED: dict[str, object] = {
    "remote": "Use remote image",
    "url": "Image URL",
    "urlExample": "https://images.example.org/disk.img",
    "open": "Open",
    "close": "Close image",
    "clearCache": "Clear cache",
    "warningTitle": "What this means",
    "warning": [
        "The image is untrusted: whoever made it decides what it does when it runs.",
        "Its host sees your address, what you read and when.",
        "Open only images that you own or are licensed to use.",
    ],
    "image": "Image",
    "cache": "Cache",
    "activity": "Since it was opened",
    "read": "Read",
    "offset": "Offset",
    "length": "Length",
    "digest": "SHA-256",
    "duration": "Time",
    "dump": "First bytes",
    "starting": "Starting Python in this browser…",
    "startFailedTitle": "Python did not start",
    "startFailed": "Reload the page. If that does not help, the files of this site are incomplete "
    "or this browser is too old for WebAssembly.",
    "unexpectedTitle": "Something went wrong that should not",
}

REMOTE_OFF_HINT = "Off. Nothing is fetched from anywhere else."
REMOTE_ON_HINT = "On, until you leave this page."
URL_HINT = "A raw disk image on a server that answers range requests and lets this page read them."
URL_SECRET = (
    "This address may hold a secret. It will not be remembered, and is shown without it once "
    "opened."
)
URL_PARTLY_HIDDEN = "Part of this address is hidden (…). Paste the whole address to change it."
READ_HINT = "In bytes: 512, 0x200, 64 KiB."
READ_CLOSED_HINT = "Open an image to read from it."
BYTE_COUNT_EXPECTED = "a number of bytes, such as 512, 0x200 or 64 KiB"

REMOTE_OFF = "Remote images are off."
NOTHING_OPEN = "No image is open"
NO_URL = "Enter the address of an image."
READY = "Ready to open."
OPENING = "Opening {name}…"
OPEN = "{name} is open: {size}."
READING = "Reading {name}…"
READ = "Read {length} of {name}."
READ_FAILED = "That did not work. The image is still open."
NOT_OPEN = "The image was not opened."
CACHE_CLEARED = "The cache of this image is empty now."

IMAGE_LABELS = ("Size", "Block size", "Version", "Access")
READ_ONLY = "read-only"
WRITABLE = "read and write"
ACTIVITY_LABELS = ("Downloaded", "Requests", "Hit rate", "Read")
IN_FLIGHT = "{count:,} under way"
HITS = "{hits:,} of {lookups:,} block reads"
CACHED = "{size} in {blocks}"
ALL_HERE = "Not needed: the disk is here, {size} of it written"
STORAGE_LOCAL = "Kept in this browser until you delete it."
WRITTEN = "{size} written"
CACHE_LIMIT = "{percent} of {limit}"

STORAGE: dict[Literal["opfs", "folder", "memory"], str] = {
    "opfs": "Kept in this browser, there after a reload.",
    "folder": "Kept in a folder of this machine.",
    "memory": "Kept in memory until this page is closed.",
}

NOTICES: dict[Notice, dict[str, str]] = {
    "memory-cache": {
        "title": "Nothing lasts in this window",
        "text": "This browser offers no lasting storage here, as in some private windows. What is "
        "downloaded is kept in memory and is gone when the page is closed.",
    },
    "shared-cache": {
        "title": "Open in another tab too",
        "text": "The other tab holds this image’s cache, and this one reads through it. When that "
        "tab is closed, this one takes the cache over.",
    },
    "cache-busy": {
        "title": "Open in another tab too",
        "text": "The other tab holds this image’s cache. This tab keeps its own in memory until it "
        "is closed.",
    },
    "offline": {
        "title": "The host cannot be reached",
        "text": "What is cached of the image is open. What is not fails until the host answers "
        "again.",
    },
    "other-profile": {
        "title": "The boot profile does not fit",
        "text": "It was recorded from another version of the image, so it is not used.",
    },
    "storage-full": {
        "title": "No room for more",
        "text": "This browser’s storage is full. Reading goes on, but what finds no room is "
        "downloaded again next time. Clear the cache or free some space.",
    },
    "storage-failed": {
        "title": "The cache broke",
        "text": "This browser’s storage failed. Reading goes on without it. Close the image and "
        "open it again to try once more.",
    },
    "no-validator": {
        "title": "Kept for this session only",
        "text": "The host does not say which version of the image it sends (no readable ETag or "
        "Last-Modified), so what is downloaded cannot be trusted later.",
    },
    "odd-size": {
        "title": "An unusual size",
        "text": "The size is no multiple of 512, the size of a sector. The image can be read to "
        "its last byte, but it may have been cut off.",
    },
}

_ERROR_TITLES: dict[type[errors.DiskError], str] = {
    errors.RemoteImagesDisabledError: "Remote images are off",
    errors.InvalidUrlError: "This is not an address of an image",
    errors.InvalidOptionError: "That cannot be used",
    errors.OutOfRangeError: "Outside the disk",
    errors.ReadOnlyError: "The image is read-only",
    errors.DiskClosedError: "The image is closed",
    errors.NetworkError: "No answer",
    errors.BrokenAnswerError: "The answer broke off",
    errors.HttpStatusError: "The host refused",
    errors.RenewalError: "Access has ended",
    errors.RangeNotSupportedError: "The host cannot send parts of the image",
    errors.InvalidResponseError: "The host sent something else",
    errors.UnreadableHeaderError: "The host hides what is needed",
    errors.ImageChangedError: "The image has changed",
    errors.EmptyImageError: "The image is empty",
    errors.IntegrityError: "The image was tampered with, or damaged",
    errors.InvalidDocumentError: "A document beside the image is wrong",
    errors.UnsupportedImageError: "This is no raw disk image",
    errors.DamagedImageError: "The file is damaged",
    errors.OddSizeError: "An unusual size",
    errors.SourceError: "The file cannot be read",
    errors.SourceChangedError: "This is another file",
    errors.NoSuchImageError: "It is not there",
    errors.RecoveredOverlayError: "An overlay without a name was found",
    errors.DamagedDiskError: "The disk is damaged",
    errors.NameTakenError: "The name is taken",
    errors.UnfinishedImportError: "The import is not finished",
    errors.ImageBusyError: "It is open",
    errors.UnversionedBaseError: "This image cannot take an overlay",
    errors.BaseChangedError: "The image beneath has changed",
    errors.UnreadableImageError: "The disk cannot be read",
    errors.HasOverlaysError: "Overlays need it as it is",
    errors.DataCutError: "Something would be cut off",
    errors.UnknownFileSystemError: "These files cannot be read here",
    errors.DamagedFileSystemError: "The file system is damaged",
    errors.NoSuchFileError: "There is no such file",
    errors.UnreadableFileError: "This file cannot be read",
    errors.CannotWaitError: "This browser cannot wait for bytes",
    errors.StorageFullError: "No room is left",
    errors.StorageBusyError: "Another tab uses the cache",
    errors.StorageUnavailableError: "No storage here",
    errors.StorageError: "The storage failed",
    errors.DiskError: "That did not work",
}

_UNREADABLE = "That cannot be read"
# Where the error's own words speak to a programmer.
_ERROR_TEXTS: dict[type[errors.DiskError], str] = {
    errors.RemoteImagesDisabledError: "Turn on “Use remote image” first. The image’s host will see "
    "your address, what you read and when.",
}


def error_texts(error: errors.DiskError) -> dict[str, str]:
    """The title and the text that tell a person about `error`."""
    title = next(_ERROR_TITLES[kind] for kind in type(error).__mro__ if kind in _ERROR_TITLES)
    if isinstance(error, errors.InvalidOptionError):
        return {
            "title": _UNREADABLE if error.option in {"offset", "length"} else title,
            "text": f"{error.option.capitalize()} must be {error.expected}, "
            f"not “{error.value or ' '}”.",
        }
    return {"title": title, "text": _ERROR_TEXTS.get(type(error)) or str(error)}
