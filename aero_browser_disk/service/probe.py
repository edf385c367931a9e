"""Checks any server or CDN from outside: the doctor's checks, and those for caches."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

import httpx

from aero_browser_disk.doctor.diagnosis import Diagnosis, Finding, Level, diagnose
from aero_browser_disk.platform.cpython import cpython_platform

_TIMEOUT_S: Final = 20.0
_SENT_HEADERS: Final = ("range", "if-range", "if-match", "authorization")
_PREFLIGHT_VARY: Final = (
    "origin",
    "access-control-request-method",
    "access-control-request-headers",
)
_PREFLIGHT_MEANING: Final = (
    "Browsers send a preflight before a token or a condition, and it is refused."
)
_PREFLIGHT_REMEDY: Final = {
    "nginx": "if ($request_method = OPTIONS) { add_header Access-Control-Allow-Headers "
    f'"{", ".join(_SENT_HEADERS)}" always; return 204; }}',
    "s3": '"AllowedHeaders":["*"]  # in the CORS configuration of the bucket',
    "cloudfront": "Behavior → Allowed HTTP methods: GET, HEAD, OPTIONS",
    "caddy": f'header Access-Control-Allow-Headers "{", ".join(_SENT_HEADERS)}"',
    "service": "nothing to add: it responds to preflights; the proxy in front of it blocks OPTIONS",
}
_VARY_REMEDY: Final = {
    "nginx": 'add_header Vary "Origin" always;',
    "s3": "nothing to add: S3 sends it; the proxy in front of it removes it",
    "cloudfront": "Cache policy → Headers: include Origin",
    "caddy": "header +Vary Origin",
    "service": "nothing to add: it sends Vary; the proxy in front of it removes it",
}


class ProbeError(ValueError):
    """The address is not an http or https URL."""


async def probe(url: str, origin: str, authorization: str | None = None) -> Diagnosis:
    """Checks what a page of `origin` could read, and what a CDN could mix up.

    Raises `ProbeError` if the address is not an http or https URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ProbeError("not an http or https URL")
    sent = {} if authorization is None else {"Authorization": authorization}
    with tempfile.TemporaryDirectory() as unused:
        platform = cpython_platform(unused)
        try:
            found = await diagnose(
                url,
                allow_remote=True,
                origin=origin,
                headers=sent,
                timeout_s=_TIMEOUT_S,
                platform=platform,
            )
        finally:
            await platform.http.close()
    if found.fault in ("unreachable", "silent", "mixed-content", "cors"):
        return found
    try:
        more = [*_vary(url, origin, sent), *_preflight(url, origin)]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = f"a preflight gets no response ({type(error).__name__})"
        more = [Finding("preflight", "note", said, _PREFLIGHT_MEANING, _PREFLIGHT_REMEDY)]
    return Diagnosis(
        found.url,
        (*found.findings, *more),
        found.size,
        found.requests + 2,
        found.bytes_downloaded,
    )


def _vary(url: str, origin: str, sent: Mapping[str, str]) -> Iterator[Finding]:
    """Checks that a response for one origin tells caches so."""
    headers = _ask("HEAD", url, {"Origin": origin, **sent}).headers
    allowed = headers.get("access-control-allow-origin")
    if allowed not in (None, "*") and "origin" not in _names(headers.get("vary", "")):
        meaning = "A cache may send one page's response to another page, which cannot read it."
        yield Finding("vary", "fails", "Vary lacks Origin", meaning, _VARY_REMEDY)


def _preflight(url: str, origin: str) -> Iterator[Finding]:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": ", ".join(_SENT_HEADERS),
    }
    # Browsers send no credentials with it.
    response = _ask("OPTIONS", url, asked)
    status, headers = response.status_code, response.headers
    may_read = headers.get("access-control-allow-origin") in ("*", origin)
    if not 200 <= status < 300 or not may_read:
        said = f"a preflight fails ({status}): tokens cannot be sent"
        yield Finding("preflight", "fails", said, _PREFLIGHT_MEANING, _PREFLIGHT_REMEDY)
        return
    allowed = _names(headers.get("access-control-allow-headers", ""))
    lacking = [name for name in _SENT_HEADERS if name not in allowed]
    # `*` does not stand for Authorization (Fetch standard).
    if "*" in allowed:
        lacking = [name for name in lacking if name == "authorization"]
    if lacking:
        said = f"a preflight does not allow {', '.join(lacking)}"
        level: Level = "fails" if "range" in lacking else "note"
        yield Finding("preflight", level, said, _PREFLIGHT_MEANING, _PREFLIGHT_REMEDY)
    else:
        yield Finding("preflight", "ok", "a preflight allows what clients send")
    vary = _names(headers.get("vary", ""))
    missing = [name for name in _PREFLIGHT_VARY if name not in vary and "*" not in vary]
    if missing:
        said = f"Vary of the preflight lacks {', '.join(missing)}"
        yield Finding("preflight-vary", "note", said, "A CDN may mix up responses.", _VARY_REMEDY)


def _names(value: str) -> set[str]:
    return {name.strip().lower() for name in value.split(",") if name.strip()}


def _ask(method: str, url: str, headers: Mapping[str, str]) -> httpx.Response:
    """The response; raises `httpx.HTTPError`."""
    sent = {"Accept-Encoding": "identity", **headers}
    return httpx.request(
        method, url, headers=sent, timeout=_TIMEOUT_S, verify=ssl.create_default_context()
    )
