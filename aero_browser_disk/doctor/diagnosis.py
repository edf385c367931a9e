"""Why an image can or cannot be streamed from an address: what was tried, and what was found."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from ..errors import DiskError, InvalidUrlError, NetworkError, RemoteImagesDisabledError
from ..formats.image_format import BGZF, PREPARED
from ..formats.prepared.manifest import Manifest, begins_manifest
from ..formats.recognition import HEAD_LENGTH, TAIL_LENGTH, recognise
from ..platform import current_platform
from ..platform.base import Credentials, HttpClient, PageFacts, Platform
from ..platform.byte_range import ByteRange
from ..platform.redaction import redact_url
from ..remote.access import ImageAddress
from ..remote.byte_ranges import (
    ContentRange,
    EntityTag,
    parse_content_range,
    parse_http_date,
)
from ..remote.response_headers import has_aged
from ..transfer.image_import import CopyProgress, Report
from ..units import format_bytes
from .advice import meaning_of, remedy_of
from .browser_view import BrowserView
from .probe import Prober, ProbeResult

Level = Literal["ok", "note", "fails"]

_SLOW_S: Final = 0.5
_LOCAL: Final = re.compile(r"(?:[^.]+\.)*localhost|127(?:\.[0-9]{1,3}){3}|\[::1\]")
# Lengths of the range that tests the server's limit and the throughput; shorter ones if refused.
# With the first and last bytes this stays below `MAX_BYTES`.
_LONG_RANGES: Final = (512 << 10, 128 << 10)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `level`: passed (`ok`), could be better (`note`), or prevents
    streaming (`fails`).

    `code` names it for programs, `what` says what was seen, `meaning` what that means, and `remedy`
    has the line to add, by server: nginx, s3, cloudfront, caddy, service.
    """

    code: str
    level: Level
    what: str
    meaning: str = ""
    remedy: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings, in the order of the checks. `url` has no secrets: it may be shown."""

    url: str
    findings: tuple[Finding, ...]
    size: int | None
    requests: int
    bytes_downloaded: int

    @property
    def is_streamable(self) -> bool:
        """Whether the image can be streamed."""
        return all(finding.level != "fails" for finding in self.findings)

    @property
    def fault(self) -> str | None:
        """The code of the first finding that prevents streaming."""
        return next((found.code for found in self.findings if found.level == "fails"), None)


async def diagnose(
    url: str,
    *,
    allow_remote: bool = False,
    origin: str | None = None,
    headers: Mapping[str, str] | None = None,
    credentials: Credentials = "same-origin",
    timeout_s: float = 10.0,
    report: Report | None = None,
    platform: Platform | None = None,
) -> Diagnosis:
    """Examines an address as a page would, and returns what it found. Reads at most 1 MiB.

    Of a response that it ends early, because a server sends the whole image instead of a range,
    sockets and browser may have taken a few MiB more.

    `allow_remote` is the user's consent, as in `open_disk`; raises `RemoteImagesDisabledError`
    without it. In a browser the page is the one that this runs in. Elsewhere `origin` names a page
    (`https://app.example.com`), and of each response only what that page may read counts. Without
    it there is no page, and CORS does not matter. `headers` and `credentials` are as in
    `open_disk`. `report` is called with a `CopyProgress`: the bytes downloaded so far, and all that
    are to be downloaded.
    """
    if not allow_remote:
        raise RemoteImagesDisabledError
    platform = platform or await current_platform()
    page, http = platform.page, platform.http
    if page is None and origin is not None:
        page, http = PageFacts(origin), BrowserView(http, origin)
    try:
        address = ImageAddress.parse(url, headers, credentials, timeout_s)
    except InvalidUrlError as error:
        finding = Finding("invalid-url", "fails", error.reason, meaning_of("invalid-url", origin))
        return Diagnosis(redact_url(url), (finding,), None, 0, 0)
    return await _Examination(http, address, page, report).examine()


class _Stop(Exception):  # noqa: N818 - no error: it ends the checks
    """Nothing more can be learned."""


class _Examination:
    """The checks of one address."""

    def __init__(
        self,
        http: HttpClient,
        address: ImageAddress,
        page: PageFacts | None,
        report: Report | None,
    ) -> None:
        self._address = address
        self._page = page
        self._report = report
        self._prober = Prober(http, address, self._came)
        self._findings: list[Finding] = []
        self._size: int | None = None
        self._responses: list[ProbeResult] = []

    async def examine(self) -> Diagnosis:
        """Runs every check."""
        try:
            self._look_at_address()
            head = await self._head()
            first = await self._first_bytes(head)
            size = self._check_first_bytes(first)
            self._size = size
            self._compare_sizes(head, size)
            last = await self._last_bytes(size)
            await self._long_range(size)
            await self._past_the_end(size)
            self._look_at_validators()
            self._look_at_format(first.body, last, size)
        except _Stop:
            pass
        self._look_at_page()
        return Diagnosis(
            self._address.shown,
            tuple(self._findings),
            self._size,
            self._prober.requests,
            self._prober.bytes_downloaded,
        )

    def _came(self) -> None:
        """Reports how far this is; the server's limit may make it a little more than planned."""
        if self._report is not None:
            done = self._prober.bytes_downloaded
            self._report(CopyProgress(done, max(done, _planned_bytes(self._size))))

    # ── findings ─────────────────────────────────────────────────────────────────────────────────

    def _note(self, code: str, what: str, level: Level = "note") -> None:
        origin = None if self._page is None else self._page.origin
        remedy = {} if level == "ok" else remedy_of(code, origin)
        meaning = "" if level == "ok" else meaning_of(code, origin)
        self._findings.append(Finding(code, level, what, meaning, remedy))

    def _ok(self, code: str, what: str) -> None:
        self._note(code, what, "ok")

    def _fail(self, code: str, what: str) -> _Stop:
        """Notes what prevents streaming. The caller raises the result to end the examination."""
        self._note(code, what, "fails")
        return _Stop()

    # ── the address ──────────────────────────────────────────────────────────────────────────────

    def _look_at_address(self) -> None:
        url = self._address.web_url
        secure_page = self._page is not None and self._page.origin.startswith("https:")
        if url.scheme == "http" and secure_page and not _is_local(url.hostname):
            raise self._fail("mixed-content", "the page is on https, the image on http")
        self._ok("address", f"it is an {url.scheme} address")

    # ── requests ─────────────────────────────────────────────────────────────────────────────────

    async def _head(self) -> ProbeResult | None:
        try:
            head = await self._prober.request("HEAD")
        except NetworkError:
            return None  # some servers drop HEAD: the range request decides
        self._responses.append(head)
        return head

    async def _first_bytes(self, head: ProbeResult | None) -> ProbeResult:
        try:
            first = await self._prober.request("GET", ByteRange(0, HEAD_LENGTH), HEAD_LENGTH + 1)
        except NetworkError as error:
            raise await self._why_nothing_came(head, error) from None
        if first.status in (200, 206) and begins_manifest(first.body):
            raise await self._look_at_manifest(first.body)
        if first.status != 206:
            raise self._why_no_part(first)
        self._ok("response", "the server sent the requested range (206)")
        if head is None:
            self._note("head-refused", "there is no response to HEAD")
        elif head.status != 200:
            self._note("head-refused", f"the response to HEAD has status {head.status}")
        elif head.headers.get("accept-ranges", "").strip().lower() == "none":
            self._note("ranges-denied", "Accept-Ranges is `none`", "fails")
        self._responses.append(first)
        return first

    async def _look_at_manifest(self, encoded: bytes) -> _Stop:
        """A prepared image needs neither ranges nor validators: its files are proved by name."""
        try:
            manifest = Manifest.decode(encoded)
        except DiskError as error:
            return self._fail("not-raw", f"{error}")
        size = format_bytes(manifest.size)
        self._ok("format", f"it is {PREPARED.title} of a disk of {size}")
        table = manifest.table
        try:
            response = await self._prober.request("GET", None, table.length + 1, table.path)
        except NetworkError as error:
            return self._fail("unreachable", f"its files cannot be read ({error.reason})")
        if response.status != 200:
            code = _code_of(response.status)
            return self._fail(code, f"a file of it, {table.path}, has status {response.status}")
        if not table.is_file(response.body):
            return self._fail(
                "length-wrong", f"a file of it, {table.path}, is not what it should be"
            )
        self._size = manifest.size
        self._responses.append(response)
        self._ok("response", "its files can be read as a whole, and are what they should be")
        return _Stop()

    async def _why_nothing_came(self, head: ProbeResult | None, error: NetworkError) -> _Stop:
        if head is not None:
            # Chromium shows nothing of a part that it cannot decode.
            if head.coding:
                return self._fail("compressed", f"the response is compressed ({head.coding})")
            if error.reason.startswith("nothing came"):
                return self._fail("silent", f"HEAD works, but for GET {error.reason}")
            what = "HEAD works, but GET ends without a response"
            return self._fail("cut-off" if self._page is None else "maybe-compressed", what)
        if error.reason.startswith("nothing came"):
            return self._fail("silent", error.reason)
        if self._page is not None and await self._prober.responds():
            return self._fail(
                "cors", f"the server does not let {self._page.origin} read its responses"
            )
        reason = f" ({error.reason})" if error.reason else ""
        return self._fail("unreachable", f"no response{reason}")

    def _why_no_part(self, response: ProbeResult) -> _Stop:
        status = response.status
        if status == 200 and response.length == 0:
            return self._fail("empty", "the image has no bytes")
        if status == 200:
            self._note(
                "ranges-ignored",
                "the server ignored the Range header and sent the whole file (200)",
                "fails",
            )
            if not response.coding:
                self._look_at_format(response.body, b"", response.length)
            else:
                self._note("compressed", f"the response is compressed ({response.coding})", "fails")
            return _Stop()
        if status == 416 and _size_of(response) == 0:
            return self._fail("empty", "the image has no bytes")
        if status == 413:
            return self._fail("range-limit", f"a range of {format_bytes(HEAD_LENGTH)} is refused")
        return self._fail(_code_of(status), f"the server returned status {status}")

    async def _last_bytes(self, size: int) -> bytes:
        byte_range = ByteRange(max(0, size - TAIL_LENGTH), size)
        try:
            last = await self._prober.request("GET", byte_range, byte_range.length + 1)
        except NetworkError as error:
            raise self._fail(
                "end-wrong", f"its last bytes cannot be read: {error.reason}"
            ) from None
        found = _content_range(last)
        right = last.status == 206 and found is not None and found == ContentRange(byte_range, size)
        if not right or len(last.body) != byte_range.length:
            raise self._fail("end-wrong", f"its last bytes cannot be read (status {last.status})")
        self._responses.append(last)
        self._ok("end", f"the last of its {size} bytes can be read")
        return last.body

    async def _long_range(self, size: int) -> None:
        for length in _LONG_RANGES:
            start = HEAD_LENGTH if size > HEAD_LENGTH else 0
            byte_range = ByteRange(start, min(size, start + length))
            try:
                response = await self._prober.request("GET", byte_range, byte_range.length)
            except NetworkError:
                self._note(
                    "range-limit", f"no response to a range of {format_bytes(byte_range.length)}"
                )
                continue
            if response.status == 206:
                self._measured(response, byte_range)
                return
            what = f"a range of {format_bytes(byte_range.length)} is refused ({response.status})"
            self._note("range-limit", what)

    def _measured(self, response: ProbeResult, byte_range: ByteRange) -> None:
        self._responses.append(response)
        if response.is_broken or len(response.body) < byte_range.length:
            self._fail("cut-off", f"only {len(response.body)} of {byte_range.length} bytes came")
            return
        took_s = max(response.duration_s - response.latency_s, 1e-6)
        rate = format_bytes(int(byte_range.length / took_s))
        latency_s = min(each.latency_s for each in self._responses)
        what = f"a response starts after {latency_s * 1000:.0f} ms and comes at {rate}/s"
        if latency_s > _SLOW_S:
            self._note("slow", what)
        else:
            self._ok("speed", what)

    async def _past_the_end(self, size: int) -> None:
        try:
            response = await self._prober.request("GET", ByteRange(size, size + 1), 0)
        except NetworkError:
            if self._page is not None:
                self._note("errors-unreadable", "the page cannot read the response 416")
            return
        if response.status != 416:
            self._note("end-odd", f"a range past the end gets status {response.status}")

    # ── responses ────────────────────────────────────────────────────────────────────────────────

    def _check_first_bytes(self, first: ProbeResult) -> int:
        """The size of the image; raises when the response is not the requested range."""
        if first.headers.get("content-type", "").strip().lower().startswith("multipart/"):
            raise self._fail("multipart", "one range came in several parts (multipart/byteranges)")
        if first.coding:
            raise self._fail("compressed", f"the response is compressed ({first.coding})")
        text = first.headers.get("content-range")
        if text is None:
            raise self._fail("content-range-unreadable", "Content-Range cannot be read")
        found = _content_range(first)
        if found is None or found.range is None:
            raise self._fail("content-range-wrong", f"Content-Range is {text!r}")
        if found.size is None:
            raise self._fail("size-unknown", f"Content-Range is {text!r}")
        expected = ByteRange(0, min(HEAD_LENGTH, found.size))
        if found.range != expected:
            raise self._fail("content-range-wrong", f"Content-Range is {text!r}")
        if first.is_broken:
            raise self._fail("cut-off", f"only {len(first.body)} of {expected.length} bytes came")
        if len(first.body) != expected.length or first.length not in (None, expected.length):
            count = max(len(first.body), first.length or 0)
            raise self._fail("length-wrong", f"{count} bytes came instead of {expected.length}")
        self._ok("content-range", f"Content-Range can be read: {format_bytes(found.size)}")
        return found.size

    def _compare_sizes(self, head: ProbeResult | None, size: int) -> None:
        useful = head is not None and head.status == 200 and not head.coding
        if useful and head is not None and head.length not in (None, size):
            self._note("sizes-differ", f"HEAD says {head.length} bytes, GET {size}", "fails")
        if size % 512:
            self._note("odd-size", f"it has {size} bytes")

    def _look_at_validators(self) -> None:
        responses = [each for each in self._responses if each.status in (200, 206)]
        tags = {each.headers.get("etag") for each in responses}
        dates = {each.headers.get("last-modified") for each in responses}
        tag = responses[-1].headers.get("etag")
        date = responses[-1].headers.get("last-modified")
        strong = tag is not None and _is_strong(tag)
        dated = date is not None and parse_http_date(date) is not None
        aged = has_aged(responses[-1].headers, time.time())
        if len(tags) > 1 or (not strong and dated and len(dates) > 1):
            found = " and ".join(sorted(str(each) for each in (tags if len(tags) > 1 else dates)))
            self._note(
                "validator-changing", f"responses have different validators: {found}", "fails"
            )
        elif strong:
            self._ok("validator", f"it has a strong ETag: {tag}")
        elif dated and not aged:
            what = f"there is no strong ETag ({tag}), and the image has just changed ({date})"
            self._note("validator-new", what)
        elif dated:
            self._note("validator-date", f"there is no strong ETag ({tag}), but Last-Modified")
        elif tag is not None:
            self._note("validator-weak", f"the ETag is weak ({tag}), and there is no Last-Modified")
        else:
            self._note("validator-missing", "neither ETag nor Last-Modified can be read")

    def _look_at_format(self, head: bytes, tail: bytes, size: int | None) -> None:
        found = recognise(head, tail, size)
        if found.is_streamable:
            condition = f". {found.advice}" if found is BGZF else ""
            self._ok("format", f"it is {found.title}{condition}")
            return
        self._note("not-raw", f"it is {found.title}. {found.advice}", "fails")

    def _look_at_page(self) -> None:
        if self._page is None or self._page.is_isolated is None:
            return
        if self._page.is_isolated:
            self._ok("isolated", "the page is cross-origin isolated")
        else:
            self._note("not-isolated", "the page is not cross-origin isolated")


def _planned_bytes(size: int | None) -> int:
    """What an examination downloads of an image of that size, if nothing is wrong."""
    lengths = (HEAD_LENGTH, TAIL_LENGTH, _LONG_RANGES[0])
    return sum(length if size is None else min(length, size) for length in lengths)


def _code_of(status: int) -> str:
    if status in (401, 403):
        return "wants-credentials"
    if status in (404, 410):
        return "not-found"
    if status == 429:
        return "busy"
    if status >= 500:
        return "server-error"
    return "redirected" if 300 <= status < 400 else "odd-status"


def _content_range(response: ProbeResult) -> ContentRange | None:
    try:
        return parse_content_range(response.headers.get("content-range", ""))
    except ValueError:
        return None


def _size_of(response: ProbeResult) -> int | None:
    found = _content_range(response)
    return None if found is None else found.size


def _is_strong(tag: str) -> bool:
    try:
        return not EntityTag.parse(tag).weak
    except ValueError:
        return False


def _is_local(host: str) -> bool:
    """Whether browsers trust plain http to it (Secure Contexts, §3.1)."""
    return _LOCAL.fullmatch(host) is not None
