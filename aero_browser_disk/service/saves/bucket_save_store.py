"""The chunks and manifests of saves in a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError

from ..stores.image_store import StoreError
from ..stores.object_store import reason_of

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Bucket


class BucketSaveStore:
    """A bucket, as `open_bucket` opens it."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def put(self, key: str, data: bytes) -> None:
        """As `SaveStore.put`."""
        with _errors_mapped():
            obstore.put(self._bucket, key, data, use_multipart=False)

    def get(self, key: str) -> bytes | None:
        """As `SaveStore.get`."""
        with _errors_mapped():
            try:
                return bytes(obstore.get(self._bucket, key).bytes())
            except FileNotFoundError:
                return None

    def remove(self, key: str) -> None:
        """As `SaveStore.remove`."""
        with _errors_mapped(), suppress(FileNotFoundError):
            obstore.delete(self._bucket, key)

    def check(self) -> None:
        """As `SaveStore.check`."""
        with _errors_mapped():
            next(iter(obstore.list(self._bucket, chunk_size=1)), None)


@contextmanager
def _errors_mapped() -> Iterator[None]:
    try:
        yield
    except BaseError as error:
        raise StoreError(f"the bucket of saves: {reason_of(error)}") from error
