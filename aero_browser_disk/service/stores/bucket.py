"""A bucket of an object store, opened by obstore: S3 and compatible stores, GCS, Azure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from obstore.store import S3Store, from_url

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig, S3Config, S3Credential

_SCHEMES: Final = ("s3", "gs", "az")
_CONNECT_TIMEOUT: Final = timedelta(seconds=3)
# Between two bytes. A whole response takes as long as its reader.
_READ_TIMEOUT: Final = timedelta(seconds=10)
_WHOLE_TIMEOUT: Final = timedelta(days=7)
_RETRY: Final[RetryConfig] = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=2),
        "base": 2,
    },
}
# How often a credential that may rotate is asked for again.
_CREDENTIAL_LIFE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """Where a bucket is: `s3://bucket/prefix`, `gs://…` or `az://…`.

    `endpoint` and `region` are for S3. Credentials come from where the tools of each cloud look for
    them (environment, profile, container, instance); `anonymous` sends none. Raises `ValueError`.
    """

    url: str
    endpoint: str | None = None
    region: str | None = None
    anonymous: bool = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in _SCHEMES or not parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                f"{self.url!r} is not a bucket: write s3://bucket/prefix, gs:// or az://"
            )
        if self.endpoint is not None and urlsplit(self.endpoint).scheme not in ("http", "https"):
            raise ValueError(f"{self.endpoint!r} is not an endpoint: write http[s]://host[:port]")
        if self.endpoint is not None and parts.scheme != "s3":
            raise ValueError(f"an endpoint is for s3:// only, not for {parts.scheme}://")

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return urlsplit(self.url).netloc

    @property
    def prefix(self) -> str:
        """What every key begins with, without slashes around it; may be empty."""
        return urlsplit(self.url).path.strip("/")


def open_bucket(address: BucketAddress) -> ObjectStore:
    """The bucket; sends no request yet. Raises `ValueError` when there are no credentials."""
    options: ClientConfig = {
        "connect_timeout": _CONNECT_TIMEOUT,
        "read_timeout": _READ_TIMEOUT,
        "timeout": _WHOLE_TIMEOUT,
    }
    if urlsplit(address.url).scheme != "s3":
        return from_url(address.url, client_options=options, retry_config=_RETRY)
    if address.endpoint is not None:
        options["allow_http"] = address.endpoint.startswith("http://")
    config: S3Config = {"skip_signature": address.anonymous}
    if address.endpoint is not None:
        config["endpoint"] = address.endpoint
    if address.region is not None:
        config["region"] = address.region
    return S3Store(
        address.bucket,
        prefix=address.prefix or None,
        config=config,
        client_options=options,
        retry_config=_RETRY,
        credential_provider=None if address.anonymous else _Credentials(),
    )


class _Credentials:
    """Credentials from botocore, which knows every source that AWS has; obstore knows some."""

    def __init__(self) -> None:
        from botocore.session import get_session

        found = get_session().get_credentials()
        if found is None:
            raise ValueError(
                "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile "
                "in ~/.aws, or anonymous access for a public bucket"
            )
        self._found = found

    def __call__(self) -> S3Credential:
        now = self._found.get_frozen_credentials()
        return {
            "access_key_id": now.access_key,
            "secret_access_key": now.secret_key,
            "token": now.token,
            "expires_at": datetime.now(UTC) + _CREDENTIAL_LIFE,
        }
