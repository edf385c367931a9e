"""Helpers for opening a remote image of any layout."""

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

_MAX_PROBES = 3  # the user is waiting for the disk to open, or for the reason why it cannot


def cache_path(address: ImageAddress, cache_key: str | None) -> str:
    """The path of an image's cache: a digest of its whole address, or of its `cache_key`."""
    name = hashlib.sha256((cache_key or address.identity or address.url).encode()).hexdigest()[:32]
    return f"{CACHES}/{name}"


def usual_concurrency(platform: Platform, address: ImageAddress) -> int:
    """The default concurrency. Browsers open at most six HTTP/1.1 connections to a server."""
    return 16 if platform.http.is_multiplexed(address.url) else 6


def opening_retries(policy: RetryPolicy, clock: Clock) -> Retries:
    """The retries of a request that opening waits for: fewer than for a read."""
    return Retries(replace(policy, tries=min(policy.tries, _MAX_PROBES)), clock)


def shared_source(
    platform: Platform, folder: CacheFolder, version: ImageVersion, server: RangeSource
) -> SharedSource | None:
    """A source that asks the tab that has the files of this version; None if no other tab does."""
    if not folder.follows or platform.channels is None or not version.validator:
        return None
    return SharedSource(platform.channels, folder.path, str(version), server)


def check_size(digests: DigestList | None, version: ImageVersion) -> None:
    """Raises `InvalidDocumentError` when a digest list is for an image of another size."""
    if digests is not None and digests.size != version.size:
        raise InvalidDocumentError("digest list", "it is of an image of another size")
