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
        "Its server sees your IP address, what you read, and when.",
        "Open only images that you own or are licensed to use.",
    ],
    "image": "Image",
    "cache": "Cache",
    "activity": "Since opening",
    "read": "Read",
    "offset": "Offset",
    "length": "Length",
    "digest": "SHA-256",
    "duration": "Time",
    "dump": "First bytes",
    "starting": "Starting Python in this browser…",
    "downloading": "Downloading Python: {done} of {size}",
    "startFailedTitle": "Python did not start",
    "startFailed": "Reload the page. If that does not help, the files of this site are incomplete "
    "or this browser is too old for WebAssembly.",
    "unexpectedTitle": "Unexpected error",
}

REMOTE_OFF_HINT = "Off. Nothing is downloaded from other servers."
REMOTE_ON_HINT = "On, until you leave this page."
URL_HINT = (
    "A disk image on a server that supports range requests and allows this page to read it (CORS)."
)
URL_SECRET = (
    "This address may contain a secret. It is not remembered, and the secret is hidden once "
    "the image is open."
)
URL_PARTLY_HIDDEN = "Part of this address is hidden (…). Paste the whole address to change it."
READ_HINT = "In bytes: 512, 0x200, 64 KiB."
READ_CLOSED_HINT = "Open an image to read from it."
BYTE_COUNT_EXPECTED = "a number of bytes, such as 512, 0x200 or 64 KiB"

REMOTE_OFF = "Remote images are off."
NOTHING_OPEN = "No image is open"
NO_URL = "Enter the address of an image."
READY = "Ready to open."
EXAMINING = "Checking the address…"
OPENING = "Opening {name}…"
OPEN = "{name} is open: {size}."
SAVE = "“{save}” (a save of {image})"
READING = "Reading {name}…"
READ = "Read {length} of {name}."
READ_FAILED = "The read failed. The image is still open."
NOT_OPEN = "The image was not opened."
CACHE_CLEARED = "The cache of this image was cleared."

IMAGE_LABELS = ("Size", "Block size", "Version", "Access")
READ_ONLY = "read-only"
WRITABLE = "read and write"
ACTIVITY_LABELS = ("Downloaded", "Requests", "Hit rate", "Read")
IN_FLIGHT = "{count:,} in flight"
KEPT = "{size} kept of an older version"
PACKED = "of {size}, packed"
HITS = "{hits:,} of {lookups:,} block reads"
CACHED = "{size} in {blocks}"
ALL_HERE = "All is here"
STORAGE_LOCAL = "Stored in this browser until you delete it."
WRITTEN = "{size} written"
CACHE_SHARE = "{percent} of the image"
CACHE_LIMIT = "{percent} of the limit of {limit}"

STORAGE: dict[Literal["opfs", "folder", "memory"], str] = {
    "opfs": "Stored in this browser. It survives a reload.",
    "folder": "Stored in a folder on this machine.",
    "memory": "In memory until this page is closed.",
}

NOTICES: dict[Notice, dict[str, str]] = {
    "memory-cache": {
        "title": "No persistent storage in this window",
        "text": "This browser offers no persistent storage here, as in some private windows. "
        "Downloaded blocks stay in memory and are lost when the page is closed.",
    },
    "shared-cache": {
        "title": "Also open in another tab",
        "text": "The other tab owns this image’s cache, and this tab reads through it. When "
        "that tab is closed, this one takes over the cache.",
    },
    "cache-busy": {
        "title": "Also open in another tab",
        "text": "The other tab owns this image’s cache. This tab has its own in memory until "
        "it is closed.",
    },
    "offline": {
        "title": "The server cannot be reached",
        "text": "The cached part of the image can be read. Reads of other parts fail until the "
        "server responds again.",
    },
    "older-version": {
        "title": "A newer version of the image is there",
        "text": "What you wrote fits the version that is open. Reading continues while the server "
        "has its files.",
    },
    "other-profile": {
        "title": "The boot profile does not match",
        "text": "It was recorded from another version of the image, so it is not used.",
    },
    "storage-full": {
        "title": "Storage is full",
        "text": "This browser’s storage is full. Reading continues, but blocks that do not fit "
        "are downloaded again next time. Clear the cache or free some space.",
    },
    "storage-failed": {
        "title": "Cache failed",
        "text": "This browser’s storage failed. Reading continues without a cache. Close the "
        "image and open it again to retry.",
    },
    "no-validator": {
        "title": "Cached for this session only",
        "text": "The server does not say which version of the image it sends (no readable ETag "
        "or Last-Modified), so cached blocks cannot be used later.",
    },
    "odd-size": {
        "title": "An unusual size",
        "text": "The size is not a multiple of 512 bytes, the size of a sector. The image can "
        "be read to its last byte, but it may be truncated.",
    },
}

_ERROR_TITLES: dict[type[errors.DiskError], str] = {
    errors.RemoteImagesDisabledError: "Remote images are off",
    errors.InvalidUrlError: "Not the address of an image",
    errors.InvalidOptionError: "Invalid value",
    errors.OutOfRangeError: "Outside the disk",
    errors.ReadOnlyError: "The image is read-only",
    errors.DiskClosedError: "The image is closed",
    errors.NetworkError: "No response",
    errors.BrokenResponseError: "The response ended early",
    errors.HttpStatusError: "The server refused",
    errors.RenewalError: "Access has ended",
    errors.RangeNotSupportedError: "The server does not support range requests",
    errors.InvalidResponseError: "The server sent something else",
    errors.UnreadableHeaderError: "The server hides a response header",
    errors.ImageChangedError: "The image has changed",
    errors.EmptyImageError: "The image is empty",
    errors.IntegrityError: "The image was tampered with, or damaged",
    errors.InvalidDocumentError: "A sidecar file of the image is invalid",
    errors.EncryptionUnavailableError: "Nothing can be decrypted here",
    errors.SaveKeyError: "The passphrase does not fit",
    errors.SignaturesUnavailableError: "Signatures cannot be checked here",
    errors.UnsupportedImageError: "Unsupported image format",
    errors.DamagedImageError: "The file is damaged",
    errors.OddSizeError: "An unusual size",
    errors.HybridImageError: "A CD and a disk",
    errors.SourceError: "The file cannot be read",
    errors.SourceChangedError: "This is another file",
    errors.NoSuchImageError: "Not found",
    errors.RecoveredOverlayError: "An overlay without a name was found",
    errors.DamagedDiskError: "The disk is damaged",
    errors.NameTakenError: "This name is already in use",
    errors.UnfinishedImportError: "The import is not finished",
    errors.ImageBusyError: "It is in use",
    errors.UnversionedBaseError: "This image cannot take an overlay",
    errors.MissingPartError: "A part of this page is missing",
    errors.BaseChangedError: "The base image has changed",
    errors.RebaseRefusedError: "The changes do not fit the new version",
    errors.MissingBaseError: "Parts of the old version are missing",
    errors.UnreadableImageError: "The disk cannot be read",
    errors.HasOverlaysError: "Other overlays depend on it",
    errors.DataCutError: "Data would be cut off",
    errors.NoSuchSaveError: "There is no such save",
    errors.SaveConflictError: "The save has changed elsewhere",
    errors.SaveBaseError: "The save is of another version",
    errors.DamagedSaveError: "The save is damaged",
    errors.UnreadableSaveError: "The save cannot be read here",
    errors.SaveTooLargeError: "The save is too large",
    errors.SaveRefusedError: "The server refused the save",
    errors.UnknownFileSystemError: "These files cannot be read here",
    errors.DamagedFileSystemError: "The file system is damaged",
    errors.NoSuchFileError: "There is no such file",
    errors.UnreadableFileError: "This file cannot be read",
    errors.CannotWaitError: "This browser cannot wait for bytes",
    errors.StorageFullError: "Storage is full",
    errors.StorageBusyError: "Another tab is using the cache",
    errors.StorageUnavailableError: "No storage available",
    errors.StorageError: "Storage failed",
    errors.DiskError: "Operation failed",
}

_UNREADABLE = "Invalid number"
# Where the error's own words speak to a programmer.
_ERROR_TEXTS: dict[type[errors.DiskError], str] = {
    errors.RemoteImagesDisabledError: "Turn on “Use remote image” first. The image’s server "
    "will see your IP address, what you read, and when.",
}
_RECOVER = "Close it and press “Recover” next to it in the list, which saves what is intact."


def error_texts(error: errors.DiskError) -> dict[str, str]:
    """The title and the text about `error` for a person."""
    title = next(_ERROR_TITLES[kind] for kind in type(error).__mro__ if kind in _ERROR_TITLES)
    if isinstance(error, errors.InvalidOptionError):
        return {
            "title": _UNREADABLE if error.option in {"offset", "length"} else title,
            "text": f"{error.option.capitalize()} must be {error.expected}, "
            f"not “{error.value or ' '}”.",
        }
    text = _ERROR_TEXTS.get(type(error)) or str(error)
    return {"title": title, "text": text.replace(errors.DamagedDiskError.RECOVER, _RECOVER)}
