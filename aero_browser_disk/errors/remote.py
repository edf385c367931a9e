"""Errors of an image's server."""

from __future__ import annotations

from .base import DiskError


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


class EncryptionUnavailableError(DiskError):
    """Nothing here can encrypt or decrypt."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Nothing can be encrypted or decrypted here: {reason}.")
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
