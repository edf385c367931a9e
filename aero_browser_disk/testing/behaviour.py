"""The faults and delays of a test server, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

ContentRangeFault = Literal["right", "shifted", "missing", "malformed", "wrong-size", "no-size"]
Coding = Literal["none", "gzip", "gzip-lie"]
Cors = Literal["full", "documented", "credentials", "hidden", "none"]
Validators = Literal["both", "etag", "last-modified", "weak", "changing", "none"]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a server responds. `Behaviour()` is a correct server without limits.

    Sizes and positions are in bytes; positions count from the start of the body that is sent, not
    of the image. Faults may be combined as far as they make sense together. `dataclasses.replace`
    adds a fault to a behaviour; the fields are also what `POST /_control/behaviour` takes.
    """

    # ── the status ──
    status: int | None = None
    """Respond with this to GET and HEAD, with a short text for a body: 403, 404, 429, 500, 503 …"""
    retry_after_s: int | None = None
    """`Retry-After` of a response that `status` or `max_range` made."""
    head_status: int | None = None
    """Respond to HEAD with this (405 and 403 are common), to GET as before."""
    preflight_status: int | None = None
    """Respond to OPTIONS with this and no CORS headers: the browser refuses the request."""
    redirect_status: int | None = None
    """301, 302, 303, 307 or 308 to `redirect_to`."""
    redirect_to: str = ""
    """The redirect's `Location`: a path of this server or a whole URL."""
    max_range: int | None = None
    """Respond with 413 to a range longer than this."""

    # ── ranges and lengths ──
    ignore_range: bool = False
    """Respond to a range with 200 and the whole image, at a few MB/s: a client that means to stop
    has the time to."""
    accept_ranges: bool = True
    """Send `Accept-Ranges: bytes`."""
    content_range: ContentRangeFault = "right"
    """`shifted` names the bytes 512 further on, `wrong-size` an image 512 bytes longer,
    `no-size` has `*` for the size."""
    head_length: bool = True
    """HEAD has a `Content-Length`."""
    chunked: bool = False
    """GET sends chunks and no `Content-Length`."""
    multipart: bool = False
    """A range comes as `multipart/byteranges`."""
    short_by: int = 0
    """The body ends this early, and `Content-Length` agrees."""
    long_by: int = 0
    """The body goes on this much further, and `Content-Length` agrees."""

    # ── the bytes ──
    corrupt_at: int | None = None
    """The byte at this offset *of the image* comes with all its bits turned."""
    coding: Coding = "none"
    """`gzip` compresses the body and says so; `gzip-lie` only says so."""

    # ── headers ──
    validators: Validators = "both"
    """`changing` sends another ETag and date with each response; `weak` a weak ETag and no date."""
    cors: Cors = "full"
    """`full`: any origin, all headers readable. `credentials`: the asking origin, with cookies.
    `documented`: any origin, and only the headers readable that the guide asks for.
    `hidden`: no header is exposed. `none`: nothing of CORS."""
    corp: str | None = "cross-origin"
    """`Cross-Origin-Resource-Policy`."""
    cache_control: str | None = None
    """`Cache-Control`."""
    content_type: str = "application/octet-stream"
    """`Content-Type`."""
    headers: tuple[tuple[str, str], ...] = ()
    """More headers. They replace those of the same name; an empty value removes the header."""

    # ── the connection ──
    reset: bool = False
    """Reset the connection instead of a response."""
    reset_after: int | None = None
    """Reset the connection after so much of the body."""
    close_after: int | None = None
    """Close the connection cleanly after so much of the body."""
    stall: bool = False
    """Send nothing until `release()`."""
    stall_after: int | None = None
    """Send so much of the body, and the rest after `release()`."""

    # ── the pace ──
    latency_s: float = 0.0
    """Wait this long before each response: the round trip of a distant server."""
    bandwidth_bytes_per_s: float | None = None
    """All bodies together go at this rate: one link that every connection shares."""
    drip_bytes: int | None = None
    """Send the body so many bytes at a time …"""
    drip_interval_s: float = 0.01
    """… and wait this long after each."""

    def __post_init__(self) -> None:
        for name in ("content_range", "coding", "cors", "validators"):
            allowed = get_args(get_type_hints(Behaviour)[name])
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}, not one of {allowed}")
        for name in ("drip_bytes", "bandwidth_bytes_per_s", "max_range"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value}, but must be above 0")
        for name in ("short_by", "long_by", "reset_after", "close_after", "stall_after"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} is {value}, but must not be negative")
        if self.redirect_status is not None and not self.redirect_to:
            raise ValueError(f"a redirect by {self.redirect_status} needs redirect_to")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Behaviour:
        """A behaviour from plain values by field name; `headers` may be an object.

        Raises ValueError for a name that is no field, and for a value that a field cannot have.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"no such field of Behaviour: {', '.join(unknown)}")
        given = dict(values)
        headers = given.get("headers", ())
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        given["headers"] = tuple((str(name), str(value)) for name, value in pairs)
        for field in fields(cls):
            if field.name in given and field.name != "headers":
                _check_plain(field.name, given[field.name], getattr(_CORRECT, field.name))
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """The fields that differ from a correct server's, by name."""
        return {
            name: value for name, value in asdict(self).items() if value != getattr(_CORRECT, name)
        }


_CORRECT = Behaviour()
_OPTIONAL_TEXTS = {"corp", "cache_control"}


def _check_plain(name: str, value: object, default: object) -> None:
    """Raises ValueError unless `value` has the kind that the field's default shows."""
    if isinstance(default, bool):
        right = isinstance(value, bool)
    elif isinstance(default, str):
        right = isinstance(value, str) or (value is None and name in _OPTIONAL_TEXTS)
    elif name in _OPTIONAL_TEXTS:
        right = value is None or isinstance(value, str)
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        right = number or (value is None and default is None)
    if not right:
        raise ValueError(f"{name} cannot be {value!r}")
