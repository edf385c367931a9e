"""What opening a remote image takes, whatever its layout."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ..cache.budget import CACHES
from ..errors import InvalidDocumentError
from ..platform.base import Clock, Platform
from ..remote.access import ImageAddress
from ..remote.remote_image import ImageVersion
from ..remote.retry import Retries, RetryPolicy
from .cache_folder import CacheFolder
from .digest_list import DigestList
from .fetch_queue import RangeSource
from .tab_sharing import SharedSource

_MAX_PROBES = 3  # a user is waiting for the disk to open, or for the reason why it does not


def cache_path(address: ImageAddress, cache_key: str | None) -> str:
    """Where the cache of an image is: a digest of its whole address, or of what names it."""
    name = hashlib.sha256((cache_key or address.identity or address.url).encode()).hexdigest()[:32]
    return f"{CACHES}/{name}"


def usual_concurrency(platform: Platform, address: ImageAddress) -> int:
    """HTTP/1.1 gives browsers six connections to a server."""
    return 16 if platform.http.is_multiplexed(address.url) else 6


def opening_retries(policy: RetryPolicy, clock: Clock) -> Retries:
    """Those of a request that opening waits for: fewer than for a read."""
    return Retries(replace(policy, tries=min(policy.tries, _MAX_PROBES)), clock)


def shared_source(
    platform: Platform, folder: CacheFolder, version: ImageVersion, server: RangeSource
) -> SharedSource | None:
    """What asks the tab that holds the files of this version, if another does."""
    if not folder.follows or platform.channels is None or not version.validator:
        return None
    return SharedSource(platform.channels, folder.path, str(version), server)


def check_size(digests: DigestList | None, version: ImageVersion) -> None:
    """Raises `InvalidDocumentError` when a digest list is of an image of another size."""
    if digests is not None and digests.size != version.size:
        raise InvalidDocumentError("digest list", "it is of an image of another size")
