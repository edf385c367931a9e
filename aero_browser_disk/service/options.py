"""The options of the service, a class for each table of the configuration.

Each is checked by itself here; `configuration` checks that they go together.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from .http.cors import CorsPolicy, ResourcePolicy
from .relay.listed import SERVER_NAME, Prefix

_HEADER_NAME = re.compile(r"[a-z0-9-]+")
# A token must be long enough not to be guessed.
_SHORTEST_TOKEN = 16
# A chunk of a body is 128 KiB (CHUNK_LENGTH) and waits until the client may have all of it. Slower
# than this it would wait for more than two seconds, and several at once for longer than clients do.
_SLOWEST_BYTES_PER_S = 64 * 1024

Seconds = Annotated[int, Field(ge=0)]
Port = Annotated[int, Field(ge=0, le=65535)]
Network = IPv4Network | IPv6Network


class Section(BaseModel):
    """A table of the file. Unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ServerOptions(Section):
    """Where and how it listens, and the limits of one connection."""

    # granian for HTTP/2 without a proxy or CDN: `web/guide/decisions/http-server.md`.
    kind: Literal["uvicorn", "granian"] = "uvicorn"
    host: str = "127.0.0.1"
    port: Port = 8080
    # Instead of an address, behind another server on this machine.
    unix_socket: Path | None = None
    # Who may connect there, as a mode for chmod.
    unix_socket_mode: Annotated[str, Field(pattern=r"^0?[0-7]{3}$")] = "660"
    http: Literal["auto", "1", "2"] = "auto"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    # Clients must show a certificate that one of these authorities signed.
    tls_client_authorities: Path | None = None
    grace_s: Seconds = 30
    # Longer than browsers pause between reads of a disk. Also the time that a request's headers may
    # take, its body, and on uvicorn each chunk of a response.
    keep_alive_s: Annotated[int, Field(ge=1)] = 75
    max_header_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024
    max_url_length: Annotated[int, Field(ge=256)] = 2048
    # Behind another server: the proxies trusted to name the client, and the URL for clients.
    trusted_proxies: tuple[Network | Literal["unix:"], ...] = ()
    public_url: str | None = None

    @field_validator("public_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^/?#]+", value):
            raise ValueError("must be scheme://host[:port] without a path")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        if self.tls_client_authorities and not self.tls_certificate:
            raise ValueError("tls_client_authorities needs tls_certificate and tls_key")
        if self.kind == "uvicorn" and self.http == "2":
            raise ValueError('http = "2" needs kind = "granian": uvicorn has no HTTP/2')
        if self.unix_socket is not None and self.tls_certificate is not None:
            raise ValueError("unix_socket has no TLS")
        if self.unix_socket is None and "unix:" in self.trusted_proxies:
            raise ValueError('trusted_proxies "unix:" is for unix_socket')
        return self


class StoreOptions(Section):
    """Where the images are: a folder, or a bucket (`s3://bucket/prefix`, `gs://`, `az://`).

    A bucket's credentials come from the usual sources of its cloud's tools.
    """

    folder: Path | None = None
    bucket: str | None = None
    endpoint: str | None = None
    region: str | None = None
    anonymous: bool = False
    # Whether every plain file of a folder without manifest.json is a public image, and every folder
    # in it that is a prepared image.
    listing: bool = False
    # Of unpacked chunks of prepared images.
    prepared_cache_bytes: Annotated[int, Field(ge=0)] = 64 << 20

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.folder is not None and self.bucket is not None:
            raise ValueError("one of folder and bucket")
        if self.listing and self.bucket is not None:
            raise ValueError("listing is for a folder: a bucket needs its manifest.json")
        return self


class CorsOptions(Section):
    """Which pages may read."""

    allow_origins: tuple[str, ...] = ("*",)
    credentials: bool = False
    max_age_s: Seconds = 600
    resource_policy: ResourcePolicy = "same-site"
    timing: bool = False

    @field_validator("allow_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "*" in value and len(value) > 1:
            raise ValueError('"*" stands alone')
        CorsPolicy(frozenset(value) - {"*"})
        return value

    @property
    def policy(self) -> CorsPolicy:
        """The policy for responses."""
        return CorsPolicy(
            None if "*" in self.allow_origins else frozenset(self.allow_origins),
            self.resource_policy,
            self.max_age_s,
            credentials=self.credentials,
            timing=self.timing,
        )


class BytesOptions(Section):
    """Limits and caching of image bytes."""

    max_age_s: Seconds = 300
    # Ids that fully match it name one version forever.
    versioned_ids: re.Pattern[str] | None = None
    max_range_bytes: Annotated[int, Field(ge=4096)] = 8 * 1024 * 1024
    # Whether a longer `bytes=N-` gets that much, or a 413 too.
    shorten_open_ranges: bool = True
    # nginx sends the bytes, from below this internal location, to requests that come through a
    # trusted proxy: see scripts/deploy/nginx/accel-redirect.conf.template.
    accel_location: Annotated[str, Field(pattern=r"^/[A-Za-z0-9_/-]*[A-Za-z0-9_-]$")] | None = None
    range_required: bool = False


class MetricsOptions(Section):
    """`/metrics`: behind a token, or on an address of its own."""

    enabled: bool = False
    token: Annotated[SecretStr, Field(min_length=_SHORTEST_TOKEN)] | None = None
    host: str | None = None
    port: Port = 9464

    @model_validator(mode="after")
    def _is_not_open(self) -> Self:
        if self.enabled and self.token is None and self.host is None:
            raise ValueError("metrics would be public: set metrics.token or metrics.host")
        return self


class JwtOptions(Section):
    """Bearer tokens: issuer, audience, and the keys that verify them."""

    issuer: Annotated[str, Field(min_length=1)]
    audience: Annotated[str, Field(min_length=1)]
    # A JWK set, or PEM public keys; read again on SIGHUP.
    keys_file: Path | None = None
    jwks_url: str | None = None
    jwks_max_age_s: Annotated[int, Field(ge=1)] = 300
    algorithms: tuple[Literal["RS256", "ES256", "EdDSA"], ...] = ("RS256", "ES256", "EdDSA")
    # The scope for reading: `disk:read:ID` for one image, `disk:read:*` for every one.
    scope: Annotated[str, Field(pattern=r"^[!#-\[\]-~]+$")] = "disk:read"
    # The scope for uploading images and reading one's own.
    upload_scope: Annotated[str, Field(pattern=r"^[!#-\[\]-~]+$")] = "disk:upload"
    # The scopes for one's own saves. Each of them, and the plain scope for reading, lets one read.
    write_scope: Annotated[str, Field(pattern=r"^[!#-\[\]-~]+$")] = "disk:write"
    share_scope: Annotated[str, Field(pattern=r"^[!#-\[\]-~]+$")] = "disk:share"
    delete_scope: Annotated[str, Field(pattern=r"^[!#-\[\]-~]+$")] = "disk:delete"
    leeway_s: Annotated[int, Field(ge=0, le=300)] = 30

    @model_validator(mode="after")
    def _has_keys(self) -> Self:
        if (self.keys_file is None) == (self.jwks_url is None):
            raise ValueError("one of keys_file and jwks_url")
        if self.jwks_url is not None and not _is_safe_url(self.jwks_url):
            raise ValueError("jwks_url must be https, or http on this machine")
        return self


class ProxyIdentityOptions(Section):
    """mTLS terminated by a trusted proxy, which forwards the certificate's subject."""

    subject_header: Annotated[str, Field(pattern=_HEADER_NAME)] = "x-client-subject"
    verified_header: Annotated[str, Field(pattern=_HEADER_NAME)] = "x-client-verify"
    verified_value: Annotated[str, Field(min_length=1)] = "SUCCESS"
    # Which images a certificate may read: subject to ids, `*` for all.
    subjects: dict[str, tuple[str, ...]]


class AuthorizationOptions(Section):
    """Who may read private images. Any one of these is enough; without any, nobody may."""

    # TOML: `current = "KEY-ID"` and `[keys]`, key id to base64url; read again on SIGHUP.
    signing_keys_file: Path | None = None
    lease_s: Annotated[int, Field(ge=5, le=7 * 86400)] = 300
    jwt: JwtOptions | None = None
    proxy_identity: ProxyIdentityOptions | None = None

    @property
    def is_configured(self) -> bool:
        """Whether anybody may read a private image."""
        return bool(self.signing_keys_file or self.jwt or self.proxy_identity)


class LimitOptions(Section):
    """Limits of one client, which is a token's subject or else an address. 0: no limit."""

    requests_in_flight: Annotated[int, Field(ge=0)] = 64
    requests_per_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    bytes_per_s: Annotated[int, Field(ge=0)] = 0
    # Shared by all instances that name the same Redis or Valkey.
    redis_url: SecretStr | None = None

    @field_validator("bytes_per_s")
    @classmethod
    def _is_no_trickle(cls, value: int) -> int:
        if 0 < value < _SLOWEST_BYTES_PER_S:
            raise ValueError(f"must be 0, or {_SLOWEST_BYTES_PER_S} or more")
        return value


class UploadOptions(Section):
    """`/v1/uploads`: images that users upload to the bucket, and the database of their records."""

    enabled: bool = False
    # sqlite:///FILE, or postgresql+psycopg://USER:PASSWORD@HOST/NAME for several instances.
    database: SecretStr = SecretStr("sqlite:///uploads.db")
    max_image_bytes: Annotated[int, Field(ge=1)] = 64 << 30
    # Max. bytes and uploads of one owner, recently ended ones included. 0: no limit.
    owner_bytes: Annotated[int, Field(ge=0)] = 1 << 40
    owner_uploads: Annotated[int, Field(ge=0)] = 1000
    # A minimum: an image may have 10,000 parts. S3 accepts parts below 5 MiB only as the last one.
    part_bytes: Annotated[int, Field(ge=5 << 20, le=5 << 30)] = 64 << 20
    url_s: Annotated[int, Field(ge=60, le=7 * 86400)] = 3600
    # How long an upload may be idle before it is abandoned, and how long the record of an ended one
    # is kept.
    unfinished_s: Annotated[int, Field(ge=3600)] = 86400
    # The bucket's endpoint for browsers, if it is not store.endpoint.
    public_endpoint: str | None = None


class SaveOptions(Section):
    """`/v1/saves`: overlays of users in a folder or bucket, and the database of their records.

    A bucket is given as in `[store]`; it may be the same one with another prefix.
    """

    enabled: bool = False
    folder: Path | None = None
    bucket: str | None = None
    endpoint: str | None = None
    region: str | None = None
    # As for uploads; it may be the same one.
    database: SecretStr = SecretStr("sqlite:///saves.db")
    # Max. bytes and saves of one owner. 0: no limit. Each chunk counts at least 4 KiB.
    owner_bytes: Annotated[int, Field(ge=0)] = 10 << 30
    owner_saves: Annotated[int, Field(ge=0)] = 100
    # How many states of a save are kept, the current one included.
    generations: Annotated[int, Field(ge=1, le=1000)] = 5
    # How long chunks stay that no manifest refers to yet: a push must not take longer.
    unfinished_s: Annotated[int, Field(ge=3600)] = 86400

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.enabled and (self.folder is None) == (self.bucket is None):
            raise ValueError("one of folder and bucket")
        return self


class CdnOptions(Section):
    """`/v1/images/{id}/cdn`: CloudFront in front of the bucket, with signatures from here."""

    # The distribution; its origin path is the store's prefix.
    url: Annotated[str, Field(pattern=r"^https://[^/?#\"\\]+(?:/[^?#\"\\]+)?$")] | None = None
    key_pair_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9]+$")] | None = None
    private_key_file: Path | None = None
    lifetime_s: Annotated[int, Field(ge=60, le=7 * 86400)] = 3600
    cookie_domain: Annotated[str, Field(pattern=r"^[a-z0-9.-]+$")] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        given = [self.url, self.key_pair_id, self.private_key_file]
        if any(given) and not all(given):
            raise ValueError("url, key_pair_id and private_key_file go together")
        return self


class RelayServer(Section):
    """A server whose images are relayed: everything below `url`.

    `redirects`: where it may redirect to; the host of one may begin with `*.`.
    """

    url: str
    public: bool
    redirects: tuple[str, ...] = ()

    @field_validator("url")
    @classmethod
    def _is_prefix(cls, value: str) -> str:
        Prefix.parse(value)
        return value

    @field_validator("redirects")
    @classmethod
    def _are_prefixes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in value:
            Prefix.parse(prefix, wildcard=True)
        return value


class RelayOptions(Section):
    """`/relay/NAME/PATH`: images of servers that send no CORS headers. Off without servers."""

    servers: dict[Annotated[str, Field(pattern=SERVER_NAME)], RelayServer] = {}
    # Private networks in which such a server may be. Without it only public addresses are used.
    private_networks: tuple[Network, ...] = ()
    # To each of them.
    connections: Annotated[int, Field(ge=1, le=1000)] = 16
    # Until its response begins, redirects included, and between parts of a body.
    timeout_s: Annotated[float, Field(gt=0, le=300, allow_inf_nan=False)] = 20
    # For a whole body, which has at most bytes.max_range_bytes.
    body_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 300


def _is_safe_url(url: str) -> bool:
    return url.startswith("https://") or bool(
        re.match(r"http://(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]+)?/", url)
    )
